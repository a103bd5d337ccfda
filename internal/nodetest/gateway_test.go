package nodetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What an instance of a test's service does with requests.
const (
	isWell int32 = iota
	isSlow
	is500
	isGarbage
)

// standIn is one instance of a service of the test's own.
type standIn struct {
	name, url string
	server    *httptest.Server
	does      atomic.Int32
}

// newStandIn starts an instance. It answers with its service's name and what it is told.
func newStandIn(t *testing.T, service, name string, h http.Handler) *standIn {
	t.Helper()
	i := &standIn{name: name}
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch i.does.Load() {
		case isSlow:
			slow := time.NewTimer(300 * time.Millisecond) // that is what it is
			defer slow.Stop()
			select {
			case <-slow.C:
			case <-r.Context().Done():
			}
		case is500:
			http.Error(w, "the service is ill", http.StatusInternalServerError)
			return
		case isGarbage:
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_, _ = io.WriteString(conn, "\x00\x01 what is this\r\n\r\n") // as far as it is read
				_ = conn.Close()
			}
			return
		}
		h.ServeHTTP(w, r)
	}))
	i.url = i.server.URL
	t.Cleanup(func() {
		i.does.Store(isWell)
		i.server.CloseClientConnections()
		i.server.Close()
	})
	return i
}

// serviceWorld is a node with services of the test behind it.
type serviceWorld struct {
	*Server
	t     *testing.T
	admin string // a key that registers
	key   *issuer
}

const gatewaySettings = `
chat: {enabled: true}
gateway:
  routes:
    - {path: /orders/, service: orders, apps: [JWT, chat], stripPrefix: true, timeout: 2s}
    - {path: /stock/, service: stock, auth: none, timeout: 2s}
    - {path: /nobody/, service: nobody, auth: none}
    - {path: /instead/, service: nobody, auth: none, fallback: {status: 503, body: '{"code":"UNAVAILABLE"}'}}
  health: {path: /health, interval: 100ms, timeout: 500ms}
  breaker: {failures: 3, openFor: 300ms}
`

// withServices starts a node for the tests of the gateway.
func withServices(t *testing.T) *serviceWorld {
	t.Helper()
	Alone(t, ReasonOwn)
	key := newKey("HS256")
	s := startWith(t, key.app("JWT")+gatewaySettings)
	_, admin := s.NewKey(`{"admin":true}`)
	return &serviceWorld{Server: s, t: t, admin: admin, key: key}
}

// join registers an instance and waits until the gateway knows it.
func (w *serviceWorld) join(service string, i *standIn) {
	w.t.Helper()
	a := w.Call("PUT", "/v1/services/"+service+"/"+i.name, w.admin, fmt.Sprintf(`{"url":%q,"ttl":600}`, i.url))
	if a.Status != 200 && a.Status != 201 {
		w.t.Fatalf("register %s: %d %s", i.name, a.Status, a.Body)
	}
	Eventually(w.t, "the gateway knows "+i.name, func() bool { return strings.Contains(w.state(service, i.name), `"state":"up"`) })
}

// leave takes an instance out and waits until the gateway knows that.
func (w *serviceWorld) leave(service, name string) {
	w.t.Helper()
	if a := w.Call("DELETE", "/v1/services/"+service+"/"+name, w.admin, ""); a.Status/100 != 2 {
		w.t.Fatalf("take %s out: %d %s", name, a.Status, a.Body)
	}
	Eventually(w.t, "the gateway lets go of "+name, func() bool {
		return w.Metric(fmt.Sprintf(`switchboard_gateway_healthy{instance=%q,service=%q}`, name, service)) == 0
	})
}

// state returns what /v1/services shows of an instance.
func (w *serviceWorld) state(service, name string) string {
	a := w.Call("GET", "/v1/services/"+service, w.admin, "")
	_, rest, _ := strings.Cut(a.Body, fmt.Sprintf(`"instance":%q`, name))
	one, _, _ := strings.Cut(rest, `"instance":`)
	return one
}

// loadOf counts what clients get.
type loadOf struct {
	mu   sync.Mutex
	seen map[string]int // "GET 200"
	all  int
}

func (l *loadOf) note(method string, what any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[fmt.Sprint(method, " ", what)]++
	l.all++
}

// take returns what was counted since the last time.
func (l *loadOf) take() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.seen
	l.seen = map[string]int{}
	return seen
}

