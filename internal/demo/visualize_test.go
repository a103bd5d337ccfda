package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"log/slog"
)

// shown is the chart's door.
func shown(t *testing.T) (*watched, *httptest.Server) {
	t.Helper()
	w := &watched{chart: newChart(), now: time.Now, stopping: make(chan struct{})}
	server := httptest.NewServer(w.handler())
	t.Cleanup(func() {
		close(w.stopping)
		server.Close()
	})
	return w, server
}

func TestThePageRunsNothingButItsOwnScript(t *testing.T) {
	_, server := shown(t)
	a, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	policy := a.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'", "trusted-types 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%s lacks %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || a.StatusCode != 200 || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	r, err := http.NewRequest("GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	if a, err = http.DefaultClient.Do(r); err != nil || a.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("by a foreign name: %v %v", a.StatusCode, err)
	}
	_ = a.Body.Close()
}

func TestWhoLooksSeesTheLastTenSecondsAndThenEachReport(t *testing.T) {
	w, server := shown(t)
	now := time.Now()
	w.chart.add(report{Number: 1, At: now.Add(-time.Minute)})
	w.chart.add(report{Number: 2, At: now.Add(-time.Second), Load: [3]float64{1.5, 2, 3}})
	a, err := http.Get(server.URL + "/reports")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	if a.Header.Get("Content-Type") != "text/event-stream" {
		t.Error(a.Header)
	}
	lines := bufio.NewScanner(a.Body)
	next := func() (e struct {
		Number, AgeMillis int64
		Load              [3]float64
	}) {
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(text), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
		t.Fatal("the stream ended")
		return e
	}
	if e := next(); e.Number != 2 || e.AgeMillis < 1000 || e.Load[0] != 1.5 {
		t.Errorf("%+v", e)
	}
	w.chart.add(report{Number: 3, At: now})
	if e := next(); e.Number != 3 {
		t.Errorf("%+v", e)
	}
}

func TestABrowserThatReadsNothingHoldsNothingUp(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	go func() {
		done <- RunVisualize(ctx, VisualizeOptions{ServiceOptions{In: in, Out: out, Log: slog.New(slog.DiscardHandler)}, address})
	}()
	var c net.Conn
	eventually(t, "it listens", func() bool { c, err = net.Dial("tcp", address); return err == nil })
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("GET /reports HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	const many = 500
	for n := range int64(many) {
		put(t, in, report{Number: n + 1, At: time.Now().UTC(), Host: strings.Repeat("h", 1000)})
	}
	eventually(t, "all went on", func() bool { return len(numbersIn(t, out)) == many })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTheChartKeepsNoMoreThanItShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChart()
		for n := range int64(3 * maxKept) {
			c.add(report{Number: n, At: time.Now()})
		}
		list, last, changed := c.after(0, time.Now())
		if len(list) != maxKept || last != 3*maxKept {
			t.Errorf("%d reports, the last %d", len(list), last)
		}
		c.add(report{At: time.Now()})
		<-changed
		time.Sleep(window + 1)
		if list, _, _ := c.after(0, time.Now()); len(list) != 0 {
			t.Errorf("%d are too old", len(list))
		}
	})
}
