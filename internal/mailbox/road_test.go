package mailbox

import (
	"crypto/rand"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// shard is a core with its log, killed at will, and what its users have been sent.
type shard struct {
	*bench
	limits Limits
}

func newShard(tune tuning) *shard {
	s := &shard{bench: newBench(), limits: benchLimits}
	s.limits.LinkBytes, s.limits.LinkAge = 1<<30, 720*time.Hour
	s.core = newCore(wire.ID{}, s.limits, rand.Reader, tune)
	s.core.isLink = isLink
	s.takeOver(0, 1)
	s.store()
	return s
}

// kill forgets what is not stored, and reads the log anew.
func (s *shard) kill() {
	next := newCore(wire.ID{}, s.limits, rand.Reader, s.tune)
	next.isLink = isLink
	last := len(s.batches)
	trim, ord, err := openBatch(s.batches[last-1])
	if err != nil {
		panic(err)
	}
	for seq := int(trim); seq <= last; seq++ {
		if err := next.replay(uint64(seq), s.batches[seq-1]); err != nil {
			panic(err)
		}
	}
	next.takeOver(uint64(last), ord)
	s.core = next
	s.store()
}

// over has a message come over a road, and says whether it is new.
func (s *shard) over(road string, place, low uint64, id byte, to ...wire.UserID) bool {
	before := s.counts.returned
	s.accept(s.now, &Message{
		From: far, To: to, Via: road, Place: place, Low: low, ID: wire.ID{id, byte(place)}, Frame: fmt.Appendf(nil, "%s %d", road, place),
	})
	s.forgetEffects()
	return s.counts.returned == before
}

func (s *shard) places() (n int) {
	for _, r := range s.roads {
		n += len(r.taken)
	}
	return n
}

// Whatever is sent again, in any order, by however many neighbours, while the keeper
// is killed and its log is cleaned: each message that may come again is new once it
// is stored nowhere, and only then. What is remembered is what may come again.
func TestWhatMayComeAgainIsNewOnlyUntilItIsStored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tune := defaultTuning()
		tune.slack, tune.trimStep = 0, 1
		tune.batch = rapid.SampledFrom([]int{300, 4000}).Draw(t, "batch")
		s := newShard(tune)
		type state struct{ taken, stored map[uint64]bool }
		names := []string{"domain-02/a", "domain-02/b", "domain-03/a"}
		states, lows := make(map[string]*state), make(map[string]uint64)
		for _, name := range names {
			states[name], lows[name] = &state{make(map[uint64]bool), make(map[uint64]bool)}, 1
		}
		settle := func() {
			s.store()
			for _, st := range states {
				for place := range st.taken {
					st.stored[place] = true
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "road")
				st, place := states[name], lows[name]+rapid.Uint64Range(0, 40).Draw(t, "ahead")
				isNew := s.over(name, place, lows[name], byte(slices.Index(names, name)), "ANZ-2")
				if want := !st.taken[place]; isNew != want {
					t.Fatalf("place %d of %s is new: %t, should be %t", place, name, isNew, want)
				}
				st.taken[place] = true
			},
			"store": func(*rapid.T) { settle() },
			"learn": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "road")
				for states[name].stored[lows[name]] {
					lows[name]++
				}
			},
			"kill": func(*rapid.T) {
				s.kill()
				for _, st := range states {
					st.taken = make(map[uint64]bool)
					for place := range st.stored {
						st.taken[place] = true
					}
				}
			},
			"prove": func(*rapid.T) { // so that batches can go, but for what they say of roads
				id, _ := wire.NewID(s.now, rand.Reader)
				settle()
				s.open(s.now, Session{ID: id, User: "ANZ-2", Push: true, Outlet: nobody{}})
				for n := uint64(0); s.sessions[id].nextN > n+1; {
					n = s.sessions[id].nextN - 1
					s.proof(s.now, id, n)
					settle()
				}
				s.close(s.now, id)
				settle()
			},
		})
	})
}

