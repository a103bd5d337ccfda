package nodetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// A load is senders and receivers that go on over many lives of a server. Each
// message is numbered by its sender; what arrives is written down per session,
// and compared in tally_test.go with what was sent.

// fate is one message and what its sender heard of it.
type fate struct {
	to        []string
	fast      bool
	stored    bool   // MESSAGE_STORED came
	confirmed int    // how many MESSAGE_CONFIRMATION came
	refused   string // the code of the DELIVER_FAILED that came

	mayYetArrive bool // and what it said
}

// sender sends to all receivers in turn, RELIABLE and FAST, to one and to many.
type sender struct {
	user string
	rand *rand.Rand

	mu    sync.Mutex
	fates []fate // by number
}

// arrival is one message as a receiver saw it.
type arrival struct {
	from string
	n    int
	fast bool
}

// logbook is what one receiver saw.
type logbook struct {
	user string
	kind string // "plain", "push" or "ack"; "twin" is plain, twice; "late" is plain, and comes in the end only

	mu       sync.Mutex
	sessions [][]arrival // for "ack" a single one: what the application saw
}

func (l *logbook) add(session int, from string, f Frame) {
	tag, n := number(f)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[session] = append(l.sessions[session], arrival{from, n, tag == "fast"})
}

// load is all of them.
type load struct {
	t       *testing.T
	s       *Server
	senders []*sender
	logs    []*logbook
	clients []*client.Client

	stored   atomic.Int64 // receipts so far
	progress chan struct{}
}

// outstanding is how many messages a sender may have sent without a receipt.
const outstanding = 256

// refusedPause is how long a sender rests when a message was refused: trying
// again at once would only be refused again.
const refusedPause = 5 * time.Millisecond

