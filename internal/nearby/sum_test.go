package nearby

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// earth is some nodes whose sessions look at what the keepers of some shards know, and
// a time that passes when the test says so.
type earth struct {
	t       *rapid.T
	now     time.Time
	limits  Limits
	keepers []*keeper
	desks   []*desk
	eyes    []*eye
	random  *rand.Rand
}

// keeper is a core with its log, and what is on the way from it.
type keeper struct {
	core *core
	log  [][]byte
	way  map[string][][]byte
	term uint64
	down bool // nobody keeps the shard
}

// eye is a session, and what its client believes.
type eye struct {
	e       *earth
	desk    *desk
	viewer  *viewer
	views   map[string]*belief
	changed time.Time // when the last frame of changes came
	full    bool
}

type belief struct {
	view     View
	answered bool
	users    map[string]User // nil: it is told cells
	cells    map[[2]float64]int
}

func newEarth(t *rapid.T) *earth {
	e := &earth{
		t: t, now: time.Unix(1_800_000_000, 0), limits: Limits{TTL: 30 * time.Second, Users: 6, Watches: 2, Rate: 1000, portion: 3},
		random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
	}
	for shard := range 2 {
		e.keepers = append(e.keepers, &keeper{core: newCore(shard, e.limits), way: make(map[string][][]byte)})
		e.keepers[shard].core.begin(1)
	}
	for range 3 {
		d := newDesk(e.limits, len(e.keepers))
		e.desks = append(e.desks, d)
		for range 2 {
			y := &eye{e: e, desk: d, views: make(map[string]*belief)}
			y.viewer = d.open("app", y)
			e.eyes = append(e.eyes, y)
		}
	}
	return e
}

func (y *eye) paced() {
	if wait := y.e.now.Sub(y.changed); wait < 100*time.Millisecond {
		y.e.t.Fatalf("two frames of changes within %s", wait)
	}
	y.changed = y.e.now
}

func (y *eye) Answer(id string, a Answer, _ []byte) bool {
	if y.full {
		return false
	}
	b := y.views[id]
	*b = belief{view: b.view, answered: true}
	if a.Cells != nil {
		b.cells = make(map[[2]float64]int)
		for _, c := range a.Cells {
			b.cells[[2]float64{c.Lat, c.Lon}] = c.Count
		}
		return true
	}
	b.users = make(map[string]User)
	for i, u := range a.Users {
		if i > 0 && u.Distance < a.Users[i-1].Distance {
			y.e.t.Fatalf("%s comes before one who is nearer", a.Users[i-1].User)
		}
		b.users[u.User] = u
	}
	return true
}

func (y *eye) Enter(id string, users []User) bool {
	if y.full {
		return false
	}
	y.paced()
	for _, u := range users {
		if _, is := y.views[id].users[u.User]; is || y.views[id].users == nil {
			y.e.t.Fatalf("%s enters who is there", u.User)
		}
		y.views[id].users[u.User] = u
	}
	return true
}

func (y *eye) Move(id string, users []User) bool {
	if y.full {
		return false
	}
	y.paced()
	for _, u := range users {
		if _, is := y.views[id].users[u.User]; !is {
			y.e.t.Fatalf("%s moves who is not there", u.User)
		}
		y.views[id].users[u.User] = u
	}
	return true
}

func (y *eye) Leave(id string, users []string) bool {
	if y.full {
		return false
	}
	y.paced()
	for _, u := range users {
		if _, is := y.views[id].users[u]; !is {
			y.e.t.Fatalf("%s leaves who is not there", u)
		}
		delete(y.views[id].users, u)
	}
	return true
}

func (y *eye) Cells(id string, changed []Cell) bool {
	if y.full {
		return false
	}
	y.paced()
	b := y.views[id]
	if b.cells == nil {
		y.e.t.Fatalf("numbers come who is told users")
	}
	for _, c := range changed {
		if c.Count == 0 {
			delete(b.cells, [2]float64{c.Lat, c.Lon})
			continue
		}
		b.cells[[2]float64{c.Lat, c.Lon}] = c.Count
	}
	return true
}

func (y *eye) Trouble(string, []byte, error) bool { return !y.full }

// towns are where most users are, and most look.
var towns = [][2]float64{{52.5, 13.4}, {52.502, 13.403}, {0, 180}, {89.9995, 20}, {-90, 0}}

