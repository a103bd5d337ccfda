package spool

import (
	"cmp"
	"container/list"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// heldPart is what an upload left that broke off, and may go on.
type heldPart struct {
	id    keyID
	size  int64
	since time.Time // when it broke off
	state []byte    // of the digest up to there; nil if that has to be read
}

// heldParts are those of a ground. A part that is being written is none of them. The
// Store's mu guards them.
type heldParts struct {
	byID  map[keyID]*list.Element // of *heldPart
	order *list.List              // the oldest first
	bytes int64                   // that the disk has free without them
}

// blockSize is what most file systems give a file at least: a part of one byte takes,
// and leaves, so much.
const blockSize = 4 << 10

func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

// listHeld lists what lies in a folder of parts. What no upload can go on with is
// removed.
func listHeld(parts *folder) (*heldParts, error) {
	var found []*heldPart
	err := parts.each(func(name string) error {
		id, keyed := partID(name)
		if !keyed {
			return parts.remove(name)
		}
		st, err := parts.stat(name)
		if err != nil || !regular(&st) {
			return err
		}
		found = append(found, &heldPart{id: id, size: st.Size, since: time.Unix(st.Mtim.Unix())})
		return nil
	})
	slices.SortFunc(found, func(a, b *heldPart) int { return cmp.Compare(a.since.UnixNano(), b.since.UnixNano()) })
	h := &heldParts{byID: map[keyID]*list.Element{}, order: list.New()}
	for _, p := range found {
		h.add(p)
	}
	return h, err
}

func (h *heldParts) add(p *heldPart) {
	h.take(p.id)
	h.byID[p.id] = h.order.PushBack(p)
	h.bytes += blocks(p.size)
}

func (h *heldParts) has(id keyID) bool { return h.byID[id] != nil }

// take takes a part out, and returns nil if there is none.
func (h *heldParts) take(id keyID) *heldPart {
	e := h.byID[id]
	if e == nil {
		return nil
	}
	p := h.order.Remove(e).(*heldPart)
	delete(h.byID, id)
	h.bytes -= blocks(p.size)
	return p
}

// before returns those that broke off before a time.
func (h *heldParts) before(at time.Time) (ids []keyID) {
	for e := h.order.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*heldPart); p.since.Before(at) {
			ids = append(ids, p.id)
		}
	}
	return ids
}

// giveWay removes held parts, the oldest first, until there are so many bytes and
// files more, and says how many went.
func (s *Store) giveWay(g *ground, bytes, files int64) (gone int) {
	var ids []keyID
	s.mu.Lock()
	for e := g.held.order.Front(); e != nil && (bytes > 0 || files > 0); e = e.Next() {
		if p := e.Value.(*heldPart); s.active[p.id] == nil {
			ids = append(ids, p.id)
			bytes -= blocks(p.size)
			files--
		}
	}
	s.mu.Unlock()
	for _, id := range ids {
		if s.removeHeld(g, id) {
			gone++
		}
	}
	return gone
}

// removeHeld removes a part that nobody writes, or finishes it if that was promised,
// and says whether it is held no more.
func (s *Store) removeHeld(g *ground, id keyID) bool {
	err := s.finish(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := g.held.take(id)
	if p == nil || s.ground != g {
		return p == nil
	}
	if err == nil && s.active[id] == nil {
		// mu is held, so that nobody goes on with it meanwhile.
		if err = g.parts.remove(id.partName()); err == nil || errors.Is(err, fs.ErrNotExist) {
			g.disk.bytes += blocks(p.size)
			g.disk.files++
			return true
		}
	}
	g.held.add(p) // others go first
	return false
}
