package gateway

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counting counts requests by path.
type counting struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *counting) wrap(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		if c.seen == nil {
			c.seen = map[string]int{}
		}
		c.seen[r.URL.Path]++
		c.mu.Unlock()
		h(w, r)
	}
}

func (c *counting) of(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[path]
}

func TestWhatMayBeRepeatedHidesAnyOneBadInstance(t *testing.T) {
	for name, bad := range map[string]func(*world){
		"dead":   func(w *world) { w.dead("s", "bad") },
		"frozen": func(w *world) { w.frozen("s", "bad") },
		"500": func(w *world) {
			w.start("s", "bad", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
		},
		"closes":     func(w *world) { w.garbage("s", "bad", "") },
		"garbage":    func(w *world) { w.garbage("s", "bad", "\x00\x01\x02 garbage\r\n\r\n") },
		"no length":  func(w *world) { w.garbage("s", "bad", "HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n") },
		"status 99":  func(w *world) { w.garbage("s", "bad", "HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n") },
		"status 777": func(w *world) { w.garbage("s", "bad", "HTTP/1.1 777 No\r\nContent-Length: 0\r\n\r\n") },
		"flood":      func(w *world) { w.garbage("s", "bad", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n") },
		"switches": func(w *world) {
			w.garbage("s", "bad", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openTo("s")
			c.Routes[0].Timeout = time.Second
			if name != "frozen" {
				c.Routes[0].Timeout = patienceOfTests
			}
			w := begin(t, c)
			bad(w)
			w.start("s", "good", told)
			for n := range 12 {
				method, content := "GET", ""
				if n%2 == 0 {
					method, content = "PUT", "small"
				}
				res, body := w.ask(method, "/", content)
				if w.want(res, body, 200, ""); !strings.Contains(body, fmt.Sprintf("body=%q", content)) {
					t.Error(body)
				}
			}
			// What may not be repeated is, where nothing was sent.
			if name == "dead" {
				for range 6 {
					res, body := w.ask("POST", "/", "once")
					w.want(res, body, 200, "")
				}
			}
			if name != "frozen" { // of which one try of each takes half a second
				w.eventually("its breaker opens", func() bool { w.ask("GET", "/", ""); s, _ := w.gateway.State("s", "bad"); return s.Word == Failing })
			}
		})
	}
}

func TestWhatMayNotBeRepeatedIsSentOnce(t *testing.T) {
	w := begin(t, openTo("s"))
	var sent atomic.Int32
	for _, name := range []string{"a", "b"} {
		w.start("s", name, func(rw http.ResponseWriter, r *http.Request) {
			sent.Add(1)
			_, _ = io.Copy(io.Discard, r.Body) // before it dies
			panic(http.ErrAbortHandler)
		})
	}
	res, body := w.ask("POST", "/", "pay")
	w.want(res, body, 502, CodeBadAnswer)
	if sent.Load() != 1 {
		t.Errorf("it was sent %d times", sent.Load())
	}
	res, body = w.ask("GET", "/", "")
	w.want(res, body, 502, CodeBadAnswer)
	if sent.Load() != 3 {
		t.Errorf("with what may be repeated: %d times", sent.Load())
	}
	large := strings.Repeat("x", smallBody+1)
	res, body = w.ask("PUT", "/", large)
	w.want(res, body, 502, CodeBadAnswer)
	if sent.Load() != 4 {
		t.Errorf("with what is too large to keep: %d times", sent.Load())
	}
}

func TestAKeyOfTheClientsGivesNoLeaveToRepeat(t *testing.T) {
	w := begin(t, openTo("s"))
	var posts atomic.Int32
	var key atomic.Value
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
			key.Store(r.Header.Get("Idempotency-Key"))
			panic(http.ErrAbortHandler) // on a connection that was kept
		}
	})
	for n, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "Idempotency-Key"} {
		res, body := w.ask("GET", "/", "")
		w.want(res, body, 200, "")
		res, body = w.ask("POST", "/", strings.Repeat("x", n%2), name, "1")
		if w.want(res, body, 502, CodeBadAnswer); posts.Load() != int32(n+1) {
			t.Fatalf("%d requests with %s became %d", n+1, name, posts.Load())
		}
	}
	if key.Load() != "1" {
		t.Errorf("the service saw the key %q", key.Load())
	}
}