// Once the other end has said that it knows, nothing is left of it in the log.
func TestWhatTheOtherEndKnowsIsForgotten(t *testing.T) {
	tune := defaultTuning()
	tune.slack, tune.trimStep = 0, 1
	s := newShard(tune)
	for place := range uint64(1000) {
		s.over("domain-02/a", place+1, max(place, 19)-18, 1, "ANZ-2")
		if place%10 == 0 {
			s.store()
		}
		if n := s.places(); n > 20 {
			t.Fatalf("%d places are remembered, 20 may come again", n)
		}
	}
	s.store()
	s.clear("ANZ-2", &Message{})
	s.store()
	s.over("domain-02/a", 1002, 1002, 1, "ANZ-2")
	s.clear("ANZ-2", &Message{})
	s.store()
	s.over("domain-02/a", 1003, 1003, 1, "ANZ-2")
	s.store()
	if n, bytes := s.places(), s.journal.bytes; n != 1 || bytes > 20_000 {
		t.Errorf("%d places are left, and %d bytes of log", n, bytes)
	}
	s.now = s.now.Add(roadAge + time.Hour)
	s.tick(s.now)
	if len(s.roads) > 0 || s.marksBytes != 0 {
		t.Errorf("a road is remembered of which nothing came for long: %+v", s.roads)
	}
}

// As many places are remembered as a link has on its way at most, with the smallest of
// frames and the largest limits.linkWindow: one that was forgotten would come twice.
func TestAllThatALinkHasOnItsWayIsRemembered(t *testing.T) {
	const largestWindow = 64 << 20
	smallest := wire.AppendForward(nil, &wire.Forward{
		Origin: "d", From: "A-1", To: []wire.UserID{"A-2"}, Hops: 1, Frame: wire.AppendMessage(nil, "A-1", []byte("1"), nil),
	})
	if n := largestWindow / len(smallest); n > maxTaken {
		t.Errorf("%d FORWARDs of %d bytes are on their way, and %d places are remembered", n, len(smallest), maxTaken)
	}
}

// A domain that never says what it knows costs bounded memory, and so do many.
func TestRoadsAreBounded(t *testing.T) {
	s := newShard(defaultTuning())
	for place := range uint64(maxTaken + 10) {
		s.over("domain-02/a", place+1, 0, 1, "ANZ-2")
		if place%512 == 0 {
			s.clear("ANZ-2", &Message{})
			s.store()
		}
	}
	if n := s.places(); n != maxTaken || s.counts.forgottenPlaces != 10 {
		t.Errorf("%d places are remembered, %d were forgotten", n, s.counts.forgottenPlaces)
	}
	s = newShard(defaultTuning())
	for i := range maxRoads + 10 {
		s.now = s.now.Add(time.Second)
		s.over(fmt.Sprintf("domain-%d/a", i), 1, 1, 1, "ANZ-3")
	}
	if len(s.roads) != maxRoads || s.roads["domain-9/a"] != nil || s.roads["domain-10/a"] == nil {
		t.Errorf("%d roads are remembered", len(s.roads))
	}
}

// A message is taken for another one in its place when it is another message, or for
// others: a neighbour whose log was put back to an earlier state, or a network that
// has changed, lose nothing.
func TestAnotherMessageInItsPlaceIsNew(t *testing.T) {
	s := newShard(defaultTuning())
	for _, step := range []struct {
		what  string
		id    byte
		to    []wire.UserID
		isNew bool
	}{
		{"the first time", 1, []wire.UserID{"ANZ-2"}, true},
		{"again", 1, []wire.UserID{"ANZ-2"}, false},
		{"for one more, who has moved here", 1, []wire.UserID{"ANZ-2", "ANZ-3"}, true},
		{"that again", 1, []wire.UserID{"ANZ-2", "ANZ-3"}, false},
		{"its part that goes on", 1, []wire.UserID{linkUser}, true},
		{"that again", 1, []wire.UserID{linkUser}, false},
		{"another one in its place", 2, []wire.UserID{"ANZ-2"}, true},
		{"that again", 2, []wire.UserID{"ANZ-2"}, false},
	} {
		if got := s.over("domain-02/a", 7, 1, step.id, step.to...); got != step.isNew {
			t.Errorf("%s: new is %t", step.what, got)
		}
	}
	for user, want := range map[wire.UserID]int{"ANZ-2": 2, "ANZ-3": 1, linkUser: 1} {
		if got := s.users[user].waiting; got != want {
			t.Errorf("%d messages wait for %s, want %d", got, user, want)
		}
	}
}

