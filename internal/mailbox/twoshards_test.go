package mailbox

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Two shards, each with a log and a keeper that is killed now and then, and what
// each has to tell the other's users on its way between them. In the end every
// message that was proved is confirmed to its sender, once, and in order.
// All of it happens in one goroutine, as TestHistories says.
func TestConfirmationsCrossShardsOnce(t *testing.T) {
	setFlag(t, "rapid.checks", map[bool]string{true: "200", false: "1500"}[testing.Short() || raceEnabled], "100")
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{T: t, confirmed: make(map[string]wire.ID)}
		for i := range p.half {
			p.half[i] = &half{pair: p, shard: i, stored: make(map[wire.ID]uint64)}
			p.half[i].start()
		}
		t.Repeat(map[string]func(*rapid.T){"": func(*rapid.T) {}, "step": p.step})
		p.settle()
		p.check()
	})
}

type pair struct {
	*rapid.T
	half      [2]*half
	random    counting
	serial    int
	confirmed map[string]wire.ID // what senders heard, by reference
	heard     []string           // in order
}

// half is one shard.
type half struct {
	*pair
	shard    int
	core     *core
	log      simLog
	inFlight []byte
	life     int                 // how often its keeper was started
	ends     map[wire.ID]*ending // its open sessions
	relay    *ending
	busy     bool               // a call of Forward is under way to the other one
	stored   map[wire.ID]uint64 // under which place each message stands
}

// ending is a session's outlet, which keeps what it got.
type ending struct {
	Session
	half *half
	got  []Delivery
	n    uint64 // proved
}

func (*ending) Opened(uint64)  {}
func (*ending) FetchDone(int)  {}
func (*ending) Settled(uint64) {}
func (e *ending) Deliver(d Delivery) {
	d.Frame = bytes.Clone(d.Frame)
	if d.N != uint64(len(e.got))+1 {
		e.half.Fatalf("delivery %d follows %d", d.N, len(e.got))
	}
	e.got = append(e.got, d)
}

func pairShard(user wire.UserID) int { return int(user[len(user)-1]-'0') % 2 }

func pairUser(n int) wire.UserID { return wire.UserID(fmt.Sprintf("ANZ-%d", n)) }

// start reads the log and opens a session for each user, and for the relay.
func (h *half) start() {
	h.life++
	h.busy, h.inFlight = false, nil
	h.ends, h.relay = make(map[wire.ID]*ending), nil
	if h.log.first == 0 {
		h.log.first = 1
	}
	id, _ := wire.NewID(time.Unix(1_700_000_000, 0), &h.random)
	tune := defaultTuning()
	tune.batch, tune.slack, tune.trimStep = 1000, 0, 1
	c := newCore(id, Limits{Age: time.Hour, Messages: 1000, Bytes: 1 << 20}, &h.random, tune)
	c.shard, c.shardOf = h.shard, pairShard
	last, ord := h.log.last(), uint64(1)
	if h.log.first <= last {
		trim, next, err := openBatch(h.log.read(last))
		if err != nil {
			h.Fatalf("%v", err)
		}
		ord = next
		for seq := trim; seq <= last; seq++ {
			if err := c.replay(seq, h.log.read(seq)); err != nil {
				h.Fatalf("%v", err)
			}
		}
	}
	c.takeOver(last, ord)
	h.core = c
	h.do(func(now time.Time) { c.closeStale(now) })
	for n := range 4 {
		if pairShard(pairUser(n)) == h.shard {
			h.open(pairUser(n))
		}
	}
	h.relay = h.open(Relay(1 - h.shard))
}

func (h *half) open(user wire.UserID) *ending {
	id, _ := wire.NewID(time.Unix(1_700_000_000, 0), &h.random)
	e := &ending{Session: Session{ID: id, User: user, Push: true}, half: h}
	e.Outlet = e
	h.ends[id] = e
	h.do(func(now time.Time) { h.core.open(now, e.Session) })
	return e
}

// do lets one event happen to the core and carries its effects out.
func (h *half) do(event func(now time.Time)) {
	event(time.Unix(1_700_000_000, 0))
	effects := slices.Clone(h.core.effects)
	h.core.effects = h.core.effects[:0]
	for _, e := range effects {
		switch e.kind {
		case effDeliver:
			e.outlet.Deliver(e.delivery)
		case effForwarded:
			e.forwarded.done(e.forwarded.upTo, e.forwarded.err)
		}
	}
	if below := h.core.purge; below > 0 {
		h.log.first, h.core.purge = below, 0
	}
	for len(h.core.reads) > 0 {
		seq := h.core.reads[0]
		h.core.reads = h.core.reads[1:]
		h.do(func(now time.Time) { h.core.loaded(now, seq, h.log.read(seq)) })
	}
}

func (h *half) store() {
	if h.inFlight == nil {
		if _, h.inFlight = h.core.journal.next(); h.inFlight == nil {
			return
		}
	}
	batch := h.inFlight
	h.inFlight = nil
	h.keep(batch)
	h.do(func(now time.Time) { h.core.stored(now, h.log.last()) })
}

// keep appends a batch to the log: no message may stand there at two places.
func (h *half) keep(batch []byte) {
	h.log.batches = append(h.log.batches, batch)
	_ = eachRecord(batch, func(kind recordKind, _ int, body []byte) error {
		if kind == recMessage {
			m, _ := parseMessage(body, [][]byte{})
			if ord, there := h.stored[m.id]; there && ord != m.ord {
				h.Fatalf("%s stands at %d and at %d", m.frame, ord, m.ord)
			}
			h.stored[m.id] = m.ord
		}
		return nil
	})
}

