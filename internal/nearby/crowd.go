package nearby

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
)

// crowd is the users of one app, in one shard, of whom something is known.
type crowd struct {
	app     string
	tree    grid.Tree // those who are visible, by slot
	pages   []*[pageSize]entry
	used    uint32   // slots given
	loose   []uint32 // those that are free
	slots   map[int64]uint32
	oldest  uint32 // the slot that expires first; 0: there is none
	newest  uint32
	unsaved []uint32 // slots that the log lacks, or that were freed
	hidden  []uint32 // the same, of users who hid: first

	wants  map[grid.Cell]*want
	levels [grid.MaxLevel + 1]int // how many wants there are of each
}

const pageSize = 256

// entry is one user. It has no pointers.
type entry struct {
	fact
	user   int64
	taken  int64  // when the keeper heard it, in milliseconds
	before uint32 // the slots with the next older and the next newer news
	after  uint32
	second uint32 // see paced
	count  uint16
	hides  bool // there is no place: at is the time before which nothing counts
	unsaid bool // the log lacks it
}

func newCrowd(app string) *crowd {
	return &crowd{app: app, slots: make(map[int64]uint32), wants: make(map[grid.Cell]*want)}
}

func (w *crowd) at(slot uint32) *entry { return &w.pages[slot/pageSize][slot%pageSize] }

// add returns a slot for a user who has none.
func (w *crowd) add(user int64) uint32 {
	slot := w.used + 1
	if n := len(w.loose); n > 0 {
		slot = w.loose[n-1]
		w.loose = w.loose[:n-1]
	} else {
		w.used++
	}
	if int(slot/pageSize) >= len(w.pages) {
		w.pages = append(w.pages, new([pageSize]entry))
	}
	w.slots[user] = slot
	e := w.at(slot)
	e.user = user
	w.chain(slot, e)
	return slot
}

// remove forgets a user.
func (w *crowd) remove(slot uint32) {
	e := w.at(slot)
	w.unchain(e)
	delete(w.slots, e.user)
	*e = entry{}
	w.loose = append(w.loose, slot)
}

// chain makes a slot the newest.
func (w *crowd) chain(slot uint32, e *entry) {
	e.before, e.after = w.newest, 0
	if w.newest != 0 {
		w.at(w.newest).after = slot
	} else {
		w.oldest = slot
	}
	w.newest = slot
}

func (w *crowd) unchain(e *entry) {
	if e.before != 0 {
		w.at(e.before).after = e.after
	} else {
		w.oldest = e.after
	}
	if e.after != 0 {
		w.at(e.after).before = e.before
	} else {
		w.newest = e.before
	}
}

// heard notes that there is news of a user.
func (w *crowd) heard(slot uint32, e *entry, now int64) {
	e.taken = now
	if w.newest != slot {
		w.unchain(e)
		w.chain(slot, e)
	}
}

// order makes the chain anew: a log has users in the order in which the log lacked
// them. Nobody was heard later than now.
func (w *crowd) order(now int64) {
	list := make([]uint32, 0, len(w.slots))
	for slot := w.oldest; slot != 0; slot = w.at(slot).after {
		w.at(slot).taken = min(w.at(slot).taken, now)
		list = append(list, slot)
	}
	slices.SortStableFunc(list, func(a, b uint32) int { return cmp.Compare(w.at(a).taken, w.at(b).taken) })
	w.oldest, w.newest = 0, 0
	for _, slot := range list {
		w.chain(slot, w.at(slot))
	}
}

// paced says whether a user may say something more in this second.
func (e *entry) paced(now int64, rate int) bool {
	if s := uint32(now / 1000); s != e.second {
		e.second, e.count = s, 0
	}
	if int(e.count) >= rate {
		return false
	}
	e.count++
	return true
}

// save notes that the log lacks a user's news.
func (w *crowd) save(slot uint32, e *entry) {
	switch {
	case e.hides:
		w.hidden = append(w.hidden, slot) // even if it waits already, for this is urgent
	case !e.unsaid:
		w.unsaved = append(w.unsaved, slot)
	}
	e.unsaid = true
}

// near appends who is in view, up to limit of them, to an answer.
func (w *crowd) near(v *View, limit int, out *Answer) {
	var few [32]grid.Hit
	var hits []grid.Hit
	total := 0
	tie := func(a, b uint32) int { return cmp.Compare(w.at(a).user, w.at(b).user) }
	if v.Box {
		hits, total = w.tree.NearIn(v.box(), limit, tie, few[:0])
	} else {
		hits, total = w.tree.Near(grid.Circle{Lat: v.Lat, Lon: v.Lon, Metres: v.Radius}, limit, tie, few[:0])
	}
	out.Total += total
	if len(hits) == 0 {
		return
	}
	names := make([]byte, 0, len(hits)*(len(w.app)+12))
	users := out.Users
	if cap(users)-len(users) < len(hits) {
		users = append(make([]User, 0, len(users)+len(hits)), users...)
	}
	ends := make([]int, 0, 32)
	for i := range hits {
		e := w.at(hits[i].ID)
		names = appendName(names, w.app, e.user)
		ends = append(ends, len(names))
		users = append(users, User{Position: e.position(), Distance: hits[i].Metres})
	}
	all, from := string(names), 0 // one piece of memory for all
	for i, to := range ends {
		users[len(users)-len(ends)+i].User = all[from:to]
		from = to
	}
	out.Users = users
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
