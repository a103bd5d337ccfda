package client_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhoIsAroundIsAskedForAndChangesComeToOnFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.OnFrame = func(f wire.ServerFrame) {
			switch f.Type {
			case wire.TypeNearby, wire.TypeNearbyEnter, wire.TypeNearbyMove:
				var n client.Nearby
				if err := json.Unmarshal(f.Data, &n); err != nil {
					t.Error(err)
				}
				l.add("%s %s %d", f.Type, n.ID, len(n.Users))
			case wire.TypeNearbyLeave:
				var n client.NearbyLeave
				if err := json.Unmarshal(f.Data, &n); err != nil {
					t.Error(err)
				}
				l.add("%s %v", f.Type, n.Users)
			default:
				l.add("frame %s", f.Type)
			}
		}
		c, p := dial(t, s, o)
		speed := 1.5
		if err := c.SetPosition(t.Context(), client.Position{Lat: 1, Lon: 2, Speed: &speed}); err != nil {
			t.Error(err)
		}
		if got := p.expect("POSITION"); got != `{"type":"POSITION","data":{"lat":1,"lon":2,"speed":1.5}}` {
			t.Errorf("sent %s", got)
		}
		answers := make(chan client.Nearby, 1)
		go func() {
			n, err := c.WatchNearby(t.Context(), "map", client.Area{Lat: 1, Lon: 2, Radius: 3})
			if err != nil {
				t.Error(err)
			}
			answers <- n
		}()
		before, reference, _ := strings.Cut(p.expect("NEARBY_WATCH"), `,"reference":`)
		if before != `{"type":"NEARBY_WATCH","data":{"id":"map","lat":1,"lon":2,"radius":3}` {
			t.Errorf("sent %s", before)
		}
		p.send(`{"type":"NEARBY","data":{"id":"map","users":[{"userId":"a-1","name":"Ann","lat":1,"lon":2,"at":"2026-11-26T10:00:00.000Z","distance":4.5}],"total":1},"reference":` + reference)
		n := <-answers
		if len(n.Users) != 1 || n.Users[0].UserID != "a-1" || n.Users[0].Name != "Ann" || n.Users[0].Distance != 4.5 || n.Users[0].At.Year() != 2026 {
			t.Errorf("got %+v", n)
		}
		l.expect(t, "NEARBY map 1")
		p.send(`{"type":"NEARBY_ENTER","data":{"id":"map","users":[{"userId":"a-2","lat":1,"lon":2,"at":"2026-11-26T10:00:00.000Z","distance":4}]}}`)
		l.expect(t, "NEARBY_ENTER map 1")
		p.send(`{"type":"NEARBY_LEAVE","data":{"id":"map","users":["a-1"]}}`)
		l.expect(t, "NEARBY_LEAVE [a-1]")
		if err := c.UnwatchNearby(t.Context(), "map"); err != nil {
			t.Error(err)
		}
		if got := p.expect("NEARBY_UNWATCH"); got != `{"type":"NEARBY_UNWATCH","data":{"id":"map"}}` {
			t.Errorf("sent %s", got)
		}
		go func() { l.add("hidden %v", c.HidePosition(t.Context())) }()
		_, reference, _ = strings.Cut(p.expect("POSITION_HIDE"), `,"reference":`)
		p.send(`{"type":"POSITION_HIDDEN","data":{},"reference":` + reference)
		l.expect(t, "hidden <nil>")
	})
}

func TestAViewAddsUpUsersThenCountsThenUsersAgain(t *testing.T) {
	v := client.NewNearbyView("map")
	take := func(typ wire.Type, data string) bool {
		return v.Take(wire.ServerFrame{Type: typ, Data: []byte(data)})
	}
	is := func(total int, users ...wire.UserID) {
		t.Helper()
		for _, user := range users {
			if _, there := v.Users[user]; !there {
				t.Errorf("%s is not in view", user)
			}
		}
		if len(v.Users) != len(users) || v.Total() != total {
			t.Errorf("in view are %v, altogether %d, not %v and %d", v.Users, v.Total(), users, total)
		}
	}
	is(0)
	take(wire.TypeNearby, `{"id":"map","users":[{"userId":"a-1","lat":1,"lon":2},{"userId":"a-2","lat":1,"lon":2}],"total":2}`)
	take(wire.TypeNearbyEnter, `{"id":"map","users":[{"userId":"a-3","lat":3,"lon":4}]}`)
	take(wire.TypeNearbyMove, `{"id":"map","users":[{"userId":"a-2","lat":5,"lon":6}]}`)
	take(wire.TypeNearbyLeave, `{"id":"map","users":["a-1"]}`)
	if is(2, "a-2", "a-3"); v.Users["a-2"].Lat != 5 || v.Cells != nil {
		t.Errorf("got %+v", v)
	}
	for typ, data := range map[wire.Type]string{
		wire.TypeNearby: `{"id":"other","users":[],"total":0}`, wire.TypeNearbyLeave: `{"id":"other","users":["a-2"]}`,
		wire.TypeNearbyMove: `{"id":7}`, wire.TypeMatched: `{"id":"map"}`,
	} {
		if take(typ, data) {
			t.Errorf("%s %s was taken", typ, data)
		}
	}
	is(2, "a-2", "a-3")
	take(wire.TypeNearby, `{"id":"map","cells":[{"lat":1,"lon":2,"count":4},{"lat":3,"lon":4,"count":5}],"total":9}`)
	is(9)
	take(wire.TypeNearbyMove, `{"id":"map","cells":[{"lat":1,"lon":2,"count":0},{"lat":3,"lon":4,"count":6}]}`)
	if is(6); len(v.Cells) != 1 {
		t.Errorf("got %+v", v.Cells)
	}
	if !take(wire.TypeNearby, `{"id":"map","users":[],"total":0}`) {
		t.Error("the whole was not taken")
	}
	if is(0); v.Cells != nil {
		t.Errorf("got %+v", v.Cells)
	}
}