// What was handed over without an answer, and then took another road, comes twice: a
// user gets it once. A link passes it on, and what left comes back as new.
func TestWhatComesOverTwoRoadsIsForAUserOnce(t *testing.T) {
	s := newShard(defaultTuning())
	s.over("domain-02/a", 7, 1, 1, "ANZ-2")
	if s.over("domain-03/a", 7, 1, 1, "ANZ-2") {
		t.Error("it is new when it comes over another road")
	}
	s.over("domain-02/a", 7, 1, 1, linkUser)
	if !s.over("domain-03/a", 7, 1, 1, linkUser) {
		t.Error("a link does not pass it on a second time")
	}
	s.over("domain-03/b", 7, 1, 1, "ANZ-2", "ANZ-3")
	if two, three := s.users["ANZ-2"].waiting, s.users["ANZ-3"].waiting; two != 1 || three != 1 {
		t.Errorf("%d and %d messages wait", two, three)
	}
	s.store()
	e := s.users["ANZ-2"].entries.list[0]
	m := Moved{Carried: Carried{Ord: e.ord, ID: wire.ID{1, 7}, From: far}, Parts: []Part{{To: []wire.UserID{linkUser}, Frame: []byte("{}")}}}
	s.held = false
	if !s.move(s.now, "ANZ-2", &m) {
		t.Fatal("it does not go another way")
	}
	s.release(s.users["ANZ-2"])
	s.store()
	if !s.over("domain-04/a", 7, 1, 1, "ANZ-2") || s.users["ANZ-2"].waiting != 1 {
		t.Error("what went another way does not come back")
	}
}

// What was on its way to a keeper that is gone may come to the next one when the other
// end has heard long since that it is stored, and says that nothing before what follows
// comes any more. It is known all the same; what went another way meanwhile may come back.
func TestTheNextKeeperKnowsWhatWasUnderWayToTheLast(t *testing.T) {
	s := newShard(defaultTuning())
	s.over("domain-02/a", 7, 1, 1, "ANZ-2")
	s.over("domain-02/a", 8, 1, 1, "ANZ-2", "ANZ-3")
	s.store()
	s.kill()
	if !s.over("domain-02/a", 9, 9, 1, "ANZ-2") || s.over("domain-02/a", 7, 1, 1, "ANZ-2") || s.over("domain-02/a", 8, 1, 1, "ANZ-2", "ANZ-3") {
		t.Error("what comes late is new")
	}
	s.store()
	s.held = false
	e := s.users["ANZ-2"].entries.list[0]
	m := Moved{Carried: Carried{Ord: e.ord, ID: wire.ID{1, 7}, From: far}, Parts: []Part{{To: []wire.UserID{linkUser}, Frame: []byte("{}")}}}
	if !s.move(s.now, "ANZ-2", &m) {
		t.Fatal("it does not go another way")
	}
	s.store()
	s.kill()
	if !s.over("domain-04/a", 7, 1, 1, "ANZ-2") {
		t.Error("what went another way does not come back")
	}
	if s.over("domain-04/a", 8, 1, 1, "ANZ-2", "ANZ-3") {
		t.Error("what stayed comes twice")
	}
}

func TestRecentMessagesAreBounded(t *testing.T) {
	var r recent
	for i := range maxRecent + 10 {
		r.add(wire.ID{byte(i), byte(i >> 8), byte(i >> 16)}, "ANZ-2")
	}
	if len(r.known) != maxRecent || r.has(wire.ID{9}, "ANZ-2") || !r.has(wire.ID{10}, "ANZ-2") || r.has(wire.ID{10}, "ANZ-3") {
		t.Errorf("%d are remembered", len(r.known))
	}
}

// A message has the outcome for each receiver that it had first: who had no room then
// was told to the sender, and does not get it when it comes again.
func TestWhoHadNoRoomIsToldInTheSameBatch(t *testing.T) {
	s := newShard(defaultTuning())
	s.core.limits.Messages = 1
	s.limits = s.core.limits
	s.over("domain-03/a", 1, 1, 9, "ANZ-3")
	s.store()
	batches := len(s.batches)
	s.over("domain-02/a", 7, 1, 1, "ANZ-2", "ANZ-3")
	s.store()
	if got := len(s.batches) - batches; got != 1 {
		t.Fatalf("%d batches were written", got)
	}
	for range 2 {
		if s.counts.turnedAway = 0; s.users[far].waiting != 1 || s.users["ANZ-2"].waiting != 1 || s.users["ANZ-3"].waiting != 1 {
			t.Fatal("the sender is not told, or somebody has it who should not")
		}
		s.kill()
		s.clear("ANZ-3", &Message{})
		s.store()
		if s.over("domain-02/a", 7, 1, 1, "ANZ-2", "ANZ-3") {
			t.Fatal("it is new when it comes again")
		}
		s.over("domain-03/a", 2, 2, 9, "ANZ-3")
		s.store()
	}
}

