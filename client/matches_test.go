package client_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestAMatchIsAskedForAndWhatComesOfItComesToOnFrame(t *testing.T) {
	const ticket, match = "0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081", "0199a3e2-8d00-7000-8000-000000000001"
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.OnConfirmation = func(reference string) { l.add("confirmed %s", reference) }
		o.OnFrame = func(f wire.ServerFrame) {
			if f.Type != wire.TypeMatched {
				l.add("frame %s", f.Type)
				return
			}
			var m client.Matched
			if err := json.Unmarshal(f.Data, &m); err != nil {
				t.Error(err)
			}
			l.add("matched %s %v %v", m.Match, m.Peers, m.Properties)
		}
		c, p := dial(t, s, o)
		lat, lon := 50.1, 8.6
		go func() {
			id, err := c.Match(t.Context(), client.MatchRequest{Pool: "p", Lat: &lat, Lon: &lon, Radius: 100, Query: map[string]any{"a": 1}})
			l.add("ticket %s %v", id, err)
		}()
		before, reference, _ := strings.Cut(p.expect("MATCH_REQUEST"), `,"reference":`)
		if before != `{"type":"MATCH_REQUEST","data":{"pool":"p","lat":50.1,"lon":8.6,"radius":100,"query":{"a":1}}` {
			t.Errorf("sent %s", before)
		}
		p.send(`{"type":"MATCH_WAITING","data":{"ticket":"` + ticket + `","pool":"p"},"reference":` + reference)
		l.expect(t, "ticket "+ticket+" <nil>")
		p.send(`{"type":"MATCHED","data":{"match":"` + match + `","ticket":"` + ticket + `","pool":"p","peers":["a-1"],"properties":{"a-1":{"x":2}}},"reference":` + reference)
		l.expect(t, "matched "+match+" [a-1] map[a-1:map[x:2]]")
		id, _ := wire.ParseID(match)
		if err := c.SendMatch(t.Context(), id, "hi", client.MatchSend{Reliable: true, To: []wire.UserID{"a-1"}, Reference: "r1"}); err != nil {
			t.Error(err)
		}
		if got := p.expect("MATCH_MESSAGE"); got != `{"type":"MATCH_MESSAGE","data":{"match":"`+match+`","content":"hi","to":["a-1"]},"feature":"RELIABLE","reference":"r1"}` {
			t.Errorf("sent %s", got)
		}
		p.send(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r1"}}`)
		l.expect(t, "confirmed r1")
		if err := c.SendMatch(t.Context(), id, "hi", client.MatchSend{}); err != nil {
			t.Error(err)
		}
		if got := p.expect("MATCH_MESSAGE"); got != `{"type":"MATCH_MESSAGE","data":{"match":"`+match+`","content":"hi"}}` {
			t.Errorf("sent %s", got)
		}
		go func() { l.add("left %v", c.LeaveMatch(t.Context(), id)) }()
		_, reference, _ = strings.Cut(p.expect("MATCH_LEAVE"), `,"reference":`)
		p.send(`{"type":"MATCH_LEFT","data":{"match":"` + match + `","pool":"p"},"reference":` + reference)
		l.expect(t, "left <nil>")
		go func() { l.add("canceled %v", c.CancelMatch(t.Context(), id)) }()
		_, reference, _ = strings.Cut(p.expect("MATCH_CANCEL"), `,"reference":`)
		p.send(`{"type":"GENERAL_ERROR","data":{"code":"NOT_FOUND","reason":"no"},"reference":` + reference)
		l.expect(t, "canceled GENERAL_ERROR: NOT_FOUND: no")
	})
}
