package nearby

import (
	"encoding/binary"
	"slices"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
)

// A node says to a keeper which cells its watchers look at, in a conversation that has
// a number, and begins anew with all of them whenever it broke. From then on the keeper
// tells it, in order, who is in those cells, and what changes there.
const (
	cmdWant byte = 1 // app, cell
	cmdDrop byte = 2 // app, cell
)

// What a keeper answers, in one byte.
const (
	answerTaken byte = 0
	answerAgain byte = 1 // nothing was taken: the conversation has to begin anew
	answerLater byte = 2 // nothing was taken, for there is much to take up: say it later
)

// The kinds of messages between nodes, the first byte of each.
const sayCells byte = 1 // shard, number of the conversation, pieces

// The pieces of a message: all that has happened, in its order.
const (
	pieceCell    byte = 0 // app, cell: what follows is of that
	pieceFresh   byte = 1 // whoever was there is not, but for those who follow
	pieceAt      byte = 2 // user, fact: he is there
	pieceGone    byte = 3 // user
	pieceNumbers byte = 4 // from now on only numbers follow, of the cell's parts: none yet
	pieceCount   byte = 5 // part, how many are in it
)

const (
	// finer is by how many levels the parts of a cell are finer.
	finer = 3
	// countEvery is how often numbers are told, in milliseconds.
	countEvery = 1000
	// maxTell is from how many bytes on a message for a node is full.
	maxTell = 256 << 10
)

// listener is a node that wants cells.
type listener struct {
	node  string
	epoch uint64
	asked []command // what it has said of cells that is not taken up yet, of two requests at most
	wants map[*want]struct{}
	out   [][]byte // messages
	of    *want    // the cell to which the last piece belongs; nil: say it
}

// command says that a node wants to hear of a cell, or does not any more.
type command struct {
	kind byte
	place
}

// want is a cell that nodes want.
type want struct {
	crowd   *crowd
	cell    grid.Cell
	nodes   []*listener
	n       int               // users in the cell
	stirred bool              // it is among those of which news has to think
	numbers map[grid.Cell]int // how many are in the parts; nil: each user is told
	changed map[grid.Cell]struct{}
	told    int64 // when numbers were told, in milliseconds
}

// want takes a request of a node about cells, which news takes up.
func (c *core) want(node string, request []byte) (reply byte, err error) {
	r := reader{b: request}
	epoch, begins := r.uvarint(), r.byte() == 1
	if r.err != nil {
		return 0, r.err
	}
	l := c.nodes[node]
	switch {
	case begins && (l == nil || l.epoch != epoch):
		c.lost(node)
		l = &listener{node: node, epoch: epoch, wants: make(map[*want]struct{})}
		c.nodes[node] = l
	case l == nil || l.epoch != epoch || begins:
		return answerAgain, nil
	case len(l.asked) >= maxCommands:
		return answerLater, nil
	}
	for len(r.b) > 0 && r.err == nil {
		what, app, cell := r.byte(), r.text(), grid.Cell(r.uvarint())
		switch {
		case r.err != nil:
		case !cell.Valid():
			r.fail()
		case what == cmdWant, what == cmdDrop:
			l.asked = append(l.asked, command{what, place{app, cell}})
		default:
			r.fail()
		}
	}
	return answerTaken, r.err
}

// lost says that a node is gone, or begins anew: it wants nothing any more.
func (c *core) lost(node string) {
	l := c.nodes[node]
	if l == nil {
		return
	}
	delete(c.nodes, node)
	for w := range l.wants {
		c.forsake(l, w)
	}
}

// attend takes up what nodes have asked for, a portion at a time: it can be so much that
// all others would wait long for the keeper. Here and in its order among what happens a
// cell begins, or ceases, to be heard of.
func (c *core) attend() {
	left := c.limits.portion
	for _, l := range c.nodes {
		n := 0
		for ; n < len(l.asked) && left > 0; n++ {
			if q := l.asked[n]; q.kind == cmdWant {
				left -= 1 + c.join(l, q.app, q.cell)
			} else {
				c.part(l, q.app, q.cell)
			}
		}
		if l.asked = l.asked[n:]; len(l.asked) == 0 {
			l.asked = nil
		}
	}
}

