package socket

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/nearby"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// people keeps positions as the test says: put and hide answer, and watches are noted.
type people struct {
	put, hide, watch error

	mu      sync.Mutex
	came    []string
	outlet  nearby.Outlet
	waiting []func(error) // hides that are answered by the test; nil: at once
	hold    bool
}

func (p *people) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came = append(p.came, fmt.Sprintf(format, args...))
}

func (p *people) notes() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.came, ", ")
}

func (p *people) Put(app, user string, at nearby.Position, done func(error)) {
	p.note("%s %s at %v %v, speed %v", app, user, at.Lat, at.Lon, at.Speed)
	done(p.put)
}

func (p *people) Hide(app, user string, done func(error)) {
	p.note("%s %s hides", app, user)
	p.mu.Lock()
	hold := p.hold
	if hold {
		p.waiting = append(p.waiting, done)
	}
	p.mu.Unlock()
	if !hold {
		done(p.hide)
	}
}

func (p *people) Watch(app, user string, o nearby.Outlet) NearbyWatches {
	p.note("%s %s looks", app, user)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outlet = o
	return lookout{p}
}

// told returns where the session that watches is told.
func (p *people) told(t *testing.T) nearby.Outlet {
	t.Helper()
	waitFor(t, "somebody watches", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.outlet != nil
	})
	return p.outlet
}

type lookout struct{ p *people }

func (l lookout) Watch(id string, v nearby.View, reference []byte) error {
	l.p.note("watch %s %v %s", id, v, reference)
	return l.p.watch
}

func (l lookout) Unwatch(id string) error {
	l.p.note("unwatch %s", id)
	return l.p.watch
}

func (l lookout) Close() { l.p.note("looks away") }

func withPeople(p *people) rigOption { return func(o *Options) { o.Nearby = p } }

// marker has a frame answered that comes after all that was sent before.
func marker(p *peer) {
	p.t.Helper()
	p.send("[")
	p.text(`{"type":"INVALID_MESSAGE","data":{"code":"NOT_JSON","reason":"the frame is not a JSON object"}}`)
}

func TestAServerWithoutPositionsSaysSo(t *testing.T) {
	r := newRig(t, func(o *Options) { o.NearbyOff = "set nearby.enabled" })
	p := r.join("ANZ-7", "")
	for _, typ := range []string{"POSITION", "POSITION_HIDE", "NEARBY_WATCH", "NEARBY_UNWATCH"} {
		p.send(`{"type":"` + typ + `","reference":"r1"}`)
		p.text(`{"type":"GENERAL_ERROR","data":{"code":"NEARBY_OFF","reason":"set nearby.enabled"},"reference":"r1"}`)
	}
}

func TestAPositionIsTheUsersAndIsNotAnswered(t *testing.T) {
	x := new(people)
	p := newRig(t, withPeople(x)).join("ANZ-7", "")
	p.send(`{"type":"POSITION","data":{"lat":47.5,"lon":-8.25,"speed":3},"reference":"r1"}`)
	marker(p)
	if got := x.notes(); got != "ANZ ANZ-7 at 47.5 -8.25, speed {3 true}" {
		t.Error(got)
	}
}

func TestWhatIsWrongWithAPositionIsTold(t *testing.T) {
	x := &people{put: &nearby.Refusal{Code: wire.CodeBadField, Field: "at", Reason: "is more than 10 s ahead of the server's clock"}}
	p := newRig(t, withPeople(x)).join("ANZ-7", "")
	p.send(`{"type":"POSITION","data":{"lat":1,"lon":2},"reference":"r1"}`)
	p.text(`{"type":"INVALID_MESSAGE","data":{"code":"BAD_FIELD","reason":"data.at is more than 10 s ahead of the server's clock"},"reference":"r1"}`)
	p.send(`{"type":"POSITION","data":{"lat":91,"lon":2},"reference":"r2"}`)
	p.text(`{"type":"INVALID_MESSAGE","data":{"code":"BAD_FIELD","reason":"data.lat has to be a number of degrees from -90 to 90"},"reference":"r2"}`)
	if got := x.notes(); strings.Contains(got, "91") {
		t.Errorf("what is out of range was taken in: %s", got)
	}
}

func TestTooManyPositionsAndKeepersOutOfReachAreTold(t *testing.T) {
	x := &people{put: &nearby.Refusal{Code: wire.CodeTooMany, Reason: "a user may send 10 positions a second"}, hide: errors.New("nobody keeps it")}
	p := newRig(t, withPeople(x)).join("ANZ-7", "")
	p.send(`{"type":"POSITION","data":{"lat":1,"lon":2},"reference":"r1"}`)
	p.text(`{"type":"GENERAL_ERROR","data":{"code":"TOO_MANY","reason":"a user may send 10 positions a second"},"reference":"r1"}`)
	p.send(`{"type":"POSITION_HIDE","reference":"r2"}`)
	p.text(`{"type":"GENERAL_ERROR","data":{"code":"STORE_DOWN","reason":"the server that keeps this does not answer at present: nobody keeps it"},"reference":"r2"}`)
}

func TestHidingIsAnsweredWhenItIsDone(t *testing.T) {
	x := &people{hold: true}
	p := newRig(t, withPeople(x)).join("ANZ-7", "")
	p.send(`{"type":"POSITION_HIDE","reference":"r1"}`)
	marker(p)
	x.waiting[0](nil)
	p.text(`{"type":"POSITION_HIDDEN","data":{},"reference":"r1"}`)
}

