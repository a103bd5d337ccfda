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
