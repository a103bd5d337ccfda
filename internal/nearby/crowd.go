package nearby

import (
	"cmp"
	"strconv"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
)

// crowd is the users of one app, in one shard, of whom something is known.
type crowd struct {
	app     string
	tree    grid.Tree // those who are visible, by slot
	first   page0     // slots below pageSize
	pages   []*page
	used    uint32   // slots given
	loose   []uint32 // those that are free
	slots   slots
	dues    dues
	unsaved []uint32 // slots that the log lacks, or that were freed
	hidden  []uint32 // the same, of users who hid: first

	wants  map[grid.Cell]*want
	levels [grid.MaxLevel + 1]int // how many wants there are of each
}

const pageSize = 256

// page is what is known of as many users. It has no pointers.
type page struct {
	entries [pageSize]entry
	states  [pageSize]state
}

// page0 is a page of as many users as there are, for there may be very many apps with
// hardly any.
type page0 struct {
	entries []entry
	states  []state
}

// grow makes room for twice as many, up to a page. They are moved: whoever has add called
// must not go on with what at and state returned before.
func (p *page0) grow() {
	n := min(pageSize, max(4, 2*len(p.entries)))
	p.entries = append(make([]entry, 0, n), p.entries...)[:n]
	p.states = append(make([]state, 0, n), p.states...)[:n]
}

// entry is where a user is. It has 64 bytes, so that the processor fetches it at once.
type entry struct {
	fact
	user  int64
	taken int64 // when the keeper heard it, in milliseconds
}

// state is what is needed beside that when something changes.
type state struct {
	second uint32 // see paced
	count  uint16
	hides  bool // there is no place: at is the time before which nothing counts
	unsaid bool // the log lacks it
}

func newCrowd(app string, ttl time.Duration) *crowd {
	return &crowd{app: app, slots: newSlots(), dues: newDues(ttl), wants: make(map[grid.Cell]*want)}
}

func (w *crowd) at(slot uint32) *entry {
	if slot < pageSize {
		return &w.first.entries[slot]
	}
	return &w.pages[slot/pageSize-1].entries[slot%pageSize]
}

func (w *crowd) state(slot uint32) *state {
	if slot < pageSize {
		return &w.first.states[slot]
	}
	return &w.pages[slot/pageSize-1].states[slot%pageSize]
}

// add returns a slot for a user who has none.
func (w *crowd) add(user int64) uint32 {
	slot := w.used + 1
	if n := len(w.loose); n > 0 {
		slot = w.loose[n-1]
		w.loose = w.loose[:n-1]
	} else {
		w.used++
	}
	switch {
	case slot < pageSize && int(slot) >= len(w.first.entries):
		w.first.grow()
	case int(slot/pageSize) > len(w.pages):
		w.pages = append(w.pages, new(page))
	}
	w.at(slot).user = user
	w.slots.add(w, slot)
	return slot
}

// remove forgets a user who has expired.
func (w *crowd) remove(slot uint32) {
	w.slots.remove(w, slot)
	*w.at(slot), *w.state(slot) = entry{}, state{}
	w.loose = append(w.loose, slot)
}

// heard notes that there is news of a user.
func (w *crowd) heard(slot uint32, e *entry, now int64) {
	first := e.taken == 0
	if e.taken = now; first {
		w.dues.add(slot, now)
	}
}

// paced says whether a user may say something more in this second.
func (s *state) paced(now int64, rate int) bool {
	if second := uint32(now / 1000); second != s.second {
		s.second, s.count = second, 0
	}
	if int(s.count) >= rate {
		return false
	}
	s.count++
	return true
}

// save notes that the log lacks a user's news.
func (w *crowd) save(slot uint32) {
	s := w.state(slot)
	switch {
	case s.hides:
		w.hidden = append(w.hidden, slot) // even if it waits already, for this is urgent
	case !s.unsaid:
		w.unsaved = append(w.unsaved, slot)
	}
	s.unsaid = true
}

// finding is what it takes to find who is in view.
type finding struct {
	hits  []grid.Hit
	users []int64
	names []byte
}

var findings = sync.Pool{New: func() any { return new(finding) }}

// near appends who is in view, up to limit of them, to an answer.
func (w *crowd) near(v *View, limit int, out *Answer) {
	f := findings.Get().(*finding)
	defer findings.Put(f)
	total := 0
	tie := func(a, b uint32) int { return cmp.Compare(w.at(a).user, w.at(b).user) }
	if v.Box {
		f.hits, total = w.tree.NearIn(v.box(), limit, tie, f.hits[:0])
	} else {
		f.hits, total = w.tree.Near(grid.Circle{Lat: v.Lat, Lon: v.Lon, Metres: v.Radius}, limit, tie, f.hits[:0])
	}
	if out.Total += total; len(f.hits) > 0 {
		w.describe(f, out)
	}
}

// describe appends those who were found to an answer.
func (w *crowd) describe(f *finding, out *Answer) {
	f.users, f.names = f.users[:0], f.names[:0]
	for i := range f.hits { // alone in a loop, so that they are fetched side by side: they lie anywhere in memory
		f.users = append(f.users, w.at(f.hits[i].ID).user)
	}
	for _, user := range f.users {
		f.names = appendName(f.names, w.app, user)
	}
	users, n := out.Users, len(out.Users)
	if cap(users)-n < len(f.hits) {
		users = append(make([]User, 0, n+len(f.hits)), users...)
	}
	users = users[:n+len(f.hits)]
	rest := string(f.names) // one piece of memory for all
	for i := range f.hits {
		end := len(w.app) + 1 + digits(f.users[i])
		users[n+i] = User{User: rest[:end], Position: w.at(f.hits[i].ID).position(), Distance: f.hits[i].Metres}
		rest = rest[end:]
	}
	out.Users = users
}

// digits returns how many a number has that is not negative.
func digits(n int64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

func appendName(dst []byte, app string, user int64) []byte {
	return strconv.AppendInt(append(append(dst, app...), '-'), user, 10)
}

// numberOf returns the number in a user's ID, if it is one of the app.
func numberOf(app, user string) (int64, bool) {
	if len(user) < len(app)+2 || user[:len(app)] != app || user[len(app)] != '-' {
		return 0, false
	}
	digits := user[len(app)+1:]
	if digits[0] < '0' || digits[0] > '9' || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}
