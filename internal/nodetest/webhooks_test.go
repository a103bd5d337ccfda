package nodetest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hookKey is the secret of the webhooks of these tests.
const hookKey = "0123456789abcdef0123456789abcdef"

// hookSettings is the demo app with one webhook for some events, all if none is
// named.
func hookSettings(url, more string, events ...string) string {
	if len(events) == 0 {
		events = []string{"connected", "disconnected", "delivered", "undelivered", "expired"}
	}
	return "apps: [{appName: ANZ, appId: app-id-343, authEnabled: false, webhooks: [{name: billing, url: \"" + url +
		"\", secret: " + hookKey + ", events: [" + strings.Join(events, ", ") + "], allowPrivate: true}]}]\n" + more
}

// event is one event as a webhook gets it.
type event struct {
	ID   string `json:"-"`
	Type string
	Data struct{ App, UserID, SessionID, MessageID, From, To, Reference, Username, Token string }
	Time time.Time `json:"timestamp"`
}

func (e event) user() string { return e.Data.UserID + e.Data.To }

// hookServer is an app's own server with a webhook. It keeps its address while it is
// down.
type hookServer struct {
	t    *testing.T
	addr string

	mu      sync.Mutex
	server  *http.Server
	status  func(e event) int // of the answer; nil: 204
	heard   []event           // what was answered with 2xx, in order
	answers int
}

// startHookServer starts a hookServer, which ends with the test.
func startHookServer(t *testing.T) *hookServer {
	t.Helper()
	b := &hookServer{t: t, addr: "127.0.0.1:0"}
	b.up()
	t.Cleanup(b.down)
	return b
}

func (b *hookServer) url() string { return "http://" + b.addr + "/hook?key=hush" }

// up has it listen.
func (b *hookServer) up() {
	b.t.Helper()
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(b.hear)}
	b.mu.Lock()
	b.addr, b.server = l.Addr().String(), server
	b.mu.Unlock()
	go func() { _ = server.Serve(l) }() // until down
}

// down cuts all connections and listens no more.
func (b *hookServer) down() {
	b.mu.Lock()
	server := b.server
	b.mu.Unlock()
	_ = server.Close() // nothing to be done about an error
}