// asked says whether there is more for attend to do.
func (c *core) asked() bool {
	for _, l := range c.nodes {
		if len(l.asked) > 0 {
			return true
		}
	}
	return false
}

// join has a node hear of a cell: of all who are there first. It returns how many that
// are.
func (c *core) join(l *listener, app string, cell grid.Cell) int {
	crowd := c.crowd(app)
	w := crowd.wants[cell]
	if w == nil {
		w = &want{crowd: crowd, cell: cell}
		crowd.wants[cell] = w
		crowd.levels[cell.Level()]++
		c.scratch = w.first(&c.limits, c.scratch[:0])
	} else {
		c.scratch = w.all(c.scratch[:0])
	}
	if _, has := l.wants[w]; !has {
		l.wants[w] = struct{}{}
		w.nodes = append(w.nodes, l)
	}
	l.tell(w, c.scratch)
	return w.n
}

// part has a node hear of a cell no more.
func (c *core) part(l *listener, app string, cell grid.Cell) {
	if crowd := c.crowds[app]; crowd != nil {
		if w := crowd.wants[cell]; w != nil {
			delete(l.wants, w)
			c.forsake(l, w)
		}
	}
}

func (c *core) forsake(l *listener, w *want) {
	w.nodes = slices.DeleteFunc(w.nodes, func(other *listener) bool { return other == l })
	if len(w.nodes) > 0 {
		return
	}
	delete(w.crowd.wants, w.cell)
	w.crowd.levels[w.cell.Level()]--
	c.leave(w.crowd)
}

// each calls f with each slot that is in the cell.
func (w *want) each(f func(slot uint32)) {
	level := w.cell.Level()
	w.crowd.tree.In(w.cell.Box().Grown(grid.Edge), func(slot uint32, lat, lon float64) bool {
		if grid.CellAt(level, lat, lon) == w.cell {
			f(slot)
		}
		return true
	})
}

// partOf returns in which part of its cell a place is.
func partOf(cell grid.Cell, lat, lon float64) grid.Cell {
	return grid.CellAt(min(cell.Level()+finer, grid.MaxLevel), lat, lon)
}

// count has only numbers told from now on.
func (w *want) count() {
	w.numbers, w.changed = make(map[grid.Cell]int), make(map[grid.Cell]struct{})
	w.each(func(slot uint32) {
		e := w.crowd.at(slot)
		w.numbers[partOf(w.cell, e.lat, e.lon)]++
	})
}

// first counts who is in the cell, and appends all that is to be known of it.
func (w *want) first(l *Limits, b []byte) []byte {
	from := len(b)
	b = append(b, pieceFresh)
	w.each(func(slot uint32) {
		if w.n++; w.n < l.dense() {
			e := w.crowd.at(slot)
			b = appendAt(b, e.user, &e.fact)
		}
	})
	if w.n < l.dense() {
		return b
	}
	w.count()
	return w.all(b[:from])
}

// all appends all that is to be known of the cell.
func (w *want) all(b []byte) []byte {
	if w.numbers != nil {
		b = append(b, pieceNumbers)
		for part, n := range w.numbers {
			b = appendCount(b, part, n)
		}
		return b
	}
	b = append(b, pieceFresh)
	w.each(func(slot uint32) {
		e := w.crowd.at(slot)
		b = appendAt(b, e.user, &e.fact)
	})
	return b
}

func appendAt(b []byte, user int64, f *fact) []byte {
	return appendFact(binary.AppendUvarint(append(b, pieceAt), uint64(user)), f)
}

func appendCount(b []byte, part grid.Cell, n int) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(b, pieceCount), uint64(part)), uint64(n))
}

// moved tells who looks there that a user was in one place, if he was visible, and is
// in another one, nil for none.
func (c *core) moved(w *crowd, user int64, was *fact, visible bool, is *fact) {
	for level, n := range w.levels {
		if n == 0 {
			continue
		}
		var from, to *want
		if visible {
			from = w.wants[grid.CellAt(level, was.lat, was.lon)]
		}
		if is != nil {
			to = w.wants[grid.CellAt(level, is.lat, is.lon)]
		}
		if from != nil {
			c.left(from, to, user, was)
		}
		if to != nil {
			c.came(to, user, is)
		}
	}
}

