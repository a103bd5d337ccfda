package nodetest

import (
	"context"
	"encoding/json"
	"errors"
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

// A workload is producers and consumers that go on through all faults and write
// a history. Half of the producers are Go clients that ask for receipts, the
// others plain WebSocket clients that know of confirmations only; of the
// consumers some are Go clients that acknowledge, some are plain.
type workload struct {
	*history
	t     *testing.T
	where whereabouts
	pace  time.Duration
	users []string // of the consumers
	sizes []int    // of contents, at most; drawn evenly

	mu      sync.Mutex
	clients []*client.Client

	quiet   chan struct{}      // closed when producers are to send no more
	stop    context.CancelFunc // ends everybody: their context
	running sync.WaitGroup
}

// unanswered is how many messages a producer may have sent on one connection
// without hearing of them.
const unanswered = 200

// briefly bounds what a client waits for while the server may be gone.
const briefly = 3 * time.Second

// whereabouts say who takes part in a workload, and where each connects.
type whereabouts struct {
	consumer, producer func(i int) (user string)
	door               func(user string) (addr string)
}

// startWorkload lets everybody begin. front is where they connect; pace is a
// producer's rest after a message or a few. They end with the test, if not
// before, by end or drain.
func startWorkload(t *testing.T, front *Server, chance *rand.Rand, pace time.Duration, sizes ...int) *workload {
	t.Helper()
	numbered := func(from int) func(int) string {
		return func(i int) string { return fmt.Sprint("ANZ-", from+i) }
	}
	addr := front.Addr // it stays, but is noted anew when the server starts again
	door := func(string) string { return addr }
	return startWorkloadOf(t, whereabouts{numbered(200), numbered(100), door}, chance, pace, sizes...)
}

// startWorkloadOf is startWorkload with people of the caller's.
func startWorkloadOf(t *testing.T, where whereabouts, chance *rand.Rand, pace time.Duration, sizes ...int) *workload {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w := &workload{history: newHistory(), t: t, where: where, pace: pace, sizes: sizes, quiet: make(chan struct{}), stop: stop}
	t.Cleanup(w.end)
	kinds := []string{"ack", "ack", "push", "fetch", "push", "fetch", "push", "fetch"}
	for i := range kinds {
		w.users = append(w.users, where.consumer(i))
	}
	for i, kind := range kinds {
		r, chance := w.receiver(w.users[i], kind), rand.New(rand.NewPCG(chance.Uint64(), uint64(i)))
		switch {
		case kind == "ack":
			w.consumeWithAck(ctx, r)
		case i < len(kinds)/2:
			w.running.Go(func() { w.consume(ctx, r, stays) })
		default:
			w.running.Go(func() {
				w.consume(ctx, r, func() time.Duration { return time.Duration(chance.Int64N(int64(awayAtMost))) })
			})
		}
	}
	for i := range 6 {
		user, chance := where.producer(i), rand.New(rand.NewPCG(chance.Uint64(), uint64(i)))
		if i%2 == 0 {
			w.produceWithReceipts(ctx, user, chance)
		} else {
			w.running.Go(func() { w.producePlainly(ctx, user, chance) })
		}
	}
	return w
}

// hush lets producers send no more.
func (w *workload) hush() {
	select {
	case <-w.quiet:
	default:
		close(w.quiet)
	}
}

// end lets everybody go, and waits for it.
func (w *workload) end() {
	w.hush()
	w.stop()
	w.mu.Lock()
	clients := w.clients
	w.clients = nil
	w.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	w.running.Wait()
}

// dial starts a Go client, which comes back by itself.
func (w *workload) dial(ctx context.Context, o client.Options) *client.Client {
	w.t.Helper()
	o.URL, o.AppID = "ws://"+w.where.door(string(o.UserID))+"/ws", "app-id-343"
	o.Backoff = client.Backoff{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	o.KeepAlive, o.ConnectTimeout, o.WriteTimeout = time.Second, briefly, briefly
	o.Seen = 1 << 20
	within, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	c, err := client.Dial(within, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients = append(w.clients, c)
	return c
}

func (w *workload) consumeWithAck(ctx context.Context, r *receiverLog) {
	w.t.Helper()
	session := w.session(r)
	w.dial(ctx, client.Options{UserID: wire.UserID(r.User), Ack: true, Push: true, OnMessage: func(_ context.Context, m client.Message) error {
		w.delivered(r, session, string(m.From), m.Content)
		return nil
	}})
}

// awayAtMost is how long a visitor stays away, or stays.
const awayAtMost = 1500 * time.Millisecond

// stays is how long a consumer stays that is no visitor.
func stays() time.Duration { return 0 }

// consume is a plain client that comes again and again. A visitor stays for as
// long as span says and is away for as long, so that something waits for it at
// any time, until producers send no more.
func (w *workload) consume(ctx context.Context, r *receiverLog, span func() time.Duration) {
	options := ""
	if r.Kind == "push" {
		options = `{"push":true}`
	}
	for ctx.Err() == nil {
		p := w.connect(ctx, r.User, options)
		if p == nil {
			continue
		}
		stay := span()
		if stay == 0 || isClosed(w.quiet) {
			stay = time.Hour // or until the connection ends
		}
		visit, leave := context.WithTimeout(ctx, stay)
		w.listen(visit, p, r)
		leave()
		select {
		case <-time.After(span()):
		case <-w.quiet:
		}
	}
}

// listen writes down what a session of a plain consumer gets.
func (w *workload) listen(ctx context.Context, p *Peer, r *receiverLog) {
	session := w.session(r)
	w.hear(ctx, p, r.Kind == "fetch", func(f Frame) {
		var data struct {
			From    string          `json:"from"`
			Content json.RawMessage `json:"content"`
		}
		if f.Type == "MESSAGE" && json.Unmarshal(f.Data, &data) == nil {
			w.delivered(r, session, data.From, data.Content)
		}
	})
}

// connect returns a plain client that is signed in, or nil when that did not
// work this time.
func (w *workload) connect(ctx context.Context, user, options string) *Peer {
	within, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	p, err := TryDial(within, w.t, &Server{t: w.t, Addr: w.where.door(user)})
	if err != nil {
		select {
		case <-time.After(10 * time.Millisecond): // the server may be gone for long
		case <-ctx.Done():
		}
		return nil
	}
	late := time.AfterFunc(briefly, p.cancel)
	defer late.Stop()
	if p.TrySignIn("app-id-343", user, options) != nil {
		p.Abort()
		return nil
	}
	return p
}

// hear hands over all frames of a connection, until it ends. With fetch it asks
// for what was missed, until nothing is left.
func (w *workload) hear(ctx context.Context, p *Peer, fetch bool, each func(Frame)) {
	leave := context.AfterFunc(ctx, p.cancel)
	defer leave()
	defer p.Abort()
	for {
		if fetch {
			fetch = false
			_ = p.TrySend(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":500}}`) // if it fails, what was read is still to be taken
		}
		f, err := p.TryNext()
		switch {
		case err == nil && f.Type == "FETCH_MISSING_MESSAGES_COMPLETE":
			fetch = f.Field("leftMissingCount") != "0"
		case err == nil:
			each(f)
		case !isClosed(p.closed): // nothing came for very long
		default:
			return
		}
	}
}

// next draws the next message of a producer.
func (w *workload) next(chance *rand.Rand) posting {
	s := posting{To: []string{w.users[chance.IntN(len(w.users))]}, Fast: chance.IntN(8) == 0, Size: chance.IntN(w.sizes[chance.IntN(len(w.sizes))])}
	if !s.Fast && chance.IntN(10) == 0 {
		s.To = w.users
	}
	return s
}

// rest waits before the next message, now and then or if it must. It is false
// when there is to be none.
func (w *workload) rest(chance *rand.Rand, must bool) bool {
	if !must && chance.IntN(4) > 0 && !isClosed(w.quiet) {
		return true
	}
	select {
	case <-time.After(w.pace):
		return !isClosed(w.quiet)
	case <-w.quiet:
		return false
	}
}

// produceWithReceipts is a Go client that sends as long as it is connected.
func (w *workload) produceWithReceipts(ctx context.Context, user string, chance *rand.Rand) {
	w.t.Helper()
	var link, waiting atomic.Int64 // link is 0 while nobody can tell which it is
	links := int64(0)
	c := w.dial(ctx, client.Options{
		UserID: wire.UserID(user), Receipts: true, Push: true,
		OnMessage:      func(context.Context, client.Message) error { return errors.New("nobody writes to a producer") },
		OnStored:       func(r string) { waiting.Add(-1); w.heard(user, r, func(s *posting) { s.Stored = true }) },
		OnConfirmation: func(r string) { w.heard(user, r, func(s *posting) { s.Confirmed = true }) },
		OnError: func(e *wire.Error, r string) {
			waiting.Add(-1)
			var to []string
			for _, user := range e.To {
				to = append(to, string(user))
			}
			w.heard(user, r, func(s *posting) { s.refuse(e.Code, e.MayYetArrive, to) })
		},
		OnState: func(s client.State, _ error) {
			link.Store(0) // the client sends on the next one before it tells of it
			if s == client.Connected {
				links++
				waiting.Store(0)
				link.Store(links)
			}
		},
	})
	w.running.Go(func() {
		failed := false
		for w.rest(chance, failed || waiting.Load() >= unanswered) {
			if failed = false; waiting.Load() >= unanswered {
				continue // until there are receipts, or another connection
			}
			s := w.next(chance)
			s.Link = int(link.Load())
			n := w.sending(user, s)
			if !s.Fast {
				waiting.Add(1)
			}
			failed = w.post(ctx, c, user, n, s) != nil
			if failed || int(link.Load()) != s.Link {
				w.heard(user, fmt.Sprint(n), func(s *posting) { s.Link = 0 })
			}
		}
	})
}

// post sends a message by a Go client.
func (w *workload) post(ctx context.Context, c *client.Client, user string, n int, s posting) error {
	ctx, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	content, options := json.RawMessage(valueContent(user, n, s.Size)), []client.SendOption{client.WithReference(fmt.Sprint(n))}
	if s.Fast {
		options = append(options, client.Fast())
	}
	if len(s.To) == 1 {
		return c.Send(ctx, wire.UserID(s.To[0]), content, options...)
	}
	var to []wire.UserID
	for _, user := range s.To {
		to = append(to, wire.UserID(user))
	}
	return c.SendGroup(ctx, to, content, options...)
}

// producePlainly is a plain client that sends, and hears of confirmations only.
func (w *workload) producePlainly(ctx context.Context, user string, chance *rand.Rand) {
	for link := 1; !isClosed(w.quiet); {
		p := w.connect(ctx, user, "")
		if p == nil {
			continue
		}
		var hearing sync.WaitGroup
		hearing.Go(func() { w.hear(ctx, p, true, func(f Frame) { w.reply(user, f) }) })
		for w.rest(chance, false) && !isClosed(p.closed) {
			s := w.next(chance)
			s.Link = link
			n := w.sending(user, s)
			if p.TrySend(messageFrame(user, n, s)) != nil {
				break
			}
		}
		if isClosed(w.quiet) { // confirmations are still to come
			select {
			case <-p.closed:
			case <-ctx.Done():
			}
		}
		p.Abort()
		hearing.Wait()
		link++
	}
	for ctx.Err() == nil { // and to be fetched
		if p := w.connect(ctx, user, ""); p != nil {
			w.hear(ctx, p, true, func(f Frame) { w.reply(user, f) })
		}
	}
}

// reply notes what a plain producer hears of its messages.
func (w *workload) reply(user string, f Frame) {
	switch f.Type {
	case "MESSAGE_CONFIRMATION":
		w.heard(user, f.Field("reference"), func(s *posting) { s.Confirmed = true })
	case "DELIVER_FAILED":
		var data struct{ To json.RawMessage }
		var to []string
		_ = json.Unmarshal(f.Data, &data) // what is none of that names nobody
		_ = json.Unmarshal(data.To, &to)  // as one name does, which is no group
		w.heard(user, strings.Trim(string(f.Reference), `"`), func(s *posting) {
			s.refuse(f.Field("code"), f.Field("mayYetArrive") == "true", to)
		})
	}
}

func messageFrame(user string, n int, s posting) string {
	feature := "RELIABLE"
	if s.Fast {
		feature = "FAST"
	}
	kind, to := "MESSAGE", fmt.Sprintf("%q", s.To[0])
	if len(s.To) > 1 {
		kind, to = "GROUP_MESSAGE", `["`+strings.Join(s.To, `","`)+`"]`
	}
	return fmt.Sprintf(`{"type":%q,"data":{"to":%s,"content":%s},"feature":%q,"reference":"%d"}`, kind, to, valueContent(user, n, s.Size), feature, n)
}

// awaitAccepted waits until n more messages are accepted.
func (w *workload) awaitAccepted(n int) {
	w.t.Helper()
	goal := w.acceptedSoFar() + n
	Eventually(w.t, fmt.Sprintf("%d messages are accepted", goal), func() bool { return w.acceptedSoFar() >= goal })
}

// drain waits until nothing is in the mailboxes, and lets everybody go.
func (w *workload) drain(s *Server) {
	w.t.Helper()
	awaitWaiting(w.t, s, 0)
	w.end()
}
