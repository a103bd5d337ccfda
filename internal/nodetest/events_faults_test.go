package nodetest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// heard follows what arrives of one class of messages, whose contents count.
type heard struct {
	next                        int
	lost, duplicated, reordered int
	seen                        map[int]bool
}

func (h *heard) take(n int) {
	if h.seen == nil {
		h.seen = make(map[int]bool)
	}
	switch {
	case h.seen[n]:
		h.duplicated++
	case n < h.next:
		h.reordered++
	}
	h.seen[n] = true
	h.next = max(h.next, n+1)
}

// close counts what never came of total.
func (h *heard) close(total int) { h.lost = total - len(h.seen) }

func (h *heard) String() string {
	return fmt.Sprintf("lost %d, duplicated %d, reordered %d", h.lost, h.duplicated, h.reordered)
}

func (h *heard) want(t *testing.T, class string, total int) {
	t.Helper()
	h.close(total)
	t.Logf("%s of %d: %s", class, total, h)
	if h.lost+h.duplicated+h.reordered > 0 {
		t.Errorf("%s: %s", class, h)
	}
}

// A line that is cut again and again, with acknowledgements that get lost, in
// the middle of whatever is being written: nothing of it is seen by a client
// that only comes back. It drops nothing, not even what it knows.
func TestThroughCutsEventsComeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	const total, window = 5000, 80 // what is kept of FAST messages has its bounds
	chance := rand.New(rand.NewPCG(seed(t), 5))
	s := startWith(t, plainApp)
	line := newProxy(t, s.Addr)
	ann := SignIn(t, s, "ANZ-1", "")
	bob := Listen(t, line.Addr, "ANZ-2", "push=true")
	bob.Expect("AUTH_CLIENT_REPLY")

	done := make(chan struct{})
	var cutting sync.WaitGroup
	cuts, pause := 0, rand.New(rand.NewPCG(chance.Uint64(), 6))
	cutting.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(5+pause.IntN(60)) * time.Millisecond):
				line.cut()
				cuts++
			}
		}
	})
	var reliable, fast heard
	for sent := 0; reliable.next < total || fast.next < total; {
		for ; sent < total && sent < min(reliable.next, fast.next)+window; sent++ {
			size := 10 + chance.IntN(1500)
			ann.Message("ANZ-2", numbered("reliable", sent, size), `"confirmationEnabled":false`)
			ann.Message("ANZ-2", numbered("fast", sent, size), `"feature":"FAST"`)
		}
		f := bob.Next()
		switch series, n := number(f.Frame); series {
		case "reliable":
			reliable.take(n)
		case "fast":
			fast.take(n)
		default:
			t.Fatalf("got %.200s %s", f.Raw, f.Event)
		}
		if chance.IntN(20) == 0 {
			// It may not arrive, or its answer may not.
			if status, answer, err := bob.Do("POST", "/v1/events/acks", `{"id":"`+f.EventID+`"}`); err == nil && status != http.StatusNoContent {
				t.Fatalf("%d %s", status, answer)
			}
		}
	}
	close(done)
	cutting.Wait()
	Eventually(t, "all is proved", func() bool { // by an acknowledgement, or by coming back
		bob.Cut()
		return s.Metric("switchboard_mailbox_messages") == 0
	})
	reliable.want(t, "RELIABLE", total)
	fast.want(t, "FAST", total)
	if sessions := s.Metric("switchboard_events_opened_total"); sessions != 1 || cuts < 20 {
		t.Errorf("%v sessions, %d cuts", sessions, cuts)
	}
	if n := s.Metric("switchboard_events_forgotten_total"); n > 0 {
		t.Errorf("%v events were not kept", n)
	}
	t.Logf("%d cuts, %d answers, %v events", cuts, bob.Answers(), s.Metric("switchboard_events_sent_total"))
}

// The server is killed in the middle, again and again, and the line is cut. The
// client comes back by itself, to a new session then, and drops the IDs that it
// knows.
func TestEventsSurviveKills(t *testing.T) {
	t.Parallel()
	const rounds, each = 4, 400
	chance := rand.New(rand.NewPCG(seed(t), 7))
	s := startWith(t, plainApp)
	line := newProxy(t, s.Addr)
	bob := Listen(t, line.Addr, "ANZ-2", "push=true")

	var got heard
	known := make(map[string]bool)
	again := 0
	listen := func(until func() bool) {
		for !until() {
			f, ok := bob.TryNext(20 * time.Millisecond)
			if !ok || f.Type != "MESSAGE" {
				continue
			}
			if _, n := number(f.Frame); known[f.ID] {
				again++
			} else {
				got.take(n)
			}
			known[f.ID] = true
			if chance.IntN(10) == 0 {
				_, _, _ = bob.Do("POST", "/v1/events/acks", `{"id":"`+f.EventID+`"}`) // the server may be dead
			}
			if chance.IntN(50) == 0 {
				line.cut()
			}
		}
	}
	sent, certain := 0, make(map[int]bool)
	var mu sync.Mutex
	for range rounds {
		ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range each {
				text := fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":%q},"reference":"%d","confirmationEnabled":false}`, numbered("m", sent+i, 300), sent+i)
				if ann.TrySend(text) != nil {
					return
				}
			}
		})
		sending.Go(func() {
			for range each {
				f, err := ann.TryNext()
				if err != nil {
					return
				}
				var n int
				if _, err := fmt.Sscan(f.Field("reference"), &n); err == nil && f.Type == "MESSAGE_STORED" {
					mu.Lock()
					certain[n] = true
					mu.Unlock()
				}
			}
		})
		before := got.next
		target := before + 1 + chance.IntN(each/2)
		listen(func() bool { return got.next >= target })
		s.Kill()
		sending.Wait()
		sent += each
		s.Start()
	}
	listen(func() bool {
		for n := range certain {
			if !got.seen[n] {
				return false
			}
		}
		return s.Metric("switchboard_mailbox_messages") == 0
	})
	for n := range certain {
		if !got.seen[n] {
			got.lost++
		}
	}
	t.Logf("RELIABLE, %d stored for certain, %d arrived: %s; %d came again under their ID and were dropped", len(certain), len(got.seen), &got, again)
	if got.lost+got.duplicated+got.reordered > 0 || len(certain) == 0 {
		t.Error("want none of these")
	}
}