func (b *hookServer) hear(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e := event{ID: r.Header.Get("webhook-id")}
	h := hmac.New(sha256.New, []byte(hookKey))
	fmt.Fprintf(h, "%s.%s.%s", e.ID, r.Header.Get("webhook-timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)); r.Header.Get("webhook-signature") != want {
		b.t.Errorf("signed %q, want %q", r.Header.Get("webhook-signature"), want)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		b.t.Errorf("%v: %s", err, body)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	status := http.StatusNoContent
	if b.status != nil {
		status = b.status(e)
	}
	b.answers++
	if status/100 == 2 {
		b.heard = append(b.heard, e)
	}
	w.WriteHeader(status)
}

func (b *hookServer) answer(f func(e event) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = f
}

// events returns what was heard, without what had been heard before.
func (b *hookServer) events() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make(map[string]bool)
	var list []event
	for _, e := range b.heard {
		if !seen[e.ID] {
			list = append(list, e)
		}
		seen[e.ID] = true
	}
	return list
}

// await waits until n different events were heard, and returns them.
func (b *hookServer) await(n int) []event {
	b.t.Helper()
	Eventually(b.t, fmt.Sprintf("the backend heard %d events", n), func() bool { return len(b.events()) >= n })
	list := b.events()
	if len(list) != n {
		b.t.Errorf("%d events were heard, want %d", len(list), n)
	}
	return list
}

// kinds counts events by type.
func kinds(list []event) map[string]int {
	count := make(map[string]int)
	for _, e := range list {
		count[e.Type]++
	}
	return count
}

func TestWebhooksHearWhatHappens(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	s := startWith(t, hookSettings(b.url(), "limits: {undeliveredAfter: 1s}\n"))
	one := SignIn(t, s, "ANZ-1", "")
	two := SignIn(t, s, "ANZ-2", "")
	one.Message("ANZ-2", "hello", `"reference":"here"`)
	two.Expect("MESSAGE")
	one.Expect("MESSAGE_CONFIRMATION")
	one.Send(`{"type":"MESSAGE","data":{"to":"ANZ-3","content":"hello"},"reference":"late","ttl":3}`)
	two.Close()
	want := map[string]int{"connected": 2, "disconnected": 1, "delivered": 1, "undelivered": 1, "expired": 1}
	// The confirmation of the first message is one of the server's own, of which
	// nobody hears.
	list := b.await(6)
	if got := kinds(list); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, e := range list {
		if e.ID == "" || e.Data.App != "ANZ" || e.Time.IsZero() {
			t.Errorf("incomplete: %+v", e)
		}
		switch e.Type {
		case "connected", "disconnected":
			if e.Data.SessionID == "" {
				t.Errorf("incomplete: %+v", e)
			}
		default:
			if e.Data.MessageID == "" || e.Data.From != "ANZ-1" || e.Data.Reference != map[bool]string{true: "here", false: "late"}[e.Type == "delivered"] {
				t.Errorf("incomplete: %+v", e)
			}
		}
	}
	awaitMetric(t, s, `switchboard_webhooks_events_total{app="ANZ",state="delivered",webhook="billing"}`, 6)
	awaitWaiting(t, s, 0)
	if status, _ := s.Get("/readyz"); status != 200 {
		t.Errorf("/readyz is %d", status)
	}
	if strings.Contains(s.Output(), "hush") || strings.Contains(s.Output(), hookKey) {
		t.Errorf("a secret is logged:\n%s", s.Output())
	}
}

// Each session is told of once when it begins and once when it ends, also when
// the node was killed in between, and in that order.
func TestWebhooksHearOfEachSessionOnceAcrossKills(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	s := startWith(t, hookSettings(b.url(), "", "connected", "disconnected"))
	const rounds, users = 3, 8
	for range rounds {
		for u := range users {
			round(SignIn(t, s, fmt.Sprint("ANZ-", u), "")) // what it sends is stored behind its beginning
		}
		s.Kill()
		s.Start()
	}
	list := b.await(2 * rounds * users)
	began, ended := make(map[string]int), make(map[string]int)
	for _, e := range list {
		switch e.Type {
		case "connected":
			began[e.Data.SessionID]++
		case "disconnected":
			ended[e.Data.SessionID]++
			if began[e.Data.SessionID] != 1 {
				t.Errorf("session %s ended before it began", e.Data.SessionID)
			}
		}
	}
	for id, n := range began {
		if n != 1 || ended[id] != 1 {
			t.Errorf("session %s began %d times and ended %d times", id, n, ended[id])
		}
	}
	if len(began) != rounds*users {
		t.Errorf("%d sessions began, want %d", len(began), rounds*users)
	}
}

// The receiver is down, the server is killed, both come back: everything
// arrives, in order for each user.
func TestWebhooksHearEverythingAfterBothWereDown(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	s := startWith(t, hookSettings(b.url(), "limits: {webhookConcurrency: 4}\n"))
	b.await(0)
	b.down()
	const users, each = 6, 20
	var senders []*Peer
	for u := range users {
		senders = append(senders, SignIn(t, s, fmt.Sprint("ANZ-", u), ""))
	}
	for i := range each {
		for u, p := range senders {
			to := (u + 1) % users
			p.Message(fmt.Sprint("ANZ-", to), "x", fmt.Sprintf(`"reference":"%d"`, i))
		}
		for _, p := range senders {
			for p.Next().Type != "MESSAGE_CONFIRMATION" { // it receives messages, too
				continue
			}
		}
		if i == each/2 {
			s.Kill()
			s.Start()
			senders = senders[:0]
			for u := range users {
				senders = append(senders, SignIn(t, s, fmt.Sprint("ANZ-", u), ""))
			}
		}
	}
	s.Kill()
	b.up()
	s.Start()
	list := b.await(4*users + each*users)
	next := make(map[string]int)
	reordered := 0
	for _, e := range list {
		if e.Type == "delivered" {
			if e.Data.Reference != fmt.Sprint(next[e.user()]) {
				reordered++
			}
			next[e.user()]++
		}
	}
	lost := 0
	for u := range users {
		lost += each - next[fmt.Sprint("ANZ-", u)]
	}
	t.Logf("lost %d, duplicated %d, reordered %d", lost, len(b.heard)-len(list), reordered)
	if lost+reordered > 0 {
		t.Errorf("lost %d, reordered %d", lost, reordered)
	}
}

// Webhooks come, change and go at run time; what waits for one that went is
// there when it comes back.
func TestWebhooksChangeAtRunTime(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	without := plainApp
	path := Settings(t, without)
	s := Start(t, "--config", path)
	SignIn(t, s, "ANZ-1", "").Close()
	awaitSessions(t, s, 0)
	reload := func(text string) {
		t.Helper()
		reload(t, s, path, text, inEffect)
	}
	b.answer(func(event) int { return http.StatusBadGateway })
	reload(hookSettings(b.url(), ""))
	SignIn(t, s, "ANZ-2", "").Close()
	Eventually(t, "the backend was asked", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.answers > 0
	})
	reload(without)
	b.answer(nil)
	SignIn(t, s, "ANZ-3", "").Close()
	awaitSessions(t, s, 0)
	reload(hookSettings(b.url(), ""))
	SignIn(t, s, "ANZ-4", "").Close()
	var users []string
	for _, e := range b.await(4) {
		users = append(users, e.Type+" "+e.user())
	}
	slices.Sort(users)
	if want := []string{"connected ANZ-2", "connected ANZ-4", "disconnected ANZ-2", "disconnected ANZ-4"}; !slices.Equal(users, want) {
		t.Errorf("got %q, want %q", users, want)
	}
}

