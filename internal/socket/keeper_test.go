package socket

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// memoryLog is a keeper's log that keeps its batches in memory.
type memoryLog struct {
	mu      sync.Mutex
	batches [][]byte
	first   uint64
}

func (l *memoryLog) Append(_ context.Context, last uint64, batch []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last != uint64(len(l.batches)) {
		return 0, mailbox.ErrFenced
	}
	l.batches = append(l.batches, append([]byte(nil), batch...))
	return last + 1, nil
}

func (l *memoryLog) Read(_ context.Context, seq uint64) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.first || seq > uint64(len(l.batches)) {
		return nil, mailbox.ErrGone
	}
	return l.batches[seq-1], nil
}

func (l *memoryLog) Bounds(context.Context) (first, last, bytes uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, uint64(len(l.batches)), 0, nil
}

func (l *memoryLog) Replay(context.Context, uint64, uint64, func(uint64, []byte) error) error {
	return fmt.Errorf("an empty log is not replayed")
}

func (l *memoryLog) Purge(_ context.Context, below uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = max(l.first, below)
	return nil
}

// accept is how the hub reaches the keeper.
type accept struct{ *mailbox.Keeper }

func (a accept) Accept(s *delivery.Send, frame []byte) {
	a.Keeper.Accept(&mailbox.Message{
		From: s.From, To: s.To, Group: s.Group, Frame: frame, Reference: s.Reference,
		Confirm: s.Confirm, Receipt: s.Receipt, TTL: s.TTL, Origin: s.Origin, Done: s.Done,
	})
}

func (a accept) AcceptAll(list []*delivery.Send, frames [][]byte, _ *delivery.Once) {
	for i, s := range list {
		a.Accept(s, frames[i])
	}
}

func (a accept) Confirm(wire.UserID, wire.UserID, []byte) {}

