package client_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestAnAnswerComesToWhoeverAskedAndNewsToOnFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.OnFrame = func(f wire.ServerFrame) { l.add("frame %s %s", f.Type, f.Data) }
		o.OnError = func(e *wire.Error, _ string) { l.add("error %s", e.Code) }
		c, p := dial(t, s, o)
		ask := func(typ wire.Type, data any) {
			f, err := c.Ask(t.Context(), typ, data)
			l.add("%s %s %v", f.Type, f.Data, err)
		}
		go ask(wire.TypeRoomSend, map[string]any{"room": "r", "content": json.RawMessage(`{"a": 1}`)})
		sent := p.expect("ROOM_SEND")
		before, reference, _ := strings.Cut(sent, `,"reference":`)
		if before != `{"type":"ROOM_SEND","data":{"content":{"a":1},"room":"r"}` {
			t.Errorf("sent %s", sent)
		}
		p.send(`{"type":"ROOM_MESSAGE","data":{"seq":1}}`, `{"type":"ROOM_SENT","data":{"seq":2},"reference":`+reference)
		got := []string{<-l.lines, <-l.lines} // who asked and who listens are two goroutines
		slices.Sort(got)
		if want := []string{`ROOM_SENT {"seq":2} <nil>`, `frame ROOM_MESSAGE {"seq":1}`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}

		go ask(wire.TypeRoomJoin, json.RawMessage(`{"room":"r"}`))
		_, reference, _ = strings.Cut(p.expect("ROOM_JOIN"), `,"reference":`)
		p.send(`{"type":"GENERAL_ERROR","data":{"code":"NOT_FOUND","reason":"no"},"reference":` + reference)
		l.expect(t, "UNKNOWN  GENERAL_ERROR: NOT_FOUND: no")

		go ask(wire.TypeRoomList, json.RawMessage(`{}`))
		p.expect("ROOM_LIST")
		p.end(1012)
		l.expect(t, "UNKNOWN  client: not connected")
		if _, err := c.Ask(t.Context(), wire.TypeMessage, json.RawMessage(`{}`)); err == nil {
			t.Error("what is no frame about rooms was sent")
		}
	})
}
