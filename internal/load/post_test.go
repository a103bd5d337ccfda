package load

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What is posted is what the sockets send: each message with its mark, in order,
// as many in a batch as were asked for, and the rest when it has waited.
func TestBatchesHoldTheMessagesInOrder(t *testing.T) {
	var mu sync.Mutex
	var bodies [][]byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		bodies = append(bodies, body)
		mu.Unlock()
		if r.URL.Path != "/v1/messages/batch" || r.Header.Get("Authorization") != "Bearer sb_x" {
			t.Errorf("asked %s with %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `{"results":[]}`)
	}))
	defer server.Close()
	o := echoOptions("ws" + strings.TrimPrefix(server.URL, "http") + "/ws")
	o.Via, o.Batch, o.Key, o.Reference = ViaHTTP, 3, "sb_x", true
	compose := newComposer(&o)
	p := newPost(t.Context(), &o)
	for i := range 7 {
		p.added(compose.appendPosted(p.room(0), "ANZ-1", `"ANZ-2"`, mark{run: 5, seq: uint32(i)}))
	}
	if p.under != 2 || p.n != 1 {
		t.Errorf("%d batches are on their way, %d messages wait", p.under, p.n)
	}
	if again := p.due(batchPatience/2, time.Second); again > batchPatience || p.n != 1 {
		t.Errorf("the rest is looked at again at %s", again)
	}
	p.due(batchPatience, time.Second)
	for range 3 {
		if a := <-p.answers; a.err != nil || a.refused != 0 {
			t.Errorf("a batch was answered with %+v", a)
		}
	}
	p.close()
	n := 0
	for _, body := range bodies {
		list, wrong := wire.ParseSubmissions(body, 3, 1)
		if wrong != nil {
			t.Fatalf("%s: %v", body, wrong)
		}
		for _, it := range list {
			m, ok := readMark(it.Content[1:])
			if it.Wrong != nil || !ok || m.run != 5 || m.seq != uint32(n) || it.From != "ANZ-1" || it.To[0] != "ANZ-2" || !it.Confirm || len(it.Content) != o.Payload+2 || !it.Fast {
				t.Errorf("message %d is %+v, %+v", n, it, m)
			}
			n++
		}
	}
	if n != 7 || len(bodies) != 3 {
		t.Errorf("%d messages came in %d batches", n, len(bodies))
	}
}

func TestWhatIsRefusedOfABatchIsCounted(t *testing.T) {
	answer := `{"results":[{"id":"x","status":"stored"},{"status":"refused","code":"MAILBOX_FULL","reason":"full"},` +
		`{"id":"y","status":"stored","failed":[{"to":"a","code":"BAD_RECEIVER","reason":"bad"}]}]}`
	if p := readResults([]byte(answer)); p.refused != 2 || p.refusal != "MAILBOX_FULL: full" || p.err != nil {
		t.Errorf("read %+v", p)
	}
	if p := readResults([]byte(`{"results":[{"status":"refused"`)); p.err == nil {
		t.Errorf("read %+v", p)
	}
	for status, want := range map[int]string{
		503: `3 OVERLOADED: too much<nil>`, 429: `3 OVERLOADED: too much<nil>`, 403: ` answers 403 OVERLOADED: too much`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"code":"OVERLOADED","detail":"too much"}`)
		}))
		p := &post{url: server.URL}
		client := server.Client()
		a := p.ask(t.Context(), client, batch{n: 3})
		if got := fmt.Sprintf("%d %s%v", a.refused, a.refusal, a.err); !strings.HasSuffix(got, want) {
			t.Errorf("%d: %s", status, got)
		}
		client.CloseIdleConnections()
		server.Close()
	}
}

func TestPostingHasItsConditions(t *testing.T) {
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Via = "mail" }, "--via mail: choose one of socket, http"},
		{func(o *Options) { o.Key = "" }, "--via http needs an API key"},
		{func(o *Options) { o.Batch = 0 }, "--batch 0: give a number from 1 to 10000"},
		{func(o *Options) { o.Mode = ModeSingle }, "--via http goes with --mode closed and --mode paced only"},
		{func(o *Options) { o.Pattern, o.Feature = PatternAbsent, FeatureReliable }, "--via http goes without --pattern absent"},
		{func(*Options) {}, "<nil>"},
	} {
		o := echoOptions("ws://127.0.0.1/ws")
		o.Via, o.Batch, o.Key = ViaHTTP, 100, "sb_x"
		c.change(&o)
		if got := fmt.Sprint(o.Check()); !strings.HasPrefix(got, c.want) {
			t.Errorf("said %q, want %q", got, c.want)
		}
	}
}