func (l *loadOf) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// begin has clients ask both services until ctx ends: what may be repeated, and what may not.
func (w *serviceWorld) begin(ctx context.Context, all *sync.WaitGroup, clients int) *loadOf {
	l := &loadOf{seen: map[string]int{}}
	token := "Bearer " + w.key.good("JWT-7")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	w.t.Cleanup(client.CloseIdleConnections)
	for n := range clients {
		method, path := []string{"GET", "PUT", "POST"}[n%3], []string{"/orders/1", "/stock/1"}[n%2]
		all.Go(func() {
			for ctx.Err() == nil {
				var body io.Reader
				if method != "GET" {
					body = strings.NewReader("one of these")
				}
				r, err := http.NewRequest(method, "http://"+w.Addr+path, body)
				if err != nil {
					w.t.Error(err)
					return
				}
				if path[1] == 'o' {
					r.Header.Set("Authorization", token)
				}
				res, err := client.Do(r)
				if err != nil {
					l.note(method, err)
					continue
				}
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode == 200 && string(text) != "ok "+path[1:2]+" JWT-7"[:len(" JWT-7")*btoi(path[1] == 'o')] {
					l.note(method, fmt.Sprint(err, string(text)))
					continue
				}
				l.note(method, res.StatusCode)
			}
		})
	}
	return l
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// answersOK is what the services of the load answer.
func answersOK(letter string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // it is short
		text := "ok " + letter
		if user := r.Header.Get("X-User-Id"); user != "" {
			text += " " + user
		}
		_, _ = io.WriteString(w, text)
	})
}

// loadedServices are two services of three instances each under load.
type loadedServices struct {
	*serviceWorld
	all       map[string][]*standIn // by service
	processes []*os.Process         // the last instance of each
	load      *loadOf
}