// crash kills the keeper; the batch in flight may have been stored.
func (h *half) crash(stored bool) {
	if h.inFlight == nil {
		_, h.inFlight = h.core.journal.next()
	}
	if h.inFlight != nil && stored {
		h.keep(h.inFlight)
	}
	h.start()
}

// forward has what the relay got taken by the other shard, unless a call is under
// way.
func (h *half) forward(most int) {
	list := h.relay.got[h.relay.n:]
	if h.busy || len(list) == 0 {
		return
	}
	var out []Forwarded
	for _, d := range list[:min(most, len(list))] {
		f, err := ParseForwarded(d)
		if err != nil || pairShard(f.To) == h.shard {
			h.Fatalf("forwards %+v: %v", f, err)
		}
		out = append(out, f)
	}
	life, upTo := h.life, list[len(out)-1].N
	h.busy = true
	other := h.half2()
	other.do(func(now time.Time) {
		other.core.forward(now, &forwarding{fmt.Sprint("shard ", h.shard), out, func(_ uint64, err error) {
			if h.life != life {
				return
			}
			if h.busy = false; err == nil {
				h.relay.n = upTo
				h.do(func(now time.Time) { h.core.proof(now, h.relay.ID, upTo) })
			}
		}})
	})
}

func (h *half) half2() *half { return h.half[1-h.shard] }

// prove has a session prove what it got.
func (h *half) prove(e *ending) {
	for _, d := range e.got[e.n:] {
		h.hear(e, d)
	}
	e.n = uint64(len(e.got))
	h.do(func(now time.Time) { h.core.proof(now, e.ID, e.n) })
}

// hear notes a confirmation.
func (p *pair) hear(e *ending, d Delivery) {
	_, reference, ok := strings.Cut(string(d.Frame), `"MESSAGE_CONFIRMATION","data":{"reference":`)
	if !ok {
		return
	}
	if id, known := p.confirmed[reference]; known && id != d.ID {
		p.Fatalf("%s hears of %s under two IDs", e.User, reference)
	} else if !known {
		p.heard = append(p.heard, reference)
	}
	p.confirmed[reference] = d.ID
}

func (p *pair) step(t *rapid.T) {
	h := p.half[rapid.IntRange(0, 1).Draw(t, "shard")]
	switch rapid.IntRange(0, 9).Draw(t, "deed") {
	case 0, 1, 2:
		p.send(rapid.IntRange(0, 3).Draw(t, "from"), rapid.IntRange(0, 3).Draw(t, "to"))
	case 3, 4:
		h.store()
	case 5, 6:
		var list []*ending
		for _, e := range h.ends {
			if e != h.relay && e.n < uint64(len(e.got)) {
				list = append(list, e)
			}
		}
		slices.SortFunc(list, func(a, b *ending) int { return compareIDs(a.ID, b.ID) })
		if len(list) > 0 {
			h.prove(list[rapid.IntRange(0, len(list)-1).Draw(t, "session")])
		}
	case 7, 8:
		h.forward(rapid.IntRange(1, 5).Draw(t, "most"))
	case 9:
		h.crash(rapid.Bool().Draw(t, "stored"))
		if other := h.half2(); other.busy { // what it was asked to take is unknown: the link says so
			other.busy = false
		}
	}
}

func (p *pair) send(from, to int) {
	p.serial++
	m := &Message{
		From: pairUser(from), To: []wire.UserID{pairUser(to)}, Confirm: true,
		Reference: fmt.Appendf(nil, `"%d %d %d"`, from, to, p.serial), Frame: fmt.Appendf(nil, `{"type":"MESSAGE","data":{"from":"ANZ-%d","content":%d}}`, from, p.serial),
	}
	h := p.half[pairShard(m.To[0])]
	h.do(func(now time.Time) { h.core.accept(now, m) })
}

// settle brings all to rest.
func (p *pair) settle() {
	for range 300 {
		for _, h := range p.half {
			for h.inFlight != nil || !h.core.journal.idle() {
				h.store()
			}
			for _, e := range h.ends {
				if e != h.relay && e.n < uint64(len(e.got)) {
					h.prove(e)
				}
			}
			h.forward(3)
		}
	}
}

// check counts the confirmations: of each message that was stored, which all are
// proved now, its sender has heard once, and of those to one receiver in order.
func (p *pair) check() {
	stored := make(map[string]bool)
	for _, h := range p.half {
		for user, u := range h.core.users {
			if u.waiting > 0 {
				p.Fatalf("%d messages wait for %s", u.waiting, user)
			}
		}
		for _, batch := range h.log.batches {
			_ = eachRecord(batch, func(kind recordKind, _ int, body []byte) error {
				if m, err := parseMessage(body, [][]byte{}); kind == recMessage && err == nil && m.flags&flagConfirm != 0 {
					stored[string(m.reference)] = true
				}
				return nil
			})
		}
	}
	last, reordered := make(map[string]int), 0
	for _, reference := range p.heard {
		var from, to string
		var n int
		_, _ = fmt.Sscanf(reference, `"%s %s %d`, &from, &to, &n)
		if n < last[from+to] {
			reordered++
		}
		last[from+to] = n
	}
	if lost := len(stored) - len(p.confirmed); lost != 0 || reordered > 0 {
		p.Fatalf("%d messages were stored, %d confirmed: lost %d, reordered %d", len(stored), len(p.confirmed), lost, reordered)
	}
}
