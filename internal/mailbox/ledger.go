package mailbox

import (
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Ledger is what a connector keeps of a session so that it can be registered
// anew: it is told all that passes between the session and its keeper, in order.
// It is used by one goroutine at a time.
type Ledger struct {
	held     Held
	byItself bool // something came without being asked for
}

// NewLedger begins with a session that the keeper is asked to open.
func NewLedger(s Session) *Ledger { return &Ledger{held: Held{Session: s}} }

// ResumeLedger goes on with a session that a keeper of this node had.
func ResumeLedger(h Held) *Ledger { return &Ledger{held: h, byItself: h.Cursor != h.Mark} }

// Fetching returns how many fetches wait.
func (l *Ledger) Fetching() int { return len(l.held.Fetches) }

// ID returns the session's.
func (l *Ledger) ID() wire.ID { return l.held.ID }

// Opened is Outlet.Opened.
func (l *Ledger) Opened(mark uint64) {
	h := &l.held
	h.NextN = max(h.NextN, 1)
	h.Mark = mark
	if !l.byItself && !h.Push {
		h.Cursor = mark
	}
}

// Deliver is Outlet.Deliver. It returns false for what came before.
func (l *Ledger) Deliver(d Delivery) bool {
	h := &l.held
	if d.N < h.NextN {
		return false
	}
	h.NextN = d.N + 1
	h.Given = append(h.Given, Given{N: d.N, Ord: d.Ord, Size: uint32(len(d.Frame)), Fetched: d.Fetched})
	switch {
	case !d.Fetched:
		h.Cursor, l.byItself = max(h.Cursor, d.Ord+1), true
	case len(h.Fetches) > 0:
		h.Fetches[0]--
	}
	return true
}

// FetchDone is Outlet.FetchDone.
func (l *Ledger) FetchDone() {
	if len(l.held.Fetches) > 0 {
		l.held.Fetches = l.held.Fetches[1:]
	}
}

// Settled is Outlet.Settled.
func (l *Ledger) Settled(n uint64) {
	h := &l.held
	if h.Each {
		h.Given = slices.DeleteFunc(h.Given, func(g Given) bool { return g.N == n && g.Proved })
		return
	}
	i := 0
	for i < len(h.Given) && h.Given[i].N <= n {
		i++
	}
	h.Given = slices.Delete(h.Given, 0, i)
}

// Fetch is Keeper.Fetch.
func (l *Ledger) Fetch(count int) { l.held.Fetches = append(l.held.Fetches, count) }

// Prove is Keeper.Prove.
func (l *Ledger) Prove(n uint64) { l.held.ProvedTo = max(l.held.ProvedTo, min(n, l.last())) }

// Pass is Keeper.Pass.
func (l *Ledger) Pass(n uint64) { l.held.PassedTo = max(l.held.PassedTo, min(n, l.last())) }

// ProveEach is Keeper.ProveEach.
func (l *Ledger) ProveEach(n uint64) {
	i, there := slices.BinarySearchFunc(l.held.Given, n, func(g Given, n uint64) int { return int(int64(g.N) - int64(n)) })
	if there {
		l.held.Given[i].Proved = true
	}
}

// last is the number of the last delivery.
func (l *Ledger) last() uint64 { return max(l.held.NextN, 1) - 1 }

// Held returns what the next keeper needs; it shares nothing with the ledger.
func (l *Ledger) Held() Held {
	h := l.held
	h.Given, h.Fetches = slices.Clone(h.Given), slices.Clone(h.Fetches)
	return h
}