// The server is killed again and again while messages flow, and the backend
// fails now and then and is down in between. For each message that was stored
// for certain one event comes, in the order in which the receiver got them.
func TestWebhooksLoseNothingInAStormOfKills(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	chance := rand.New(rand.NewPCG(seed(t), 11))
	b := startHookServer(t)
	b.answer(func(event) int {
		if chance.IntN(200) == 0 { // each holds its user up for a second
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	s := startWith(t, hookSettings(b.url(), "", "delivered"))
	const pairs = 3
	certain, next := make([][]int, pairs), make([]int, pairs)
	pause := rand.New(rand.NewPCG(chance.Uint64(), 12))
	for round := range rounds {
		var flow sync.WaitGroup
		for pair := range pairs {
			SignIn(t, s, fmt.Sprint("ANZ-", 10+pair), `{"push":true}`)
			p := SignIn(t, s, fmt.Sprint("ANZ-", 20+pair), `{"receipts":true}`)
			flow.Go(func() {
				for ; ; next[pair]++ {
					if p.TrySend(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-%d","content":"x"},"reference":"%06d","confirmationEnabled":false}`, 10+pair, next[pair])) != nil {
						return
					}
					if f, err := p.TryNext(); err != nil || f.Type != "MESSAGE_STORED" {
						next[pair]++ // whether it was stored is not known
						return
					}
					certain[pair] = append(certain[pair], next[pair])
				}
			})
		}
		if round%3 == 1 {
			b.down()
		}
		<-time.After(time.Duration(50+pause.IntN(200)) * time.Millisecond)
		s.Kill()
		flow.Wait()
		if round%3 == 1 {
			b.up()
		}
		s.Start()
	}
	for pair := range pairs {
		SignIn(t, s, fmt.Sprint("ANZ-", 10+pair), `{"push":true}`)
	}
	awaitWaiting(t, s, 0)
	list := b.events()
	heard, last, reordered := make(map[string]int), make(map[string]string), 0
	for _, e := range list {
		heard[e.Data.From+e.Data.Reference]++
		if e.Data.Reference <= last[e.Data.To] {
			reordered++
		}
		last[e.Data.To] = e.Data.Reference
	}
	lost, twice, all := 0, 0, 0
	for pair := range pairs {
		for _, n := range certain[pair] {
			all++
			if heard[fmt.Sprintf("ANZ-%d%06d", 20+pair, n)] == 0 {
				lost++
			}
		}
	}
	for _, n := range heard {
		twice += n - 1
	}
	t.Logf("lost %d, duplicated %d, reordered %d of %d (repeats that the ID tells: %d)", lost, twice, reordered, all, len(b.heard)-len(list))
	if lost+twice+reordered > 0 || all == 0 {
		t.Errorf("lost %d, duplicated %d, reordered %d of %d", lost, twice, reordered, all)
	}
}
