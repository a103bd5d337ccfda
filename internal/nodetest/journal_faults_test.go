package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// journalWriter writes events into the journal, each with a number in its ID, and sends
// again what was not answered with success: with the same IDs, to the next node.
type journalWriter struct {
	t      *testing.T
	addrs  []string // of nodes, which keep them
	key    string
	stop   atomic.Bool
	sent   atomic.Int64 // numbers that were used
	stored atomic.Int64 // that were answered as stored
}

const (
	eventsAtOnce   = 20
	journalDevices = 50
)

// run writes batch after batch until it is stopped; the last one is answered with
// success, too.
func (w *journalWriter) run(ctx context.Context, name int) {
	for !w.stop.Load() {
		first := w.sent.Add(eventsAtOnce) - eventsAtOnce
		var events []string
		for i := first; i < first+eventsAtOnce; i++ {
			events = append(events, fmt.Sprintf(`{"id":"n-%d","type":"bytesSent","device":"d-%d","amount":%d}`, i, i%journalDevices, i%7))
		}
		body := []byte(`{"events":[` + strings.Join(events, ",") + `]}`)
		for try := name; ; try++ {
			if w.post(ctx, w.addrs[try%len(w.addrs)], body) {
				w.stored.Add(eventsAtOnce)
				break
			}
			if ctx.Err() != nil {
				w.t.Error("events are not stored after a long time")
				return
			}
		}
	}
}

func (w *journalWriter) post(ctx context.Context, addr string, body []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/v1/journal", bytes.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return true
	}
	r.Header.Set("Authorization", "Bearer "+w.key)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err == nil {
		defer res.Body.Close()
		if res.StatusCode == 201 {
			return true
		}
	}
	select { // it is not there, or not yet
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
	return false
}

// readJournal reads all events of the writers' own from a node.
func readJournal(t *testing.T, n *Server, key string) (ids []string, sums map[string]int64) {
	t.Helper()
	sums = map[string]int64{}
	for after := ""; ; {
		var p journalPage
		a := n.Call("GET", "/v1/journal?type=bytesSent&limit=1000"+after, key, "")
		if err := json.Unmarshal([]byte(a.Body), &p); a.Status != 200 || err != nil {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		for _, e := range p.Events {
			ids = append(ids, e.ID)
			sums[e.Device] += e.Amount
		}
		if p.Next == "" {
			return ids, sums
		}
		after = "&after=" + p.Next
	}
}

// judge compares what was answered with what is stored, and with the states, and says
// the three numbers.
func (w *journalWriter) judge(n *Server) {
	w.t.Helper()
	var ids []string
	var sums map[string]int64
	Eventually(w.t, "all events are read", func() bool { // a copy may lag for a moment
		ids, sums = readJournal(w.t, n, w.key)
		return len(ids) >= int(w.stored.Load())
	})
	slices.Sort(ids)
	once := len(slices.Compact(slices.Clone(ids)))
	lost, doubled := int(w.stored.Load())-once, len(ids)-once
	w.t.Logf("%d events answered as stored: %d lost, %d duplicated", w.stored.Load(), lost, doubled)
	if lost > 0 || doubled > 0 || w.stored.Load() == 0 {
		w.t.Errorf("%d lost, %d duplicated", lost, doubled)
	}
	for d, sum := range sums {
		want := fmt.Sprintf(`{"deviceId":%q,"connectionsOpen":0,"bytesSent":%d}`, d, sum)
		wantAnswer(w.t, "the state", n.Call("GET", "/device/state/"+d, w.key, ""), 200, want)
	}
	a := n.Call("POST", "/v1/journal/rebuild", w.key, "")
	if a.Status != 200 || a.Field("changed") != "0" {
		w.t.Errorf("made anew: %d %s", a.Status, a.Body)
	}
}

// begin has several writers run, until the returned function has stopped them.
func (w *journalWriter) begin(writers int) (end func()) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { w.run(ctx, i) })
	}
	return func() {
		w.stop.Store(true)
		wg.Wait()
		cancel()
	}
}

// progress waits until so many more events are stored.
func (w *journalWriter) progress(more int64) {
	w.t.Helper()
	least := w.stored.Load() + more
	Eventually(w.t, "more events are stored", func() bool { return w.stored.Load() >= least })
}

func TestAKilledNodeHasEveryEventThatItAnsweredOnce(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	addr := freeAddress(t)
	s := startWith(t, plainApp, "--listen", addr)
	_, key := s.NewKey(`{"admin":true}`)
	w := &journalWriter{t: t, addrs: []string{addr}, key: key}
	for range 3 {
		end := w.begin(4)
		w.progress(2000)
		s.Kill()
		s.Start()
		end() // what was under way is sent again
		w.stop.Store(false)
	}
	w.judge(s)
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.Start()
	w.judge(s)
}

func TestEventsAreStoredOnceThoughTheirKeepersAreKilledOrStop(t *testing.T) {
	t.Parallel()
	c := three(t, plainApp)
	key := ground{t, c, 0}.adminKey()
	w := &journalWriter{t: t, key: key}
	for _, n := range c.Nodes {
		w.addrs = append(w.addrs, n.Addr)
	}
	end := w.begin(6)
	w.progress(2000)
	c.Nodes[0].Kill()
	w.progress(1000)
	c.Nodes[0].Start()
	w.progress(1000)
	if code := c.Nodes[1].Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.progress(1000)
	c.Nodes[1].Start()
	w.progress(1000)
	end()
	for _, n := range c.Nodes {
		w.judge(n)
	}
}
