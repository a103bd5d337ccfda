package meta

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func asWrong(err error, to **Wrong) bool { return errors.As(err, to) }

// follower reads a stream of events.
type follower struct {
	t      *testing.T
	answer *http.Response
	blocks chan string // each event or comment; closed when the stream ended
	cancel context.CancelFunc
}

// follow opens a stream.
func (r *running) follow(header ...string) *follower {
	r.t.Helper()
	return r.followAt("/events", header...)
}

// followAt opens one at another path.
func (r *running) followAt(path string, header ...string) *follower {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	f := &follower{t: r.t, answer: answer, blocks: make(chan string), cancel: cancel}
	go func() {
		defer close(f.blocks)
		lines := bufio.NewScanner(answer.Body)
		var block []string
		for lines.Scan() {
			if lines.Text() != "" {
				block = append(block, lines.Text())
				continue
			}
			select {
			case f.blocks <- strings.Join(block, "\n"):
			case <-ctx.Done():
				return
			}
			block = nil
		}
	}()
	r.t.Cleanup(f.close)
	return f
}

func (f *follower) close() {
	f.cancel()
	_ = f.answer.Body.Close() // nothing more is read
	for range f.blocks {      // until its reader has ended
	}
}

// next returns the next event or comment, and "" when the stream has ended.
func (f *follower) next() string {
	f.t.Helper()
	select {
	case block := <-f.blocks:
		return block
	case <-time.After(patience):
		f.t.Fatal("nothing comes")
		return ""
	}
}

// begins checks how every stream begins.
func (f *follower) begins() {
	f.t.Helper()
	if f.answer.StatusCode != http.StatusOK || f.answer.Header.Get("Content-Type") != "text/event-stream" || f.answer.Header.Get("Cache-Control") != "no-cache" {
		f.t.Fatalf("%d %v", f.answer.StatusCode, f.answer.Header)
	}
	if block := f.next(); block != "retry: 2000" {
		f.t.Fatalf("it begins with %q", block)
	}
}

// tells checks that the next event is of a version.
func (f *follower) tells(version uint64) {
	f.t.Helper()
	v := plain(version)
	if block, want := f.next(), "id: "+v+"\nevent: network\ndata: {\"version\":"+v+"}"; block != want {
		f.t.Fatalf("it says\n%s\nwant\n%s", block, want)
	}
}

func TestAStreamTellsTheVersionAtOnceAndWithEachChange(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	f := r.follow()
	f.begins()
	f.tells(r.serves(2))
	for n := 3; n < 6; n++ {
		write(t, path, describe(n))
		r.look()
		f.tells(r.serves(n))
	}
}

func TestWhoComesBackIsToldWhatItMissedAndNothingElse(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	first := r.serves(2)
	write(t, path, describe(3))
	r.look()
	second := r.serves(3)

	behind := r.follow("Last-Event-ID", plain(first))
	behind.begins()
	behind.tells(second)
	strange := r.follow("Last-Event-ID", "not ours")
	strange.begins()
	strange.tells(second)

	current := r.follow("Last-Event-ID", plain(second))
	current.begins()
	write(t, path, describe(4))
	r.look()
	current.tells(r.serves(4)) // and not the second before it
}

func TestAStreamOutlivesARestartByComingBack(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	first := r.serves(2)
	f := r.follow()
	f.begins()
	f.tells(first)
	r.options.Listen = strings.TrimPrefix(r.url, "http://")
	write(t, path, describe(3))
	r = r.again()
	if block := f.next(); block != "" {
		t.Errorf("the stream of the server that ended says %q", block)
	}
	f = r.follow("Last-Event-ID", plain(first))
	f.begins()
	f.tells(r.serves(3))
}

func TestASilentStreamShowsThatItLivesAndOutlivesTheTimeForARequest(t *testing.T) {
	o, _ := described(t, 2)
	o.keepAlive, o.header = 20*time.Millisecond, 100*time.Millisecond
	r := start(t, o)
	f := r.follow("Last-Event-ID", plain(r.serves(2)))
	f.begins()
	for begun := time.Now(); time.Since(begun) < 4*o.header; {
		if block := f.next(); block != ": alive" {
			t.Fatalf("it says %q", block)
		}
	}
}

func TestTooManyStreamsAreRefusedUntilOneEnds(t *testing.T) {
	o, _ := described(t, 2)
	o.streams = 2
	r := start(t, o)
	first, second := r.follow(), r.follow()
	first.begins()
	second.begins()
	answer, body := r.get("/events")
	if code, _ := asProblem(t, answer, body); answer.StatusCode != 503 || code != codeTooManyStreams || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v\n%s", answer.StatusCode, answer.Header, body)
	}
	if n := r.metric("switchboard_meta_streams"); n != "2" {
		t.Errorf("%s streams are counted", n)
	}
	if n := r.metric(`switchboard_meta_refused_total{reason="TOO_MANY_STREAMS"}`); n != "1" {
		t.Errorf("%s are counted as refused", n)
	}
	first.close()
	r.eventually("a stream is free", func() bool { return r.metric("switchboard_meta_streams") == "1" })
	r.follow().begins()
}

func TestStreamsEndWithTheServer(t *testing.T) {
	o, _ := described(t, 2)
	r := start(t, o)
	f := r.follow()
	f.begins()
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > shutdownTime {
		t.Errorf("it took %s", took)
	}
	for f.next() != "" { // until it ends
	}
}

// stuck is a reader that takes the head of an answer and nothing more: the sockets
// of a test would hold more than a stream ever says.
type stuck struct{ http.ResponseWriter }

// Write implements http.ResponseWriter.
func (stuck) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// SetReadDeadline and SetWriteDeadline are for http.ResponseController.
func (stuck) SetReadDeadline(time.Time) error  { return nil }
func (stuck) SetWriteDeadline(time.Time) error { return nil }

func TestAReaderThatTakesNothingIsCutOffAndCounted(t *testing.T) {
	o, _ := described(t, 2)
	o.fill()
	m, err := newMetrics(o.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNetwork(&lastGood{folder: t.TempDir(), rename: os.Rename}, o.Log, o.Now, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := newKeeper(&file{path: o.Config, after: o.after}, n, o.Log, o.Now, m.ofNetwork).start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := newDoor(n, nil, &o, true, m)
	d.ServeHTTP(stuck{httptest.NewRecorder()}, httptest.NewRequest("GET", "http://localhost/events", nil))
	counted := httptest.NewRecorder()
	d.ServeHTTP(counted, httptest.NewRequest("GET", "http://localhost/metrics", nil))
	for _, want := range []string{`switchboard_meta_refused_total{reason="SLOW_STREAM"} 1`, "switchboard_meta_streams 0"} {
		if !strings.Contains(counted.Body.String(), want) {
			t.Errorf("not counted: %s", want)
		}
	}
}
