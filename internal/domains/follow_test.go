package domains_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func eventStream(f func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		f(w, r)
	}
}

func flush(w http.ResponseWriter, text string) {
	fmt.Fprint(w, text)
	http.NewResponseController(w).Flush()
}

func TestWithoutAStreamADomainAsksAgainAndAgain(t *testing.T) {
	for _, test := range []struct {
		name, kind string
		events     http.HandlerFunc
	}{
		{"not there", "status", http.NotFound},
		{"another content type", "type", func(w http.ResponseWriter, _ *http.Request) { flush(w, "event: network\n\n") }},
		{"it ends at once", "stream", eventStream(func(w http.ResponseWriter, _ *http.Request) { flush(w, "event: network\ndata: {\"version\":5}\n\n") })},
		{"it ends before its first event", "stream", eventStream(func(http.ResponseWriter, *http.Request) {})},
		{"an event without a version", "stream", eventStream(func(w http.ResponseWriter, r *http.Request) {
			flush(w, "event: network\ndata: {\"version\":\"x\"}\n\n")
			<-r.Context().Done()
		})},
		{"a line without end", "stream", eventStream(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				flush(w, strings.Repeat("x", 1000))
			}
		})},
		{"silent", "stream", eventStream(func(w http.ResponseWriter, r *http.Request) {
			flush(w, "event: network\ndata: {\"version\":5}\n\n")
			<-r.Context().Done()
		})},
		{"lines and no event", "stream", eventStream(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				flush(w, "x: y\n")
				time.Sleep(time.Millisecond)
			}
		})},
		{"it does not begin", "timeout", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := startMeta(t, described(t, 5, 1))
			m.change(func() { m.events = test.events })
			o := options(t, m.url())
			o.Silence = 500 * time.Millisecond
			if test.kind == "timeout" {
				o.Timeout = 500 * time.Millisecond
			}
			r := newRig(t, o)
			r.run()
			r.untilVersion(5)
			r.until("several attempts", func() bool { return r.metric("switchboard_domains_source_troubles_total", test.kind) >= 3 })
			m.change(func() { m.network = described(t, 6, 2) }) // and no stream tells of it
			r.untilVersion(6)
			if n := r.log.count("are not told", "kind="+test.kind); n != 1 {
				t.Errorf("logged %d times:\n%s", n, r.log)
			}
			m.serves(described(t, 7, 1))
			r.untilVersion(7)
			r.until("the trouble is over", func() bool { return r.s.State().Trouble == "" && r.s.State().Following })
		})
	}
}

func TestCommentsKeepAStreamOpen(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	o.Silence = 2 * time.Second // a hundred times the pause between comments
	r := newRig(t, o)
	r.run()
	r.untilVersion(5)
	r.until("it follows", func() bool { return r.s.State().Following })
	streams := m.asked("/events")
	<-time.After(o.Silence + o.Silence/2) // nothing must happen
	if n := m.asked("/events"); n != streams {
		t.Errorf("%d streams instead of %d:\n%s", n, streams, r.log)
	}
}

func TestAFloodOfEventsIsNoFloodOfRequests(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	m.change(func() {
		m.events = eventStream(func(w http.ResponseWriter, r *http.Request) {
			for v := 100; r.Context().Err() == nil; v++ {
				flush(w, fmt.Sprintf("event: network\ndata: {\"version\":%d}\n\n", v))
			}
		})
	})
	o := options(t, m.url())
	o.Retry, o.RetryMax = time.Hour, time.Hour
	r := newRig(t, o)
	began := time.Now()
	r.run()
	r.until("several requests", func() bool { return m.asked("/domains/graph") >= 5 })
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("five requests within %s", took)
	}
}
