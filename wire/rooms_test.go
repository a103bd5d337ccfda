package wire_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	aRoom    = "0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"
	aMessage = "0199a3e2-8d00-7000-8000-000000000001"
)

// askOf parses a frame about rooms.
func askOf(t *testing.T, typ wire.Type, data string) (wire.RoomAsk, *wire.Error) {
	t.Helper()
	f, err := wire.ParseFrame([]byte(`{"type":"` + typ.String() + `","data":` + data + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return wire.ParseRoom(&f)
}

func TestFramesAboutRoomsSayWhatTheyAskFor(t *testing.T) {
	room, _ := wire.ParseID(aRoom)
	message, _ := wire.ParseID(aMessage)
	name, banner, yes := "tea", "", true
	for _, c := range []struct {
		typ  wire.Type
		data string
		want wire.RoomAsk
	}{
		{wire.TypeRoomSend, `{"room":"` + aRoom + `","content":{"a": 1},"clientId":"c","x":1}`, wire.RoomAsk{Room: room, Content: []byte(`{"a": 1}`), ClientID: "c"}},
		{wire.TypeRoomSend, `{"room":"` + aRoom + `@domain-02","content":false}`, wire.RoomAsk{Room: room, Domain: "domain-02", Content: []byte(`false`)}},
		{wire.TypeRoomEdit, `{"room":"` + aRoom + `","id":"` + aMessage + `","content":""}`, wire.RoomAsk{Room: room, ID: message, Content: []byte(`""`)}},
		{wire.TypeRoomHistory, `{"room":"` + aRoom + `","after":0,"limit":200}`, wire.RoomAsk{Room: room, FromStart: true, Limit: wire.MaxRoomPage}},
		{wire.TypeRoomHistory, `{"room":"` + aRoom + `","before":7,"after":null}`, wire.RoomAsk{Room: room, Before: 7}},
		{wire.TypeRoomSearch, `{"room":"` + aRoom + `","words":"\u0061 b","before":9,"limit":3}`, wire.RoomAsk{Room: room, Words: "a b", Before: 9, Limit: 3}},
		{wire.TypeRoomRead, `{"room":"` + aRoom + `","seq":0}`, wire.RoomAsk{Room: room}},
		{wire.TypeRoomCreate, `{"name":"tea","public":true,"banner":""}`, wire.RoomAsk{Name: &name, Public: &yes, Banner: &banner}},
		{wire.TypeRoomCreate, `{"with":"chat-2"}`, wire.RoomAsk{With: "chat-2"}},
		{wire.TypeRoomList, `{"after":"17"}`, wire.RoomAsk{Place: "17"}},
		{wire.TypeRoomRole, `{"room":"` + aRoom + `","user":"chat-2","role":"owner"}`, wire.RoomAsk{Room: room, User: "chat-2", Role: "owner"}},
		{wire.TypeRoomMembers, `{"room":"` + aRoom + `","after":"5"}`, wire.RoomAsk{Room: room, Place: "5"}},
		{wire.TypeRoomClose, `{"room":"` + aRoom + `"}`, wire.RoomAsk{Room: room}},
	} {
		c.want.Type = c.typ
		if c.want.Limit == 0 {
			c.want.Limit = wire.DefaultRoomPage
		}
		got, err := askOf(t, c.typ, c.data)
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(c.want)
		if err != nil || string(a) != string(b) {
			t.Errorf("%s %s: %v\n%s\n%s", c.typ, c.data, err, a, b)
		}
	}
	if _, err := wire.ParseRoom(&wire.Frame{Type: wire.TypeRoomList}); err != nil {
		t.Errorf("a list needs no data: %v", err)
	}
}

func TestFramesAboutRoomsThatAreWrongSayWhere(t *testing.T) {
	room := `"room":"` + aRoom + `"`
	for _, c := range []struct {
		typ         wire.Type
		data        string
		code, field string
	}{
		{wire.TypeRoomSend, `{"content":1}`, wire.CodeMissingField, "data.room"},
		{wire.TypeRoomSend, `{` + room + `,"content":null}`, wire.CodeMissingField, "data.content"},
		{wire.TypeRoomSend, `{` + room + `,"content":1,"content":2}`, wire.CodeBadField, "data.content"},
		{wire.TypeRoomSend, `{"room":7,"content":1}`, wire.CodeBadField, "data.room"},
		{wire.TypeRoomSend, `{"room":"tea","content":1}`, wire.CodeBadField, "data.room"},
		{wire.TypeRoomSend, `{"room":"` + aRoom + `@","content":1}`, wire.CodeBadField, "data.room"},
		{wire.TypeRoomSend, `{` + room + `,"content":1,"clientId":""}`, wire.CodeBadField, "data.clientId"},
		{wire.TypeRoomSend, `{` + room + `,"content":1,"clientId":"a\u0000"}`, wire.CodeBadField, "data.clientId"},
		{wire.TypeRoomSend, `{` + room + `,"content":1,"clientId":"` + strings.Repeat("x", wire.MaxClientID+1) + `"}`, wire.CodeBadField, "data.clientId"},
		{wire.TypeRoomDelete, `{` + room + `,"id":"7"}`, wire.CodeBadField, "data.id"},
		{wire.TypeRoomHistory, `{` + room + `,"before":0}`, wire.CodeBadField, "data.before"},
		{wire.TypeRoomHistory, `{` + room + `,"before":"7"}`, wire.CodeBadField, "data.before"},
		{wire.TypeRoomHistory, `{` + room + `,"before":1.5}`, wire.CodeBadField, "data.before"},
		{wire.TypeRoomHistory, `{` + room + `,"before":9007199254740992}`, wire.CodeBadField, "data.before"},
		{wire.TypeRoomHistory, `{` + room + `,"after":-1}`, wire.CodeBadField, "data.after"},
		{wire.TypeRoomHistory, `{` + room + `,"before":5,"after":2}`, wire.CodeBadField, "data.after"},
		{wire.TypeRoomHistory, `{` + room + `,"limit":0}`, wire.CodeBadField, "data.limit"},
		{wire.TypeRoomHistory, `{` + room + `,"limit":201}`, wire.CodeBadField, "data.limit"},
		{wire.TypeRoomHistory, `{` + room + `,"limit":[]}`, wire.CodeBadField, "data.limit"},
		{wire.TypeRoomSearch, `{` + room + `}`, wire.CodeMissingField, "data.words"},
		{wire.TypeRoomRead, `{` + room + `}`, wire.CodeMissingField, "data.id"},
		{wire.TypeRoomCreate, `{"name":"tea","public":1}`, wire.CodeBadField, "data.public"},
		{wire.TypeRoomInvite, `{` + room + `,"user":"chat"}`, wire.CodeBadField, "data.user"},
		{wire.TypeRoomMembers, `{` + room + `,"after":5}`, wire.CodeBadField, "data.after"},
		{wire.TypeRoomMembers, `{` + room + `,"after":""}`, wire.CodeBadField, "data.after"},
	} {
		_, err := askOf(t, c.typ, c.data)
		if err == nil || err.Code != c.code || err.Field != c.field || err.Kind != wire.KindInvalidMessage {
			t.Errorf("%s %s: %v, want %s of %s", c.typ, c.data, err, c.code, c.field)
		}
	}
}

// What is written is JSON as everybody reads it, in one line.
func TestDataAboutRoomsIsWrittenAsItIs(t *testing.T) {
	room, _ := wire.ParseID(aRoom)
	message, _ := wire.ParseID(aMessage)
	at := time.UnixMilli(1_764_151_200_007)
	const when = "2025-11-26T10:00:00.007Z"
	info := wire.RoomInfo{ID: room, Name: "a \"b\"", Creator: "chat-1", CreatedAt: at, Members: 3, LastSeq: 9, LastAt: at}
	mine := info
	mine.Mine, mine.Deleted, mine.OneToOne = &wire.RoomMine{Role: "owner", ReadSeq: 4, Unread: 5, With: "chat-2"}, true, true
	const plain = `{"id":"` + aRoom + `","name":"a \"b\"","banner":"","public":false,"oneToOne":false,"creator":"chat-1","createdAt":"` + when + `","members":3,"lastSeq":9,"lastAt":"` + when + `"`
	const place = `{"room":"` + aRoom + `","id":"` + aMessage + `","seq":9`
	entry := wire.RoomEntry{ID: message, Seq: 9, From: "chat-1", Content: []byte(`[1]`), At: at, EditedAt: at, EditedBy: "chat-2"}
	for want, data := range map[string]wire.RoomData{
		plain + `}`: &info,
		strings.Replace(plain, `"oneToOne":false`, `"oneToOne":true`, 1) + `,"role":"owner","readSeq":4,"unread":5,"with":"chat-2","deleted":true}`: &mine,
		`{"rooms":[` + plain + `},` + plain + `}],"next":"7"}`: &wire.RoomList{Rooms: []wire.RoomInfo{info, info}, Next: "7"},
		`{"rooms":[]}`: &wire.RoomList{},
		place + `,"at":"` + when + `","clientId":"c"}`:                     &wire.RoomSent{Room: room, ID: message, Seq: 9, At: at, ClientID: "c"},
		place + `,"from":"chat-1","content":{"x": 1},"at":"` + when + `"}`: &wire.RoomMessage{Room: room, ID: message, Seq: 9, From: "chat-1", Content: []byte(`{"x": 1}`), At: at},
		place + `,"by":"chat-1","at":"` + when + `","deleted":true}`:       &wire.RoomChange{Room: room, ID: message, Seq: 9, By: "chat-1", At: at},
		place + `,"by":"chat-1","at":"` + when + `","content":7}`:          &wire.RoomChange{Room: room, ID: message, Seq: 9, By: "chat-1", At: at, Content: []byte(`7`)},
		`{"room":"` + aRoom + `","words":"a","messages":[{"id":"` + aMessage + `","seq":9,"from":"chat-1","content":[1],"at":"` + when + `","editedAt":"` + when + `","editedBy":"chat-2"}],"more":true,"before":9}`: &wire.RoomPage{Room: room, Words: "a", Messages: []wire.RoomEntry{entry}, More: true, Before: 9},
		`{"room":"` + aRoom + `","messages":[{"id":"` + aMessage + `","seq":9,"from":"chat-1","at":"` + when + `","deleted":true,"deletedAt":"` + when + `","deletedBy":"chat-2"}],"more":false}`:                    &wire.RoomPage{Room: room, Messages: []wire.RoomEntry{{ID: message, Seq: 9, From: "chat-1", At: at, DeletedAt: at, DeletedBy: "chat-2"}}},
		`{"room":"` + aRoom + `","user":"chat-1","seq":9,"at":"` + when + `"}`:                                     &wire.RoomMark{Room: room, User: "chat-1", Seq: 9, At: at},
		`{"room":"` + aRoom + `","user":"chat-1"}`:                                                                 &wire.RoomTyping{Room: room, User: "chat-1"},
		`{"room":"` + aRoom + `","user":"chat-1","role":"member","by":"chat-2"}`:                                   &wire.RoomMembership{Room: room, User: "chat-1", Role: "member", By: "chat-2"},
		`{"room":"` + aRoom + `","user":"chat-1","by":"chat-2","reason":"removed"}`:                                &wire.RoomMembership{Room: room, User: "chat-1", By: "chat-2", Reason: wire.ReasonRemoved},
		`{"room":"` + aRoom + `","members":[{"user":"chat-1","role":"owner","since":"` + when + `","readSeq":4}]}`: &wire.RoomMembers{Room: room, Members: []wire.RoomMember{{User: "chat-1", Role: "owner", Since: at, ReadSeq: 4}}},
		`{"room":"` + aRoom + `","bans":[{"user":"chat-1","by":"chat-2","at":"` + when + `"}],"next":"1"}`:         &wire.RoomBans{Room: room, Bans: []wire.RoomBan{{User: "chat-1", By: "chat-2", At: at}}, Next: "1"},
		place + `,"versions":[{"content":1,"by":"chat-1","at":"` + when + `"},{"by":"chat-1","at":"` + when + `","deleted":true}]}`: &wire.RoomVersions{Room: room, ID: message, Seq: 9, Versions: []wire.RoomVersion{
			{Content: []byte(`1`), By: "chat-1", At: at}, {By: "chat-1", At: at, Deleted: true},
		}},
	} {
		if got := string(data.AppendData(nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		frame := wire.AppendRoomFrame(nil, wire.TypeRoomChanged, data, []byte(`"r"`))
		if f, err := wire.ParseServerFrame(frame); err != nil || string(f.Data) != want || string(f.Reference) != `"r"` || f.Type != wire.TypeRoomChanged {
			t.Errorf("%s: %+v, %v", frame, f, err)
		}
	}
}

// The strings of a value are those that a general reader finds in it, in their order.
func TestTheStringsOfAValueAreThoseThatAReaderFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []string
		b := appendValue(t, nil, 3, &want)
		var got []string
		wire.EachString(b, func(text []byte) { got = append(got, string(text)) })
		if !json.Valid(b) || !slices.Equal(got, want) {
			t.Fatalf("%s: %q, want %q", b, got, want)
		}
	})
}

// appendValue writes some JSON value, and notes the strings in it.
func appendValue(t *rapid.T, b []byte, depth int, texts *[]string) []byte {
	space := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "space")
	kind := rapid.IntRange(0, 4).Draw(t, "kind")
	switch {
	case kind < 2:
		text := rapid.String().Draw(t, "text")
		*texts = append(*texts, text)
		quoted, _ := json.Marshal(text)
		return append(b, quoted...)
	case kind == 2 || depth == 0:
		return append(b, rapid.SampledFrom([]string{"true", "null", "-1.5e3"}).Draw(t, "scalar")...)
	}
	object := kind == 3
	b = append(b, map[bool]byte{true: '{', false: '['}[object])
	for i := range rapid.IntRange(0, 4).Draw(t, "members") {
		if i > 0 {
			b = append(b, ',')
		}
		if object {
			name, _ := json.Marshal(rapid.String().Draw(t, "name"))
			b = append(append(append(b, name...), space...), ':')
		}
		b = append(appendValue(t, append(b, space...), depth-1, texts), space...)
	}
	return append(b, map[bool]byte{true: '}', false: ']'}[object])
}