func (e *earth) place() (lat, lon float64) {
	at := towns[e.random.IntN(len(towns))]
	wide := []float64{0.0001, 0.01, 1}[e.random.IntN(3)]
	lat, lon = at[0]+wide*(e.random.Float64()-0.5), at[1]+wide*(e.random.Float64()-0.5)*3
	if lon > 180 {
		lon -= 360
	}
	return min(90, max(-90, lat)), lon
}

func (e *earth) view() View {
	lat, lon := e.place()
	if e.random.IntN(2) == 0 {
		return View{Lat: lat, Lon: lon, Radius: []float64{50, 1000, 300_000}[e.random.IntN(3)]}
	}
	lat2, lon2 := e.place()
	return View{Box: true, South: min(lat, lat2), North: max(lat, lat2), West: lon, East: lon2}
}

func (e *earth) keeperOf(user int) *keeper { return e.keepers[user%len(e.keepers)] }

func (e *earth) put() {
	user := e.random.IntN(20)
	k := e.keeperOf(user)
	if k.down {
		return
	}
	lat, lon := e.place()
	at := e.now.Add(time.Duration(e.random.IntN(4)-2) * time.Second)
	if err := k.core.put(e.now, "app", fmt.Sprint("app-", user), Position{Lat: lat, Lon: lon, At: at}); err != nil {
		if r := (&Refusal{}); !errors.As(err, &r) || r.Field != "at" {
			e.t.Fatal(err)
		}
	}
}

