package wire_test

import (
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Whatever a client sends about rooms is read or refused by name, and what was read is
// within what the type may have.
func FuzzParseRoom(f *testing.F) {
	f.Add([]byte(`{"type":"ROOM_SEND","data":{"room":"` + aRoom + `@x","content":{"a":[1]},"clientId":"c"}}`))
	f.Add([]byte(`{"type":"ROOM_HISTORY","data":{"room":"` + aRoom + `","after":0,"limit":9}}`))
	f.Add([]byte(`{"type":"ROOM_CREATE","data":{"with":"chat-2"}}`))
	f.Add([]byte(`{"type":"ROOM_READ","data":{"room":"` + aRoom + `","seq":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := wire.ParseFrame(b)
		if err != nil || !frame.Type.OfRooms() {
			return
		}
		ask, err := wire.ParseRoom(&frame)
		switch {
		case err != nil && (err.Kind != wire.KindInvalidMessage || err.Field == "" || err.Code == ""):
			t.Fatalf("%s: %+v", b, err)
		case err == nil && (ask.Limit < 1 || ask.Limit > wire.MaxRoomPage || ask.Before > wire.MaxSeq || len(ask.ClientID) > wire.MaxClientID):
			t.Fatalf("%s: %+v", b, ask)
		}
		if ask.Content != nil {
			wire.EachString(ask.Content, func([]byte) {})
		}
	})
}