// realRig has the real keeper and the real clock.
func realRig(t *testing.T) *rig {
	t.Helper()
	k, err := mailbox.Open(t.Context(), mailbox.Options{
		Log: &memoryLog{first: 1}, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		Limits: mailbox.Limits{Age: time.Hour, Messages: 10_000, Bytes: 64 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = k.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return newRig(t, func(o *Options) {
		o.Keeper = k
		o.Hub = delivery.New(delivery.Options{Keeper: accept{k}, Access: access{}, Sessions: func() int { return 1000 }})
		o.Now, o.Ticks = time.Now, nil
	})
}

// received is what a client has had of one sender, over all its connections.
type received struct {
	seen  map[string]bool // IDs
	order []int
}

// listen signs in, handles count messages and then cuts the connection.
func (got *received) listen(r *rig, count int) {
	p := r.dial()
	defer p.conn.Close()
	p.send(auth("ANZ-8", `{"ack":true,"push":true}`))
	for handled := 0; handled < count; {
		first, payload, err := p.read()
		if err != nil {
			r.t.Fatal(err)
		}
		if first == finPing {
			p.pong(string(payload))
			continue
		}
		f, ferr := wire.ParseServerFrame(payload)
		if ferr != nil {
			r.t.Fatal(ferr)
		}
		if f.Type != wire.TypeMessage {
			continue
		}
		handled++
		if id := f.ID.String(); !got.seen[id] {
			got.seen[id] = true
			var data struct{ Content int }
			if err := json.Unmarshal(f.Data, &data); err != nil {
				r.t.Fatal(err)
			}
			got.order = append(got.order, data.Content)
		}
		p.send(`{"type":"MESSAGE_ACK","data":{"id":"` + f.ID.String() + `"}}`)
	}
}

// A receiver that is cut off again and again, in the middle of whatever it is
// doing, has everything once and in order when it drops the IDs that it knows.
func TestNothingIsLostOrReorderedWhenSessionsDie(t *testing.T) {
	const total = 2000
	r := realRig(t)
	sender := r.dial()
	sender.signIn("ANZ-7", "")
	var done sync.WaitGroup
	done.Go(func() {
		for i := range total {
			b := frame(finText, fmt.Appendf(nil, `{"type":"MESSAGE","data":{"to":"ANZ-8","content":%d},"confirmationEnabled":false}`, i))
			if _, err := sender.conn.Write(b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	random := mathrand.New(mathrand.NewPCG(1, 2))
	got := &received{seen: make(map[string]bool)}
	for len(got.order) < total {
		left := total - len(got.order)
		got.listen(r, min(left, 1+random.IntN(150)))
	}
	done.Wait()
	for i, n := range got.order {
		if n != i {
			t.Fatalf("message %d came as number %d", n, i)
		}
	}
}

// A plain client gets its mail by fetching, and a confirmation comes when the
// pong has come.
func TestPlainClientsThroughTheRealKeeper(t *testing.T) {
	r := realRig(t)
	sender := r.dial()
	sender.signIn("ANZ-7", "")
	for i := range 3 {
		sender.send(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-8","content":%d},"reference":"r%d"}`, i, i))
	}
	sender.send(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":"mine"},"confirmationEnabled":false}`)
	sender.text(`{"type":"MESSAGE","data":{"from":"ANZ-7","content":"mine"}}`) // so the others are stored
	sender.pong(sender.next(finPing))

	receiver := r.dial()
	receiver.signIn("ANZ-8", "")
	receiver.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":2}}`)
	texts, ping := 0, "" // the ping that came after both messages
	for texts < 3 || ping == "" {
		first, payload, err := receiver.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == finPing {
			if texts >= 2 {
				ping = string(payload)
			}
			continue
		}
		want := []string{
			`{"type":"MESSAGE","data":{"from":"ANZ-7","content":0},"reference":"r0"}`,
			`{"type":"MESSAGE","data":{"from":"ANZ-7","content":1},"reference":"r1"}`,
			`{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":1}}`,
		}[texts]
		if string(payload) != want {
			t.Errorf("got %s, not %s", payload, want)
		}
		texts++
	}
	sender.settledDown() // nothing is confirmed before the pong
	receiver.pong(ping)
	for i := range 2 {
		for first := byte(finPing); first == finPing; {
			var payload []byte
			var err error
			if first, payload, err = sender.read(); err != nil {
				t.Fatal(err)
			}
			if want := `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r` + strconv.Itoa(i) + `"}}`; first != finPing && string(payload) != want {
				t.Errorf("got %s, not %s", payload, want)
			}
		}
	}
}

// Everything at once: clients that come, talk, and go without a word.
func TestManyClientsThatComeAndGo(t *testing.T) {
	r := realRig(t)
	var done sync.WaitGroup
	for c := range 8 {
		done.Go(func() {
			random := mathrand.New(mathrand.NewPCG(uint64(c), 7))
			for range 15 {
				conn, err := net.Dial("tcp", r.addr)
				if err != nil {
					t.Error(err)
					return
				}
				prattle(conn, c, random)
				conn.Close()
			}
		})
	}
	done.Wait()
	r.stop()
	if n := r.counter("queued_bytes"); n != 0 {
		t.Errorf("%v bytes wait though there is no session", n)
	}
	if r.counter("connections") != 0 || r.counter("sessions") != 0 || r.counter("panics_total") != 0 {
		t.Error("something is left, or went wrong")
	}
}

// prattle says a number of things, reads a little, and stops anywhere.
func prattle(conn net.Conn, c int, random *mathrand.Rand) {
	user := "ANZ-" + strconv.Itoa(c%3+1)
	b := []byte("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	b = append(b, frame(finText, []byte(auth(user, `{"push":true,"receipts":true,"presence":["ANZ-1","ANZ-2"]}`)))...)
	for i := range random.IntN(100) {
		feature := []string{"FAST", "RELIABLE"}[random.IntN(2)]
		to := random.IntN(3) + 1
		b = append(b, frame(finText, fmt.Appendf(nil, `{"type":"MESSAGE","data":{"to":"ANZ-%d","content":%d},"feature":%q,"reference":"x"}`, to, i, feature))...)
		b = append(b, frame(finPong, []byte(strconv.Itoa(i)))...)
	}
	switch random.IntN(4) {
	case 0:
		b = append(b, frame(0x82, nil)...)
	case 1:
		b = append(b, frame(finClose, nil)...)
	case 2:
		b = append(b, frame(finText, []byte(`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-2"}}`))...)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(b); err != nil {
		return // the server may have closed it
	}
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	scrap := make([]byte, 1000)
	for range random.IntN(20) {
		if _, err := conn.Read(scrap); err != nil {
			return
		}
		if random.IntN(10) == 0 {
			return
		}
	}
}