func (e *earth) hide() {
	user := e.random.IntN(20)
	if k := e.keeperOf(user); !k.down {
		if _, err := k.core.hide(e.now, "app", fmt.Sprint("app-", user)); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (e *earth) look() {
	y := e.eyes[e.random.IntN(len(e.eyes))]
	id := []string{"a", "b"}[e.random.IntN(2)]
	if e.random.IntN(4) == 0 {
		_ = y.desk.unwatch(y.viewer, id)
		delete(y.views, id)
		return
	}
	v := e.view()
	if err := y.desk.watch(e.now, y.viewer, id, v, nil); err != nil {
		e.t.Fatal(err)
	}
	y.views[id] = &belief{view: v}
}

// pass lets time pass, and has all do what is due, and most of what is on its way come.
func (e *earth) pass(d time.Duration, all bool) {
	e.now = e.now.Add(d)
	for shard, k := range e.keepers {
		if k.down {
			continue
		}
		k.core.tick(e.now)
		if _, b := k.core.batch(e.now); b != nil {
			k.log = append(k.log, slices.Clone(b))
			k.core.landed(uint64(len(k.log)))
		}
		e.converse(shard)
		if all || e.random.IntN(2) == 0 {
			k.tell(e.now)
		}
		for all && k.core.asked() {
			k.tell(e.now)
		}
		e.carry(k, all)
	}
	for _, d := range e.desks {
		d.flush(e.now)
	}
}

func (k *keeper) tell(now time.Time) {
	for _, p := range k.core.news(now.UnixMilli()) {
		k.way[p.Node] = append(k.way[p.Node], p.Message)
	}
}

func (e *earth) converse(int) {
	for i, d := range e.desks {
		list, _ := d.requests(e.now)
		for _, q := range list {
			k := e.keepers[q.Shard]
			if k.down {
				d.done(e.now, q.Shard, nil, errors.New("nobody is there"))
				continue
			}
			reply, _, err := k.core.serve(e.now, fmt.Sprint(i), q.Request)
			if err != nil {
				e.t.Fatal(err)
			}
			d.done(e.now, q.Shard, reply, nil)
		}
	}
}

func (e *earth) carry(k *keeper, all bool) {
	for i, d := range e.desks {
		node := fmt.Sprint(i)
		for len(k.way[node]) > 0 && (all || e.random.IntN(3) > 0) {
			if err := d.heard(k.way[node][0]); err != nil {
				e.t.Fatal(err)
			}
			k.way[node] = k.way[node][1:]
		}
	}
}

// breaks has a conversation break: what was on the way is lost.
func (e *earth) breaks() {
	shard, i := e.random.IntN(len(e.keepers)), e.random.IntN(len(e.desks))
	e.keepers[shard].way[fmt.Sprint(i)] = nil
	e.desks[i].moved(shard)
}

// kill has the keeper of a shard die, or another one take over, which knows what is in
// the log.
func (e *earth) kill(shard int) {
	k := e.keepers[shard]
	k.way = make(map[string][][]byte)
	if k.down = !k.down; k.down {
		return
	}
	k.term++
	k.core = newCore(shard, e.limits)
	for i, b := range k.log {
		if err := k.core.replay(uint64(i+1), b); err != nil {
			e.t.Fatal(err)
		}
	}
	k.core.replayed(uint64(len(k.log)), e.now)
	k.core.begin(k.term)
	for _, d := range e.desks {
		d.moved(shard)
	}
}

// settle lets all be told.
func (e *earth) settle() {
	for shard, k := range e.keepers {
		if k.down {
			e.kill(shard)
		}
	}
	for _, y := range e.eyes {
		y.full = false
	}
	for range 60 {
		e.pass(100*time.Millisecond, true)
	}
}

// query asks all shards.
func (e *earth) query(v View) map[string]User {
	var out Answer
	for _, k := range e.keepers {
		k.core.near("app", v, 1000, &out)
	}
	found := make(map[string]User)
	for _, u := range out.Users {
		found[u.User] = u
	}
	return found
}

// compare says what a client believes that is not so.
func (e *earth) compare(b *belief) error {
	want := e.query(b.view)
	if !b.answered {
		return errors.New("it has no answer")
	}
	if b.users == nil {
		sum := 0
		for _, n := range b.cells {
			sum += n
		}
		if sum < len(want) || sum > 20 {
			return fmt.Errorf("%d are counted, %d in view", sum, len(want))
		}
		return nil
	}
	if len(want) > e.limits.Users {
		return fmt.Errorf("%d are in view, and it is told users", len(want))
	}
	if len(want) != len(b.users) {
		return fmt.Errorf("it knows %d, not %d: %v, not %v", len(b.users), len(want), b.users, want)
	}
	for name, u := range want {
		if got, is := b.users[name]; !is || got != u {
			return fmt.Errorf("it believes %+v, not %+v", got, u)
		}
	}
	return nil
}

func TestWhatASessionIsToldAddsUpToAFreshQuery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newEarth(t)
		for range rapid.IntRange(1, 3).Draw(t, "rounds") {
			for range rapid.IntRange(1, 120).Draw(t, "steps") {
				switch n := e.random.IntN(40); {
				case n < 18:
					e.put()
				case n < 20:
					e.hide()
				case n < 24:
					e.look()
				case n < 34:
					e.pass(time.Duration(e.random.IntN(150))*time.Millisecond, false)
				case n < 35:
					e.pass(time.Duration(e.random.IntN(20))*time.Second, false)
				case n < 37:
					e.breaks()
				case n < 38:
					e.kill(e.random.IntN(len(e.keepers)))
				default:
					y := e.eyes[e.random.IntN(len(e.eyes))]
					y.full = !y.full
				}
			}
			e.settle()
			err := e.compareAll()
			for again := 0; err != nil && again < 3; again++ { // a position may have expired just now
				for range 8 {
					e.pass(100*time.Millisecond, true)
				}
				err = e.compareAll()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		e.leaveAll()
	})
}

func (e *earth) compareAll() error {
	for i, y := range e.eyes {
		for id, b := range y.views {
			if err := e.compare(b); err != nil {
				return fmt.Errorf("session %d, watch %s of %+v: %w", i, id, b.view, err)
			}
		}
	}
	return nil
}

// leaveAll has all look away, after which nobody keeps anything for them.
func (e *earth) leaveAll() {
	for _, y := range e.eyes {
		y.desk.close(y.viewer)
	}
	e.settle()
	e.pass(e.limits.TTL+time.Second, true)
	e.settle()
	for _, d := range e.desks {
		if len(d.areas) > 0 || len(d.due) > 0 {
			e.t.Fatalf("a desk keeps %d areas for nobody", len(d.areas))
		}
	}
	for _, k := range e.keepers {
		if len(k.core.crowds) > 0 || k.core.known != 0 {
			e.t.Fatalf("a keeper keeps %d users for ever", k.core.known)
		}
	}
}