func TestRetriesDoNotFeedAnOutage(t *testing.T) {
	c := openTo("s")
	c.Breaker.Failures = 1_000_000
	w := begin(t, c)
	var sent atomic.Int32
	for _, name := range []string{"a", "b", "c"} {
		w.start("s", name, func(rw http.ResponseWriter, _ *http.Request) { sent.Add(1); rw.WriteHeader(503) })
	}
	const asked = 2000
	began := time.Now()
	for range asked {
		w.ask("GET", "/", "")
	}
	most := asked + retryReserve + asked*retryShare + time.Since(began).Seconds()*retryFloor
	if n := float64(sent.Load()); n > most+1 || n < asked {
		t.Errorf("%v requests became %v, want at most %v", asked, n, most)
	}
}

func TestNoInstanceIsToldFromNoRouteAndFromASlowOne(t *testing.T) {
	c := openTo("s")
	c.Routes[0].Timeout = 100 * time.Millisecond
	c.Routes = append(c.Routes, Route{Path: "/f/", Service: "s", Auth: Open, Timeout: time.Second, Fallback: &Fallback{Status: 203, Body: "closed", ContentType: "text/x"}})
	w := begin(t, c)
	res, body := w.ask("GET", "/", "")
	if w.want(res, body, 503, CodeNoInstance); res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	res, body = w.ask("GET", "/f/", "")
	if res.StatusCode != 203 || body != "closed" || res.Header.Get("Content-Type") != "text/x" {
		t.Errorf("got %s %s", res.Status, body)
	}
	w.frozen("s", "a")
	res, body = w.ask("GET", "/", "")
	w.want(res, body, 504, CodeTimeout)
	res, body = w.ask("POST", "/", "x")
	w.want(res, body, 504, CodeTimeout)
}

func TestNoConnectionIsMadeToWhereNoServiceIs(t *testing.T) {
	dial := outward(func(at netip.AddrPort) bool { return at.Port() == 9088 })
	for address, open := range map[string]bool{
		"127.0.0.1:80": true, "10.0.0.7:8080": true, "[2001:db8::1]:80": true, "[fd00::1]:80": true,
		"169.254.169.254:80": false, "[::ffff:169.254.169.254]:80": false, "[fe80::1%eth0]:80": false, "0.0.0.0:80": false, "[::]:80": false, "224.0.0.1:80": false, "127.0.0.1:9088": false,
	} {
		if err := dial("tcp", address, nil); (err == nil) != open {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAnOpenBreakerIsTriedByOneRequest(t *testing.T) {
	c := openTo("s")
	c.Routes[0].Retries, c.Breaker = 0, Breaker{Failures: 2, OpenFor: 50 * time.Millisecond}
	w := begin(t, c)
	var ill atomic.Bool
	ill.Store(true)
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		if ill.Load() {
			panic(http.ErrAbortHandler)
		}
	})
	for range 2 {
		res, body := w.ask("GET", "/", "")
		w.want(res, body, 502, CodeBadAnswer)
	}
	res, body := w.ask("GET", "/", "")
	if res.StatusCode == 200 {
		t.Errorf("%s %s", res.Status, body)
	}
	ill.Store(false)
	w.eventually("it is tried and gets requests again", func() bool { res, _ := w.ask("GET", "/", ""); return res.StatusCode == 200 })
	if s, _ := w.gateway.State("s", "a"); s.Word != Up {
		t.Error("it does not count as healthy")
	}
}

func TestHealthChecksTakeAnInstanceOutAndBackIn(t *testing.T) {
	c := openTo("s")
	c.Health = Health{Path: "/health", Interval: 5 * time.Millisecond, Timeout: time.Second}
	w := begin(t, c)
	var ill atomic.Bool
	h := func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && ill.Load() {
			rw.WriteHeader(503)
		}
		_, _ = io.WriteString(rw, "a")
	}
	w.start("s", "a", h)
	ill.Store(true)
	w.eventually("it is out", func() bool { res, _ := w.ask("GET", "/", ""); return res.StatusCode == 503 })
	ill.Store(false)
	w.eventually("it is back", func() bool { res, _ := w.ask("GET", "/", ""); return res.StatusCode == 200 })
	// An instance may have a health check of its own.
	w.directory.set("s", Instance{Name: "a", URL: w.directory.List("s")[0].URL, Weight: 1, Health: "/own?x=1"})
	ill.Store(true)
	w.eventually("its own check is asked", func() bool { res, _ := w.ask("GET", "/", ""); return res.StatusCode == 200 })
}

