package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/gateway"
	"github.com/seed-3d8c1042/switchboard/internal/load"
)

// gatewayCommand measures the gateway in this process.
type gatewayCommand struct {
	Rate     float64       `default:"2000" help:"Requests a second."`
	Clients  int           `default:"50" help:"Connections over which they come."`
	Rounds   int           `default:"3" help:"How often each of both is measured; the middle one counts."`
	Warmup   time.Duration `default:"500ms" help:"Before each measurement."`
	Duration time.Duration `default:"5s" help:"Of each measurement."`
	JSON     bool          `name:"json" help:"Print what was found as JSON."`
}

// Validate checks the flags; what it says is a matter of usage.
func (c gatewayCommand) Validate() error {
	switch {
	case c.Rate < 1 || c.Rate > 1_000_000 || c.Clients < 1 || c.Clients > 10_000:
		return errors.New("--rate and --clients: give numbers from 1 to 1000000 and to 10000")
	case c.Rounds < 1 || c.Rounds > 100:
		return fmt.Errorf("--rounds %d: give a number from 1 to 100", c.Rounds)
	case c.Duration < 10*time.Millisecond || c.Duration > time.Hour || c.Warmup < 0 || c.Warmup > time.Hour:
		return errors.New("--duration and --warmup: give at most an hour, and at least 10ms to measure")
	}
	return nil
}

// Run implements the command.
func (c gatewayCommand) Run(p *program) error {
	ctx, done := p.untilSignal()
	defer done()
	found, err := c.measure(ctx)
	if err != nil {
		return bench(err)
	}
	if c.JSON {
		return bench(json.NewEncoder(p.out).Encode(found))
	}
	return bench(found.Print(p.out))
}

const (
	benchSecret = "of the benchmark, which nobody else asks"
	benchAnswer = 1000 // bytes
)

// measure has both proxies carry the same requests in turns.
func (c gatewayCommand) measure(ctx context.Context) (found load.Gateway, err error) {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	answer := make([]byte, benchAnswer)
	service := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }) // the client counts what fails
	var list pool
	for i := range 3 {
		at, err := serveBench(ctx, &all, service)
		if err != nil {
			return found, err
		}
		list = append(list, gateway.Instance{Name: fmt.Sprint(i), URL: "http://" + at, Weight: 1})
	}
	bare, err := bareProxy(list[0].URL)
	if err != nil {
		return found, err
	}
	whole, token, end, err := c.gateway(ctx, &all, list)
	if err != nil {
		return found, err
	}
	defer end()
	found.Rate = c.Rate
	var times [2][]load.ProxyTimes
	var at [2]string
	for n, h := range []http.Handler{bare, whole} {
		if at[n], err = serveBench(ctx, &all, h); err != nil {
			return found, err
		}
	}
	for range c.Rounds {
		for n := range times {
			cpu := load.OwnCPU()
			took, failed := c.pace(ctx, at[n], token)
			cpu = load.OwnCPU() - cpu
			if ctx.Err() != nil {
				return found, ctx.Err()
			}
			found.Requests, found.Failed = found.Requests+len(took)+failed, found.Failed+failed
			one := timesOf(took)
			one.CPU = float64(cpu.Microseconds()) / c.asked()
			times[n] = append(times[n], one)
		}
	}
	found.Bare, found.Gateway = middleOf(times[0]), middleOf(times[1])
	return found, nil
}

// serveBench serves a handler on a free port until ctx ends.
func serveBench(ctx context.Context, all *sync.WaitGroup, h http.Handler) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	all.Go(func() { _ = server.Serve(l) }) // ends with Close below
	all.Go(func() {
		<-ctx.Done()
		_ = server.Close() // nothing is lost
	})
	return l.Addr().String(), nil
}

// bareProxy is the yardstick.
func bareProxy(to string) (http.Handler, error) {
	target, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	return &httputil.ReverseProxy{Transport: transport, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}, nil
}

// pool are the instances of the benchmark's service.
type pool []gateway.Instance

// List implements gateway.Instances.
func (p pool) List(string) []gateway.Instance { return p }

