package shards

import "github.com/seed-3d8c1042/switchboard/internal/mailbox"

// maxFetches is how many fetches of one session may wait.
const maxFetches = 8

// held is a session of this node whose keeper is elsewhere, and what it was
// given.
type held struct{ mailbox.Held }

// note takes a call of the session in. It returns false for a fetch too many.
func (h *held) note(p op) bool {
	switch p.kind {
	case kindProve:
		h.ProvedTo = max(h.ProvedTo, p.n)
		h.PassedTo = max(h.PassedTo, h.ProvedTo)
	case kindPass:
		h.PassedTo = max(h.PassedTo, p.n)
	case kindProveEach:
		for i := range h.Given {
			if h.Given[i].N == p.n {
				h.Given[i].Proved = true
			}
		}
	case kindFetch:
		if len(h.Fetches) >= maxFetches {
			return false
		}
		h.Fetches = append(h.Fetches, int(p.n))
	}
	return true
}

// open takes in that the keeper knows the session.
func (h *held) open(mark uint64) {
	h.Mark = mark
	if h.NextN == 0 {
		h.NextN = 1
		if !h.Push {
			h.Cursor = mark
		}
	}
	h.Outlet.Opened(mark)
}

// deliver takes a delivery in.
func (h *held) deliver(d mailbox.Delivery) {
	h.NextN = d.N + 1
	h.Given = append(h.Given, mailbox.Given{N: d.N, Ord: d.Ord, Size: uint32(len(d.Frame)), Fetched: d.Fetched})
	switch {
	case !d.Fetched:
		h.Cursor = max(h.Cursor, d.Ord+1)
	case len(h.Fetches) > 0 && h.Fetches[0] > 0:
		h.Fetches[0]--
	}
	h.Outlet.Deliver(d)
}

// fetchDone ends the current fetch.
func (h *held) fetchDone(left int) {
	if len(h.Fetches) > 0 {
		h.Fetches = h.Fetches[1:]
	}
	if len(h.Fetches) == 0 {
		h.Fetches = nil
	}
	h.Outlet.FetchDone(left)
}

// settle forgets deliveries whose proof is in the log.
func (h *held) settle(n uint64) {
	i := 0
	for i < len(h.Given) && h.Given[i].N <= n {
		i++
	}
	if h.Given = h.Given[i:]; len(h.Given) == 0 {
		h.Given = nil
	}
	h.Outlet.Settled(n)
}