// underLoad starts them, with clients that ask until the test ends.
func underLoad(t *testing.T, clients int) *loadedServices {
	t.Helper()
	x := &loadedServices{serviceWorld: withServices(t), all: map[string][]*standIn{}}
	for _, service := range []string{"orders", "stock"} {
		x.add(service, service+"-0")
		x.add(service, service+"-1")
		i, process := startInstance(t, service, service+"-2")
		x.join(service, i)
		x.processes = append(x.processes, process)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	x.load = x.begin(ctx, &running, clients)
	return x
}

func (x *loadedServices) add(service, name string) {
	x.t.Helper()
	i := newStandIn(x.t, service, name, answersOK(service[:1]))
	x.join(service, i)
	x.all[service] = append(x.all[service], i)
}

// more waits for further requests.
func (x *loadedServices) more(n int) {
	x.t.Helper()
	until := x.load.total() + n
	Eventually(x.t, "requests go on", func() bool { return x.load.total() >= until })
}

// up says whether an instance of both services, by its number, gets requests.
func (x *loadedServices) up(n int) (both, any bool) {
	first := strings.Contains(x.state("orders", fmt.Sprint("orders-", n)), `"state":"up"`)
	second := strings.Contains(x.state("stock", fmt.Sprint("stock-", n)), `"state":"up"`)
	return first && second, first || second
}

func (x *loadedServices) await(what string, n int, up bool) {
	x.t.Helper()
	Eventually(x.t, what, func() bool {
		both, any := x.up(n)
		return up && both || !up && !any
	})
}

// fault has an instance of each service do something ill for a while.
func (x *loadedServices) fault(what string, does int32, may ...string) {
	x.t.Helper()
	set := func(does int32) {
		for _, list := range x.all {
			list[1].does.Store(does)
		}
	}
	set(does)
	x.more(300)
	if does != isSlow {
		x.await("it gets no requests: "+what, 1, false)
		onlyOK(x.t, what+", until that is known", x.load.take(), may...)
		x.more(200) // of which one is tried there now and then
	}
	set(isWell)
	x.await("it is well again: "+what, 1, true)
	onlyOK(x.t, what, x.load.take(), may...)
}

// Each fault of an instance hits the clients only where no repeat may hide it: what is
// not safe to repeat, and was sent.
func TestClientsSeeOfIllInstancesOnlyWhatNoRepeatMayHide(t *testing.T) {
	t.Parallel()
	x := underLoad(t, 12)
	x.more(200)
	onlyOK(t, "all are well", x.load.take())
	x.fault("slow", isSlow)
	x.fault("500", is500, "POST 500")
	x.fault("garbage", isGarbage, "POST 502")

	signal(t, syscall.SIGSTOP, x.processes)
	x.await("what is frozen gets no requests", 2, false)
	x.more(100)
	signal(t, syscall.SIGCONT, x.processes)
	x.await("what was frozen is up again", 2, true)
	x.more(100)
	onlyOK(t, "frozen", x.load.take(), "POST 504")
	signal(t, syscall.SIGKILL, x.processes)
	x.await("what is killed gets no requests", 2, false)
	x.more(100)
	onlyOK(t, "killed", x.load.take(), "POST 502")

	// A rolling replacement is noticed by nobody, whatever he asks.
	for n := range 2 {
		for service := range x.all {
			old := x.all[service][n]
			x.add(service, fmt.Sprint(service, "-new-", n))
			x.leave(service, old.name)
			shutdown(t, old)
		}
		x.more(50)
	}
	onlyOK(t, "replaced one by one", x.load.take())
}

// shutdown ends an instance as a service does that is told to: what is under way ends well.
func shutdown(t *testing.T, i *standIn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := i.server.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// onlyOK fails unless all got 200, but for what may be else, and prints how many did.
func onlyOK(t *testing.T, what string, seen map[string]int, may ...string) {
	t.Helper()
	t.Logf("%s: %v", what, seen)
	for got, n := range seen {
		ok := strings.HasSuffix(got, " 200")
		for _, one := range may {
			ok = ok || got == one
		}
		if !ok {
			t.Errorf("%s: %d got %s", what, n, got)
		}
	}
}

// echoes answers each byte of an upgraded connection with itself, each event with the
// next, and a body with itself.
func echoes(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	switch {
	case r.Header.Get("Upgrade") != "":
		conn, buffered, err := control.Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Saw: %s %s\r\n\r\n", r.Header.Get("X-User-Id"), r.URL.RequestURI())
		_, _ = io.Copy(conn, buffered) // until the client leaves
	case strings.Contains(r.Header.Get("Accept"), "text/event-stream"):
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: of %s\n\n", r.Header.Get("X-User-Id"))
		_ = control.Flush()
		<-r.Context().Done()
	default:
		_ = control.EnableFullDuplex() // it is HTTP/1
		_, _ = io.Copy(w, r.Body)
	}
}

func TestSocketsEventsAndLargeBodiesGoThroughAndEndWithTheirToken(t *testing.T) {
	t.Parallel()
	w := withServices(t)
	w.join("orders", newStandIn(t, "orders", "one", http.HandlerFunc(echoes)))
	ada := w.signUp("ada")
	socket := dialTCP(t, w.Addr)
	socket.write([]byte("GET /orders/ws?access_token=" + ada.access + "&room=2 HTTP/1.1\r\nHost: " + w.Addr + "\r\n" + handshakeLines + "\r\n"))
	res := socket.response()
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("X-Saw") != ada.user+" /ws?room=2" {
		t.Fatalf("got %s %v", res.Status, res.Header)
	}
	const frame = "\x81\x02hi"
	socket.write([]byte(frame))
	echo := make([]byte, len(frame))
	if _, err := io.ReadFull(socket.r, echo); err != nil || string(echo) != frame {
		t.Fatalf("%q %v", echo, err)
	}
	r, err := http.NewRequest("GET", "http://"+w.Addr+"/orders/news", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+ada.access)
	events, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	first := make([]byte, len("data: of "+ada.user+"\n\n"))
	if _, err := io.ReadFull(events.Body, first); err != nil || string(first) != "data: of "+ada.user+"\n\n" {
		t.Fatalf("%q %v", first, err)
	}
	sendLarge(t, w, ada.access, int64(numberFromEnvironment(t, "NODETEST_GATEWAY_BYTES", 64<<20)))

	w.want(204, "DELETE", "/v1/sessions", ada.access, "")
	if rest, err := io.ReadAll(socket.r); err != nil || string(rest) != "\x88\x15\x03\xf0the token has ended" {
		t.Errorf("the socket, whose token was revoked, ends with %q, %v", rest, err)
	}
	if n, err := io.Copy(io.Discard, events.Body); n > 0 || isTimeout(err) {
		t.Errorf("the stream goes on: %d bytes, %v", n, err)
	}
	if a := w.Call("GET", "/orders/1", ada.access, ""); a.Status != 401 || a.Code() != "TOKEN_EXPIRED" {
		t.Errorf("a revoked token: %d %s", a.Status, a.Body)
	}
}

func isTimeout(err error) bool {
	network, ok := err.(net.Error)
	return ok && network.Timeout()
}

// numbers are bytes that are not all the same.
type numbers struct{ left, at int64 }

func (n *numbers) Read(p []byte) (int, error) {
	if n.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), n.left)]
	for i := range p {
		p[i] = byte((n.at + int64(i)) * 2654435761 >> 16)
	}
	n.at, n.left = n.at+int64(len(p)), n.left-int64(len(p))
	return len(p), nil
}

// sendLarge sends a body that comes back, and compares.
func sendLarge(t *testing.T, w *serviceWorld, token string, size int64) {
	t.Helper()
	r, err := http.NewRequest("PUT", "http://"+w.Addr+"/orders/large", &numbers{left: size})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	want, got, p, q := &numbers{left: size}, int64(0), make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := res.Body.Read(p)
		if _, short := io.ReadFull(want, q[:n]); short != nil || string(p[:n]) != string(q[:n]) {
			t.Fatalf("what comes back differs after %d bytes", got)
		}
		if got += int64(n); err != nil {
			break
		}
	}
	if res.StatusCode != 200 || got != size {
		t.Errorf("of %d bytes %d came back, with %s", size, got, res.Status)
	}
}