func newLoad(t *testing.T, s *Server, seed uint64, senders int, kinds ...string) *load {
	t.Helper()
	l := &load{t: t, s: s, progress: make(chan struct{}, 1)}
	for i := range senders {
		l.senders = append(l.senders, &sender{user: fmt.Sprint("ANZ-", 100+i), rand: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	for i, kind := range kinds {
		book := &logbook{user: fmt.Sprint("ANZ-", 200+i), kind: kind}
		l.logs = append(l.logs, book)
		if kind == "ack" {
			l.dialClient(book)
		}
	}
	return l
}

// dialClient starts our own client for a receiver. It lives as long as the test
// and comes back by itself.
func (l *load) dialClient(book *logbook) {
	book.sessions = make([][]arrival, 1)
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{
		URL: "ws://" + l.s.Addr + "/ws", AppID: "app-id-343", UserID: wire.UserID(book.user), Ack: true, Push: true,
		Backoff: client.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond},
		OnMessage: func(_ context.Context, m client.Message) error {
			book.add(0, string(m.From), Frame{Raw: `"content":` + string(m.Content)})
			return nil
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.clients = append(l.clients, c)
	l.t.Cleanup(c.Close)
}

// run connects everybody and sends until the server is gone, or quiet is
// closed. It returns when all connections have ended.
func (l *load) run(quiet <-chan struct{}) {
	var wg sync.WaitGroup
	for _, s := range l.senders {
		wg.Go(func() { l.send(s, quiet) })
	}
	for _, book := range l.logs {
		if book.kind != "ack" && (book.kind != "late" || isClosed(quiet)) {
			wg.Go(func() { l.receive(book) })
		}
		if book.kind == "twin" {
			wg.Go(func() { l.receive(book) })
		}
	}
	wg.Wait()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// connect returns a signed-in peer, or nil when the server is gone.
func (l *load) connect(user, options string) *Peer {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	p, err := TryDial(ctx, l.t, l.s)
	if err != nil || p.TrySignIn("app-id-343", user, options) != nil {
		return nil
	}
	return p
}

// receive writes down what one session of a receiver gets.
func (l *load) receive(book *logbook) {
	const fetch = `{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":2000}}`
	options := ""
	if book.kind == "push" {
		options = `{"push":true}`
	}
	p := l.connect(book.user, options)
	if p == nil {
		return
	}
	book.mu.Lock()
	session := len(book.sessions)
	book.sessions = append(book.sessions, nil)
	book.mu.Unlock()
	more := book.kind != "push" // there may be something to fetch
	for {
		if more {
			more = false
			_ = p.TrySend(fetch) // if it fails, what was read is still to be taken
		}
		f, err := p.TryNext()
		switch {
		case err != nil:
			return
		case f.Type == "MESSAGE":
			book.add(session, f.Field("from"), f)
		case f.Type == "FETCH_MISSING_MESSAGES_COMPLETE":
			more = f.Field("leftMissingCount") != "0"
		}
	}
}

// send sends until the connection ends, or quiet is closed; then it only
// listens.
func (l *load) send(s *sender, quiet <-chan struct{}) {
	p := l.connect(s.user, `{"receipts":true,"push":true}`)
	if p == nil {
		return
	}
	room := make(chan struct{}, outstanding)
	var wg sync.WaitGroup
	wg.Go(func() { l.listen(s, p, room) })
	defer wg.Wait()
	for !isClosed(quiet) {
		select {
		case <-p.closed:
			return
		case room <- struct{}{}:
		}
		frame, reliable := s.next(l.logs)
		if p.TrySend(frame) != nil {
			return
		}
		if !reliable {
			<-room // it gets no receipt
		}
	}
}

// next makes the next message and its frame.
func (s *sender) next(logs []*logbook) (frame string, reliable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.fates)
	f := fate{to: []string{logs[n%len(logs)].user}, fast: s.rand.IntN(8) == 0}
	size, series := s.rand.IntN(200), "reliable"
	if s.rand.IntN(20) == 0 {
		size = s.rand.IntN(20_000)
	}
	if f.fast {
		series = "fast"
	}
	content := numbered(series, n, size)
	switch {
	case f.fast:
		frame = fmt.Sprintf(`{"type":"MESSAGE","data":{"to":%q,"content":%q},"feature":"FAST"}`, f.to[0], content)
	case s.rand.IntN(10) == 0:
		f.to = nil
		for _, book := range logs {
			f.to = append(f.to, book.user)
		}
		frame = fmt.Sprintf(`{"type":"GROUP_MESSAGE","data":{"to":["%s"],"content":%q},"reference":"%d"}`, strings.Join(f.to, `","`), content, n)
	default:
		frame = fmt.Sprintf(`{"type":"MESSAGE","data":{"to":%q,"content":%q},"reference":"%d"}`, f.to[0], content, n)
	}
	s.fates = append(s.fates, f)
	return frame, !f.fast
}

// listen writes down what a sender hears, until the connection ends.
func (l *load) listen(s *sender, p *Peer, room <-chan struct{}) {
	for {
		f, err := p.TryNext()
		if err != nil {
			return
		}
		n := 0
		text := f.Field("reference")
		if f.Type == "DELIVER_FAILED" {
			text = strings.Trim(string(f.Reference), `"`)
		}
		if _, err := fmt.Sscan(text, &n); err != nil {
			continue
		}
		s.mu.Lock()
		fate := &s.fates[n]
		switch f.Type {
		case "MESSAGE_STORED":
			fate.stored = true
		case "MESSAGE_CONFIRMATION":
			fate.confirmed++
		case "DELIVER_FAILED":
			fate.refused, fate.mayYetArrive = f.Field("code"), f.Field("mayYetArrive") == "true"
		}
		s.mu.Unlock()
		if f.Type == "DELIVER_FAILED" {
			<-time.After(refusedPause)
		}
		if f.Type != "MESSAGE_CONFIRMATION" {
			<-room
		}
		if f.Type == "MESSAGE_STORED" {
			l.stored.Add(1)
			select {
			case l.progress <- struct{}{}:
			default:
			}
		}
	}
}

// awaitStored waits until the load has had n receipts, or stop comes.
func (l *load) awaitStored(n int64, stop <-chan time.Time) {
	deadline := time.After(Patience)
	for l.stored.Load() < n {
		select {
		case <-l.progress:
		case <-stop:
			return
		case <-deadline:
			l.t.Fatalf("only %d of %d messages were stored", l.stored.Load(), n)
		}
	}
}