func TestAWatchIsToldWhatTheRoomTells(t *testing.T) {
	x := new(people)
	names := map[wire.UserID]string{"ANZ-8": "Ann"}
	var known bool
	p := newRig(t, withPeople(x), func(o *Options) {
		o.Names = func([]wire.UserID) (map[wire.UserID]string, bool) { return names, known }
	}).join("ANZ-7", "")
	p.send(`{"type":"NEARBY_WATCH","data":{"id":"m","lat":1,"lon":2,"radius":3},"reference":"r1"}`)
	p.send(`{"type":"NEARBY_WATCH","data":{"id":"n","bbox":[1,2,3,4]}}`)
	p.send(`{"type":"NEARBY_UNWATCH","data":{"id":"n"}}`)
	marker(p)
	if got := x.notes(); got != `ANZ ANZ-7 looks, watch m {false 1 2 3 0 0 0 0} "r1", watch n {true 0 0 0 1 2 3 4} , unwatch n` {
		t.Error(got)
	}
	o := x.told(t)
	ann := nearby.User{User: "ANZ-8", Position: nearby.Position{Lat: 1, Lon: 2, At: time.UnixMilli(1_795_687_200_000), Heading: nearby.Measure{Value: 9, Given: true}}, Distance: 0.5}
	const told = `{"userId":"ANZ-8","name":"Ann","lat":1,"lon":2,"at":"2026-11-26T10:00:00.000Z","distance":0.5,"heading":9}`
	if o.Answer("m", nearby.Answer{Users: []nearby.User{ann}, Total: 1}, []byte(`"r1"`)) || o.Enter("m", []nearby.User{ann}) {
		t.Error("somebody was told of before the name is known")
	}
	known = true
	for _, c := range []struct {
		taken bool
		want  string
	}{
		{o.Answer("m", nearby.Answer{Users: []nearby.User{ann}, Total: 1}, []byte(`"r1"`)), `{"type":"NEARBY","data":{"id":"m","users":[` + told + `],"total":1},"reference":"r1"}`},
		{o.Answer("m", nearby.Answer{}, nil), `{"type":"NEARBY","data":{"id":"m","users":[],"total":0}}`},
		{o.Answer("m", nearby.Answer{Cells: []nearby.Cell{{Lat: 1, Lon: 2, Count: 5}}, Total: 5}, nil), `{"type":"NEARBY","data":{"id":"m","cells":[{"lat":1,"lon":2,"count":5}],"total":5}}`},
		{o.Enter("m", []nearby.User{ann}), `{"type":"NEARBY_ENTER","data":{"id":"m","users":[` + told + `]}}`},
		{o.Move("m", []nearby.User{ann}), `{"type":"NEARBY_MOVE","data":{"id":"m","users":[` + told + `]}}`},
		{o.Leave("m", []string{"ANZ-8"}), `{"type":"NEARBY_LEAVE","data":{"id":"m","users":["ANZ-8"]}}`},
		{o.Cells("m", []nearby.Cell{{Lat: 1, Lon: 2}}), `{"type":"NEARBY_MOVE","data":{"id":"m","cells":[{"lat":1,"lon":2,"count":0}]}}`},
		{o.Trouble("m", []byte(`"r1"`), errors.New("nobody")), `{"type":"GENERAL_ERROR","data":{"code":"STORE_DOWN","reason":"the server that keeps this does not answer at present: nobody"},"reference":"r1"}`},
	} {
		if !c.taken {
			t.Errorf("there is no room for %s", c.want)
		}
		p.text(c.want)
	}
}

func TestAWatchThatIsRefusedIsAnsweredWithAnError(t *testing.T) {
	x := &people{watch: &nearby.Refusal{Code: wire.CodeTooMany, Reason: "a session has at most 8 watches"}}
	p := newRig(t, withPeople(x)).join("ANZ-7", "")
	p.send(`{"type":"NEARBY_WATCH","data":{"id":"m","lat":1,"lon":2,"radius":3},"reference":"r1"}`)
	p.text(`{"type":"GENERAL_ERROR","data":{"code":"TOO_MANY","reason":"a session has at most 8 watches"},"reference":"r1"}`)
}

// A client that does not read is told nothing more, and is not closed for it: what it
// missed it is told later. What is larger than its queue is told when that is empty.
func TestAWatcherWithoutRoomIsNotTold(t *testing.T) {
	x := new(people)
	r := newRig(t, withPeople(x))
	r.limit(func(l *Limits) { l.QueueBytes = 4096 })
	p := r.join("ANZ-7", "")
	p.send(`{"type":"NEARBY_WATCH","data":{"id":"m","lat":1,"lon":2,"radius":3}}`)
	o := x.told(t)
	large := make([]nearby.User, 5000)
	for i := range large {
		large[i].User = "ANZ-8"
	}
	if !o.Enter("m", large) {
		t.Fatal("a large frame is not told, though nothing waits")
	}
	for i := 0; o.Enter("m", large); i++ {
		if i > 1000 {
			t.Fatal("there is no end to what may wait")
		}
	}
	if r.counter("sessions") != 1 {
		t.Error("the session is over")
	}
}

func TestWatchesEndWithTheSession(t *testing.T) {
	x := new(people)
	p := newRig(t, withPeople(x)).join("ANZ-7", "")
	p.send(`{"type":"NEARBY_WATCH","data":{"id":"m","lat":1,"lon":2,"radius":3}}`)
	marker(p)
	p.conn.Close()
	waitFor(t, "the session looks away", func() bool { return strings.HasSuffix(x.notes(), "looks away") })
	if x.told(t).Leave("m", []string{"ANZ-8"}) {
		t.Error("a session that is over was told something")
	}
}
