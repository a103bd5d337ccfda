package demo

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

//go:embed chart.html
var chartPage string

// Bounds of the chart's door.
const (
	headerTime = 5 * time.Second // for a request's header
	writeTime  = 5 * time.Second // for one event; a browser that takes longer is cut off
	idleTime   = time.Minute     // for a connection between two requests
	stopTime   = time.Second     // for what is on its way when it closes
	silence    = 5 * time.Second // then a comment shows that the stream lives
	mostStream = 50              // who look at once
	retryEvery = 500             // milliseconds until a browser asks again
	maxHeader  = 16 << 10
)

// VisualizeOptions are what the service of the chart works with.
type VisualizeOptions struct {
	ServiceOptions
	Listen string // host:port on loopback
}

// RunVisualize hands reports on and shows them, until ctx ends, and returns nil
// then. Whoever looks holds nothing up: reports go on whether they were seen or not.
func RunVisualize(ctx context.Context, o VisualizeOptions) error {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("visualize: cannot listen: %w", err)
	}
	c := newChart()
	w := &watched{chart: c, now: time.Now, stopping: make(chan struct{})}
	server := &http.Server{
		Handler: w.handler(), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	ctx, cancel := context.WithCancelCause(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("visualize: %w", err))
		}
	}()
	err = runService(ctx, o.ServiceOptions, func(report) string { return "" }, c.add)
	close(w.stopping)
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer done()
	if server.Shutdown(stop) != nil {
		_ = server.Close() // what is on its way is cut off
	}
	<-served
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	cancel(nil)
	return err
}

// watched is the chart as browsers see it.
type watched struct {
	chart    *chart
	now      func() time.Time
	streams  atomic.Int64
	stopping chan struct{} // closed when the streams are to end
}

func (w *watched) handler() http.Handler {
	mux := http.NewServeMux()
	policy := pagePolicy(chartPage)
	mux.HandleFunc("GET /{$}", func(a http.ResponseWriter, _ *http.Request) {
		a.Header().Set("Content-Security-Policy", policy)
		a.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = a.Write([]byte(chartPage)) // whoever asked may have gone
	})
	mux.HandleFunc("GET /reports", w.stream)
	return http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
		h := a.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !loopback(r.Host) { // a name that somebody points at this machine
			http.Error(a, "ask for this page by a name of this machine, such as localhost", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(a, r)
	})
}

// stream sends each report as an event: first those of the last ten seconds.
func (w *watched) stream(a http.ResponseWriter, r *http.Request) {
	defer w.streams.Add(-1)
	if w.streams.Add(1) > mostStream {
		a.Header().Set("Retry-After", "5")
		http.Error(a, "as many look at the chart as may", http.StatusServiceUnavailable)
		return
	}
	a.Header().Set("Content-Type", "text/event-stream")
	a.Header().Set("X-Accel-Buffering", "no")
	sink := http.NewResponseController(a)
	_ = sink.SetReadDeadline(time.Time{}) // there is nothing more to read
	text := fmt.Sprintf("retry: %d\n\n", retryEvery)
	alive := time.NewTicker(silence)
	defer alive.Stop()
	order := int64(0)
	for {
		list, last, changed := w.chart.after(order, w.now())
		order = last
		for _, one := range list {
			text += event(one, w.now())
		}
		if text != "" {
			_ = sink.SetWriteDeadline(time.Now().Add(writeTime))
			if _, err := a.Write([]byte(text)); err != nil || sink.Flush() != nil {
				return // it is gone
			}
		}
		text = ""
		select {
		case <-changed:
		case <-alive.C:
			text = ":\n\n"
		case <-w.stopping:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// event is a report with how old it is: the browser's clock may be another's.
func event(r report, now time.Time) string {
	text, err := json.Marshal(struct {
		report
		Age int64 `json:"ageMillis"`
	}{r, now.Sub(r.At).Milliseconds()})
	if err != nil {
		panic("demo: a report: " + err.Error()) // our own values marshal
	}
	return fmt.Sprintf("data: %s\n\n", text)
}

// pagePolicy allows a page its own script and style, which are within it, and
// nothing else.
func pagePolicy(page string) string {
	hash := func(tag string) string {
		_, rest, _ := strings.Cut(page, "<"+tag+">")
		content, _, _ := strings.Cut(rest, "</"+tag+">")
		sum := sha256.Sum256([]byte(content))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; script-src " + hash("script") + "; style-src " + hash("style") + "; img-src data:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

// loopback says whether a host, with a port or without, is this machine alone.
func loopback(host string) bool {
	name := strings.ToLower(host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}