// What a reader that does not read costs: its own session, in time, and no
// memory without bounds.
func TestAClientThatDoesNotReadItsEvents(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {mailboxBytes: 1GiB, proofTimeout: 2s, resumeTimeout: 2s}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	slow := dialTCP(t, s.Addr)
	slow.write([]byte("GET /v1/events?appId=app-id-343&userId=ANZ-2 HTTP/1.1\r\nHost: " + s.Addr + "\r\n\r\n"))
	if res := slow.response(); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	n, stopTalk := 300, talk(t, s)
	floodFast(ann, "ANZ-2", "fast", n)
	dropped := s.Metric(`switchboard_fast_dropped_total{reason="queue_full"}`)
	floodReliable(t, ann, "ANZ-2", "m", 0, n)
	awaitMetric(t, s, closesMetric(1006), 1)
	exchanges, longest := stopTalk()
	t.Logf("%v of %d FAST dropped; others meanwhile: %d exchanges, the longest took %s", dropped, n, exchanges, longest)
	awaitWaiting(t, s, n)
	bob := Listen(t, s.Addr, "ANZ-2", "push=true")
	bob.Expect("AUTH_CLIENT_REPLY")
	var got heard
	for range n {
		f := bob.Expect("MESSAGE")
		_, i := number(f.Frame)
		got.take(i)
		bob.Ack(f.EventID)
	}
	got.want(t, "RELIABLE", n)
}

func TestThousandsOfStreams(t *testing.T) {
	Alone(t, ReasonMemory)
	streams := 2000
	if raceEnabled || testing.Short() {
		streams = 300
	}
	s := startWith(t, plainApp)
	ann := SignIn(t, s, "ANZ-1", "")
	_, before := s.Get("/debug/pprof/goroutine?debug=1")
	var peers []*rawPeer
	var users []string
	for i := range streams {
		user := fmt.Sprint("ANZ-", 1000+i)
		p := dialTCP(t, s.Addr)
		p.write([]byte("GET /v1/events?appId=app-id-343&userId=" + user + " HTTP/1.1\r\nHost: " + s.Addr + "\r\n\r\n"))
		peers, users = append(peers, p), append(users, `"`+user+`"`)
	}
	readers := make([]*EventReader, len(peers))
	for i, p := range peers {
		if res := p.response(); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		readers[i] = NewEventReader(p.r)
		if e, err := readers[i].Next(); err != nil || !strings.Contains(e.Data, "AUTH_CLIENT_REPLY") {
			t.Fatal(e, err)
		}
	}
	goroutines := func(profile string) (n int) {
		_, _ = fmt.Sscanf(profile, "goroutine profile: total %d", &n)
		return n
	}
	var now string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("goroutines before:\n%s\nand at last:\n%s", before, now)
		}
	})
	ofItsOwn := streams / 20 // goroutines of the node come and go
	Eventually(t, "an idle stream has one goroutine", func() bool {
		_, now = s.Get("/debug/pprof/goroutine?debug=1")
		return goroutines(now)-goroutines(before) <= streams+ofItsOwn
	})
	ann.Send(`{"type":"GROUP_MESSAGE","data":{"to":[` + strings.Join(users, ",") + `],"content":"to all"},"feature":"FAST"}`)
	for i, r := range readers {
		if e, err := r.Next(); err != nil || !strings.Contains(e.Data, "to all") {
			t.Fatalf("stream %d: %v %v", i, e, err)
		}
	}
	for _, p := range peers {
		p.conn.Close()
	}
	awaitMetric(t, s, "switchboard_events_sessions_away", float64(streams))
	Eventually(t, "no goroutine is left", func() bool {
		_, now = s.Get("/debug/pprof/goroutine?debug=1")
		return goroutines(now)-goroutines(before) <= ofItsOwn
	})
	if s.Metric("switchboard_socket_panics_total") != 0 {
		t.Error("something went wrong")
	}
}