// left says that a user was in a cell, and is now in to, which may be the same.
func (c *core) left(w, to *want, user int64, was *fact) {
	w.n--
	c.stir(w)
	switch {
	case w.numbers != nil:
		w.add(partOf(w.cell, was.lat, was.lon), -1)
	case w != to:
		c.scratch = binary.AppendUvarint(append(c.scratch[:0], pieceGone), uint64(user))
		w.tell(c.scratch)
	}
}

// came says that a user is in a cell.
func (c *core) came(w *want, user int64, is *fact) {
	w.n++
	c.stir(w)
	if w.numbers != nil {
		w.add(partOf(w.cell, is.lat, is.lon), 1)
		return
	}
	c.scratch = appendAt(c.scratch[:0], user, is)
	w.tell(c.scratch)
}

func (w *want) add(part grid.Cell, n int) {
	w.changed[part] = struct{}{}
	if w.numbers[part] += n; w.numbers[part] == 0 {
		delete(w.numbers, part)
	}
}

func (c *core) stir(w *want) {
	if !w.stirred {
		w.stirred = true
		c.stirred = append(c.stirred, w)
	}
}

// parcel is what a node is told.
type parcel struct {
	Node    string
	Message []byte
}

// news returns what nodes are to be told now. It is called every few milliseconds while
// newsy, and again right away while asked.
func (c *core) news(now int64) (list []parcel) {
	c.attend()
	rest := c.stirred[:0]
	for _, w := range c.stirred {
		if len(w.nodes) == 0 {
			continue
		}
		w.turn(&c.limits)
		if w.numbers != nil && len(w.changed) > 0 && !w.tellNumbers(now) {
			rest = append(rest, w)
			continue
		}
		w.stirred = false
	}
	clear(c.stirred[len(rest):])
	c.stirred = rest
	for _, l := range c.nodes {
		for _, m := range l.out {
			list = append(list, parcel{l.node, l.finish(m, c.shard)})
		}
		l.out, l.of = nil, nil
	}
	return list
}

// newsy says whether news may have something to say.
func (c *core) newsy() bool {
	if len(c.stirred) > 0 {
		return true
	}
	for _, l := range c.nodes {
		if len(l.out) > 0 || len(l.asked) > 0 {
			return true
		}
	}
	return false
}

// turn has numbers told of a cell in place of users when there are many, and users again when
// there are few.
func (w *want) turn(l *Limits) {
	switch {
	case w.numbers == nil && w.n >= l.dense():
		w.count()
	case w.numbers != nil && w.n < l.dense()/2:
		w.numbers, w.changed = nil, nil
	default:
		return
	}
	w.tell(w.all(nil))
}

// tellNumbers says whether it is time to tell them, and does.
func (w *want) tellNumbers(now int64) bool {
	if now-w.told < countEvery {
		return false
	}
	w.told = now
	var b []byte
	for part := range w.changed {
		b = appendCount(b, part, w.numbers[part])
	}
	clear(w.changed)
	w.tell(b)
	return true
}

// tell tells all nodes that want the cell.
func (w *want) tell(pieces []byte) {
	for _, l := range w.nodes {
		l.tell(w, pieces)
	}
}

// tell adds pieces to what a node is told.
func (l *listener) tell(w *want, pieces []byte) {
	n := len(l.out) - 1
	if n < 0 || len(l.out[n]) > maxTell {
		l.out, l.of = append(l.out, nil), nil
		n++
	}
	if l.of != w {
		l.of = w
		l.out[n] = binary.AppendUvarint(appendText(append(l.out[n], pieceCell), w.crowd.app), uint64(w.cell))
	}
	l.out[n] = append(l.out[n], pieces...)
}

// finish returns pieces as a message.
func (l *listener) finish(pieces []byte, shard int) []byte {
	b := make([]byte, 0, len(pieces)+16)
	b = binary.AppendUvarint(append(b, sayCells), uint64(shard))
	return append(binary.AppendUvarint(b, l.epoch), pieces...)
}