// Watch implements gateway.Instances: nothing changes.
func (p pool) Watch(func(string)) (stop func()) { return func() {} }

// jwtUsers verifies the benchmark's tokens.
type jwtUsers struct{ apps *apps.Registry }

// Verify implements gateway.Verifier.
func (u jwtUsers) Verify(ctx context.Context, token string) (gateway.Caller, error) {
	g, err := u.apps.Bearer(ctx, token)
	return gateway.Caller{User: string(g.User), App: g.User.App(), Expires: g.Expires}, err
}

// gateway makes one with a route that wants a token, and such a token.
func (c gatewayCommand) gateway(ctx context.Context, all *sync.WaitGroup, list pool) (g *gateway.Gateway, token string, end func(), err error) {
	users, err := apps.New(apps.Options{Apps: []apps.App{{Name: "BENCH", ID: "bench", AuthEnabled: true, JWT: &apps.JWT{Secret: benchSecret}}}})
	if err != nil {
		return nil, "", nil, err
	}
	g, err = gateway.New(gateway.Options{
		Config:    gateway.Config{Routes: []gateway.Route{{Path: "/bench/", Service: "bench", StripPrefix: true, Timeout: 10 * time.Second, Retries: 1}}},
		Instances: list, Verifier: jwtUsers{users}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		users.Close()
		return nil, "", nil, err
	}
	all.Go(func() { _ = g.Run(ctx) }) // it has no error to tell
	claims := jwt.MapClaims{"sub": "BENCH-1", "exp": time.Now().Add(24 * time.Hour).Unix()}
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(benchSecret))
	return g, token, users.Close, err
}

// pace asks at the command's rate, each client at its own moments, and returns how long
// the requests of the measurement took. What was late because the one before took long
// counts from when it was due.
func (c gatewayCommand) pace(ctx context.Context, at, token string) (took []time.Duration, failed int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c.Clients, DisableCompression: true}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	every := time.Duration(float64(c.Clients) / c.Rate * float64(time.Second))
	began := time.Now()
	from, until := began.Add(c.Warmup), began.Add(c.Warmup+c.Duration)
	var mu sync.Mutex
	var clients sync.WaitGroup
	for n := range c.Clients {
		clients.Go(func() {
			var own []time.Duration
			bad := 0
			for due := began.Add(every * time.Duration(n) / time.Duration(c.Clients)); due.Before(until) && ctx.Err() == nil; due = due.Add(every) {
				start := due
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
					start = time.Now()
				}
				err := askOnce(ctx, client, at, token)
				switch {
				case err != nil:
					bad++
				case !due.Before(from):
					own = append(own, time.Since(start))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, own...), failed+bad
		})
	}
	clients.Wait()
	return took, failed
}

// asked is how many requests one measurement makes, those before it included.
func (c gatewayCommand) asked() float64 { return c.Rate * (c.Warmup + c.Duration).Seconds() }

// askOnce makes one request and reads its answer.
func askOnce(ctx context.Context, client *http.Client, at, token string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/bench/x", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n != benchAnswer) {
		err = fmt.Errorf("the answer is %s with %d bytes", res.Status, n)
	}
	return err
}

// timesOf returns the quantiles of what requests took.
func timesOf(took []time.Duration) (t load.ProxyTimes) {
	if len(took) == 0 {
		return t
	}
	slices.Sort(took)
	quantile := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1000 }
	return load.ProxyTimes{P50: quantile(.5), P99: quantile(.99)}
}

// middleOf returns the medians of rounds.
func middleOf(rounds []load.ProxyTimes) load.ProxyTimes {
	middle := func(of func(load.ProxyTimes) float64) float64 {
		var list []float64
		for _, r := range rounds {
			list = append(list, of(r))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return load.ProxyTimes{
		P50: middle(func(t load.ProxyTimes) float64 { return t.P50 }),
		P99: middle(func(t load.ProxyTimes) float64 { return t.P99 }),
		CPU: middle(func(t load.ProxyTimes) float64 { return t.CPU }),
	}
}