func TestAnAnswerThatIsCutOffIsNotMadeWhole(t *testing.T) {
	w := begin(t, openTo("s"))
	w.garbage("s", "a", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
	if res, err := http.Get(w.front.URL + "/"); err == nil { // what is there of a short one may not even be sent
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("got %q as a whole", body)
		}
	}
	w.eventually("it counts as failed", func() bool {
		return w.metric(w.gateway.metrics.attempts.WithLabelValues("s", "a", "failed")) > 0
	})
	// Whose answers all begin well and break off fails, and it is told why.
	w.eventually("its breaker opens", func() bool {
		if res, err := http.Get(w.front.URL + "/"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		s, _ := w.gateway.State("s", "a")
		return s.Word == Failing && strings.Contains(s.Reason, "breaks off")
	})
}

func TestARollingReplacementIsNotNoticed(t *testing.T) {
	w := begin(t, openTo("s"))
	servers := map[string]func(){}
	add := func(name string) {
		s := w.start("s", name, told)
		servers[name] = s.Close // waits for requests under way
	}
	for n := range 3 {
		add(fmt.Sprint("old", n))
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var asked atomic.Int64
	for n := range 8 {
		clients.Go(func() {
			method := []string{"GET", "POST"}[n%2]
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, body := w.ask(method, "/", strings.Repeat("x", n%2))
				w.want(res, body, 200, "")
				asked.Add(1)
			}
		})
	}
	for n := range 3 {
		add(fmt.Sprint("new", n))
		gone := fmt.Sprint("old", n)
		list := w.directory.List("s")
		var left []Instance
		for _, i := range list {
			if i.Name != gone {
				left = append(left, i)
			}
		}
		w.directory.set("s", left...)
		w.eventually("the gateway lets go of it", func() bool { _, ok := w.gateway.State("s", gone); return !ok })
		before := asked.Load()
		w.eventually("it goes on", func() bool { return asked.Load() > before+50 })
		servers[gone]()
	}
	close(stop)
	clients.Wait()
}

func TestBodiesGoThroughAsTheyComeAndLastAsLongAsTheyMakeProgress(t *testing.T) {
	w := begin(t, openTo("s"))
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(rw).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		rw.WriteHeader(200)
		p := make([]byte, 1)
		for {
			if _, err := r.Body.Read(p); err != nil {
				return
			}
			_, _ = rw.Write(bytes.ToUpper(p))
			_ = http.NewResponseController(rw).Flush()
		}
	})
	in, out := io.Pipe()
	r, err := http.NewRequest("POST", w.front.URL+"/", in)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.Write([]byte("a")) }()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	p := make([]byte, 1)
	for n := range 12 {
		if _, err := io.ReadFull(res.Body, p); err != nil || p[0] != 'A'+byte(n) {
			t.Fatalf("%d: %q %v", n, p, err)
		}
		if n == 6 {
			w.pass()
		}
		go func() { _, _ = out.Write([]byte{'a' + byte(n) + 1}) }()
	}
	if _, err := io.ReadFull(res.Body, p); err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
}

func TestALargeBodyComesThroughWhole(t *testing.T) {
	w := begin(t, openTo("s"))
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex() // it is HTTP/1
		_, _ = io.Copy(rw, r.Body)
	})
	const size = 16 << 20
	sent, got := sha256.New(), sha256.New()
	r, err := http.NewRequest("PUT", w.front.URL+"/", io.TeeReader(io.LimitReader(endless{}, size), sent))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(got, res.Body); n != size || err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// endless are bytes that are not all the same.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * 7)
	}
	return len(p), nil
}

func TestStreamsOfEventsAreFlushedAtOnceAndEndWithTheGateway(t *testing.T) {
	w := begin(t, openTo("s"))
	next := make(chan string)
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(rw).Flush()
		for {
			select {
			case text := <-next:
				fmt.Fprintf(rw, "data: %s\n\n", text)
				_ = http.NewResponseController(rw).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	r, err := http.NewRequest("GET", w.front.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for n := range 3 {
		if n == 1 {
			w.pass()
		}
		next <- fmt.Sprint(n)
		p := make([]byte, len("data: 0\n\n"))
		if _, err := io.ReadFull(res.Body, p); err != nil || string(p) != fmt.Sprintf("data: %d\n\n", n) {
			t.Fatalf("%q %v", p, err)
		}
	}
	w.gateway.Leave()
	if _, err := res.Body.Read(make([]byte, 1)); err == nil {
		t.Error("it goes on")
	}
}

func TestClientsThatStopEndAndHoldNothing(t *testing.T) {
	w := begin(t, openTo("s"))
	w.gateway.clientTime = 100 * time.Millisecond
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		_, _ = io.Copy(rw, endless{}) // until nobody takes it
	})
	res, body := w.raw("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	w.want(res, body, 408, CodeSlowBody)
	res, body = w.raw("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf")
	w.want(res, body, 408, CodeSlowBody)
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // and no more
		t.Fatal(err)
	}
	w.eventually("nothing is in flight", func() bool { s, _ := w.gateway.State("s", "a"); return s.InFlight == 0 && s.Word == Up })
}