// A message never waits longer than its first keeper said, and never longer than the
// limits say; for a link those are others.
func TestWhatComesOverARoadKeepsItsEnd(t *testing.T) {
	s := newShard(defaultTuning())
	s.core.limits.Age, s.core.limits.LinkAge = time.Hour, 24*time.Hour
	at := func(m *Message) time.Duration {
		m.From, m.ID = far, wire.ID{1}
		return time.Unix(int64(s.expiryOf(s.now, m)), 0).Sub(s.now)
	}
	people, link := []wire.UserID{"ANZ-2"}, []wire.UserID{linkUser}
	for _, c := range []struct {
		name string
		m    *Message
		want time.Duration
	}{
		{"nothing said", &Message{To: people}, time.Hour},
		{"nothing said, over a link", &Message{To: link}, 24 * time.Hour},
		{"soon", &Message{To: people, Expires: s.now.Add(time.Minute)}, time.Minute},
		{"soon, over a link", &Message{To: link, Expires: s.now.Add(time.Minute)}, time.Minute},
		{"in a part of a second", &Message{To: people, Expires: s.now.Add(time.Millisecond)}, time.Second},
		{"later than the limit", &Message{To: people, Expires: s.now.Add(2 * time.Hour)}, time.Hour},
		{"later than the limit of a link", &Message{To: link, Expires: s.now.Add(48 * time.Hour)}, 24 * time.Hour},
		{"with a time to live", &Message{To: link, TTL: time.Minute}, time.Minute},
		{"in a hundred years, the longest that a ttl may be", &Message{To: people, Expires: s.now.Add(wire.MaxTTL)}, time.Hour},
		{"later than 32 bits can say, by a little", &Message{To: people, Expires: time.Unix(1<<32, 0)}, time.Hour},
		{"at the last time of all", &Message{To: people, Expires: time.Unix(253402300799, 0)}, time.Hour},
		{"at the beginning of Unix time, which is not never", &Message{To: people, Expires: time.Unix(0, 0)}, time.Unix(1, 0).Sub(s.now)},
		{"long before", &Message{To: people, Expires: time.Unix(-1<<33, 0)}, time.Unix(1, 0).Sub(s.now)},
	} {
		if got := at(c.m); got != c.want {
			t.Errorf("%s: waits for %v, want %v", c.name, got, c.want)
		}
	}
}

// A mailbox of a link has no limit of number, and one of bytes.
func TestALinksMailboxIsLimitedInBytes(t *testing.T) {
	s := newShard(defaultTuning())
	s.core.limits = Limits{Age: time.Hour, LinkAge: time.Hour, Messages: 2, Bytes: 100, LinkBytes: 50_000}
	for i := range 500 {
		s.accept(s.now, &Message{From: "ANZ-2", To: []wire.UserID{linkUser}, Frame: make([]byte, 100), Receipt: true})
		s.accept(s.now, &Message{From: "ANZ-2", To: []wire.UserID{"ANZ-3"}, Frame: make([]byte, 100)})
		s.forgetEffects()
		if got := s.users[linkUser].waiting; got != i+1 {
			t.Fatalf("%d messages wait for the link, %d were sent", got, i+1)
		}
	}
	m := &Message{From: "ANZ-2", To: []wire.UserID{linkUser}, Frame: wrapped("ANZ-2", []wire.UserID{far}, []byte("{}"))}
	s.accept(s.now, m)
	failed := s.effects[slices.IndexFunc(s.effects, func(e effect) bool { return e.kind == effFailed })].failure
	if failed.Code != wire.CodeMailboxFull || failed.Reason != "as much waits on the way to ANZ-7 as may" {
		t.Errorf("refused with %v: %s", failed.Code, failed.Reason)
	}
	if s.users["ANZ-3"].waiting != 1 {
		t.Errorf("%d messages wait for a user", s.users["ANZ-3"].waiting)
	}
}

// The record of a road is on disk, and never changes.
func TestRoadRecordsStayAsTheyAre(t *testing.T) {
	r := &road{name: "domain-02/a", at: 1_700_000_000, low: 300}
	b := appendRoad(nil, r, &taken{place: 70_000, print: 0x0102030405060708})
	want := "0a1e" + "0b646f6d61696e2d30322f61" + "80e2cfaa06" + "ac02" + "f0a204" + "0807060504030201"
	if got := fmt.Sprintf("%x", b); got != want {
		t.Errorf("the record is %s, was %s", got, want)
	}
	rec, err := parseRoad(b[2:])
	if err != nil || *rec != (roadRecord{"domain-02/a", 1_700_000_000, 300, 70_000, 0x0102030405060708}) {
		t.Errorf("it is read as %+v, %v", rec, err)
	}
	for i := range b[2:] {
		if _, err := parseRoad(b[2 : 2+i]); err == nil {
			t.Errorf("a record that is cut off at %d is read", i)
		}
	}
	if uint64(rec.at) > math.MaxUint32 {
		t.Error("its time is too large")
	}
}
