package chat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// What a session may have missed while its rooms could not be looked at is looked for
// when they can, also where no other node is known.
func TestWhatCouldNotBeLookedAtIsLookedAtLater(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.alone = true
		one, other := w.run(), w.run()
		ann := other.client(1)
		room := ann.create("")
		ann.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":"chat-2"}`, room))
		w.store.blind.Store(true)
		bob := one.client(2)
		ann.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":"x"}`, room)) // of which the node of bob is not told
		w.store.blind.Store(false)
		if f := bob.until("ROOM_MESSAGE"); f.in.Seq != 1 {
			t.Errorf("bob heard %s", f.Data)
		}
	})
}

// While the database is gone senders hear so, and what its end left open is said to be.
func TestADatabaseThatIsGoneIsSaidAndComesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		room := ann.create("")
		w.store.fault.Store(&errGone)
		data := fmt.Sprintf(`{"room":%q,"content":"x","clientId":"c"}`, room)
		if f := ann.ask("ROOM_SEND", data); f.code() != wire.CodeStoreDown || strings.Contains(string(f.Data), "mayYetArrive") {
			t.Errorf("sent: %s", f.Data)
		}
		if f := ann.ask("ROOM_CREATE", `{"name":"a"}`); f.code() != wire.CodeStoreDown {
			t.Errorf("created: %s", f.Data)
		}
		w.store.fault.Store(nil)
		unknown := errors.Join(errGone, chat.ErrUnknown)
		w.store.late.Store(&unknown)
		if f := ann.ask("ROOM_SEND", data); f.code() != wire.CodeStoreDown || !strings.Contains(string(f.Data), `"mayYetArrive":true`) {
			t.Errorf("sent without an answer of the database: %s", f.Data)
		}
		w.store.late.Store(nil)
		if f := ann.ask("ROOM_SEND", data); f.in.Seq != 1 {
			t.Errorf("sent again: %s", f.Data)
		}
		full := errors.Join(chat.ErrFull)
		w.store.fault.Store(&full)
		if f := ann.ask("ROOM_SEND", data); f.code() != wire.CodeStoreFull {
			t.Errorf("sent to a full disk: %s", f.Data)
		}
	})
}

// With less of the disk than its reserve nothing is kept, and what makes room is done all
// the same.
func TestOnAFullDiskPeopleLeaveDeleteAndCloseRooms(t *testing.T) {
	var free atomic.Uint64
	free.Store(100)
	w := newWorld(t, db.Options{
		Path: filepath.Join(t.TempDir(), "switchboard.db"),
		Free: func() (uint64, error) { return free.Load(), nil }, MinFree: func() uint64 { return 10 },
	})
	n := w.run()
	ann, bob, cat, dan := n.client(1), n.client(2), n.client(3), n.client(4)
	room := ann.create("", bob, cat, dan)
	id := ann.send(room, "much").in.ID
	free.Store(5)
	in := func(more string) string { return fmt.Sprintf(`{"room":%q%s}`, room, more) }
	for _, c := range []struct {
		who        *client
		kind, data string
		want       string
	}{
		{ann, "ROOM_SEND", in(`,"content":"more"`), wire.CodeStoreFull},
		{ann, "ROOM_EDIT", in(`,"content":"more","id":"` + id + `"`), wire.CodeStoreFull},
		{ann, "ROOM_CREATE", `{"name":"more"}`, wire.CodeStoreFull},
		{ann, "ROOM_BAN", in(`,"user":"chat-3"`), wire.CodeStoreFull},
		{ann, "ROOM_DELETE", in(`,"id":"` + id + `"`), "ROOM_MESSAGE_CHANGED"},
		{bob, "ROOM_LEAVE", in(""), "ROOM_MEMBER_LEFT"},
		{ann, "ROOM_REMOVE", in(`,"user":"chat-3"`), "ROOM_MEMBER_LEFT"},
	} {
		if f := c.who.ask(c.kind, c.data); f.code() != c.want {
			t.Errorf("%s: got %s %s, want %s", c.kind, f.Type, f.Data, c.want)
		}
	}
	if err := n.Forget(t.Context(), "chat-4"); err != nil {
		t.Errorf("an account cannot be deleted: %v", err)
	}
	if f := ann.ask("ROOM_CLOSE", in("")); f.code() != "ROOM_CHANGED" {
		t.Errorf("close: got %s %s", f.Type, f.Data)
	}
}

func TestLimitsOfRoomsHold(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.limits = chat.Limits{Content: 100, Members: 2, Rooms: 3, Owned: 2}
		n := w.run()
		ann, bob, cat := n.client(1), n.client(2), n.client(3)
		room := ann.create("", bob)
		want := func(f frame, code string) {
			t.Helper()
			if f.code() != code {
				t.Errorf("got %s %s, want %s", f.Type, f.Data, code)
			}
		}
		want(ann.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":"%s"}`, room, strings.Repeat("x", 99))), wire.CodeBadField)
		want(ann.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":"chat-3"}`, room)), wire.CodeTooMany)
		ann.create("")
		want(ann.ask("ROOM_CREATE", `{"name":"third"}`), wire.CodeTooMany)
		want(ann.ask("ROOM_CREATE", `{"with":"chat-3"}`), "ROOM_CHANGED")
		want(cat.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":"chat-1"}`, cat.create(""))), wire.CodeTooMany)
		want(ann.ask("ROOM_CREATE", `{"with":"chat-1"}`), wire.CodeBadField)
		want(ann.ask("ROOM_CREATE", `{"with":"chat-200000"}`), wire.CodeNotFound)
		want(ann.ask("ROOM_CREATE", `{"with":"ANZ-2"}`), wire.CodeBadField)
		want(ann.ask("ROOM_CREATE", `{"name":"  "}`), wire.CodeBadField)
		want(ann.ask("ROOM_CREATE", `{"name":"a\u0000b"}`), wire.CodeBadField)
		want(ann.ask("ROOM_CREATE", `{}`), wire.CodeMissingField)
		want(ann.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":"%s@there"}`, room)), wire.CodeWrongDomain)
		want(ann.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":"%s@here"}`, room)), "ROOM_MESSAGES")
		want(n.client(4).ask("ROOM_LIST", `{"after":"x"}`), wire.CodeBadField)
	})
}

// Rooms that others hand over, or leave to somebody, keep that one from no room of their own;
// and those that one has handed over are not one's own any more.
func TestRoomsOfOthersAreNotCountedAsThoseThatOneMade(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.limits = chat.Limits{Owned: 2}
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		for i := range 6 {
			room := ann.create("", bob)
			kind, data := "ROOM_ROLE", fmt.Sprintf(`{"room":%q,"user":"chat-2","role":"owner"}`, room)
			if i%2 == 1 {
				kind, data = "ROOM_LEAVE", fmt.Sprintf(`{"room":%q}`, room)
			}
			if f := ann.ask(kind, data); f.Type == "GENERAL_ERROR" {
				t.Fatalf("%s: %s", kind, f.Data)
			}
		}
		for name, want := range []string{"ROOM_CHANGED", "ROOM_CHANGED", wire.CodeTooMany} {
			if f := bob.ask("ROOM_CREATE", fmt.Sprintf(`{"name":"%d"}`, name)); f.code() != want {
				t.Errorf("room %d of one's own: %s %s", name, f.Type, f.Data)
			}
		}
	})
}

func TestAnExportHasTheRoomsAndWhatWasSaid(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room, left := ann.create("", bob), ann.create("", bob)
		for i := range 250 {
			bob.send(room, fmt.Sprint("said ", i))
		}
		ann.send(room, "not bob's")
		bob.send(left, "in the room that is left")
		bob.ask("ROOM_LEAVE", fmt.Sprintf(`{"room":%q}`, left))
		var out bytes.Buffer
		if err := n.Export(t.Context(), "chat-2", &out); err != nil {
			t.Fatal(err)
		}
		b := out.Bytes()
		var got struct {
			Rooms    []struct{ ID string }
			Messages []struct{ Room, Content string }
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if len(got.Rooms) != 1 || got.Rooms[0].ID != room || len(got.Messages) != 251 || got.Messages[249].Content != "said 249" || got.Messages[250].Room != left {
			t.Errorf("exported %.2000s", b)
		}
	})
}

// What a moderator has made of somebody's words is not theirs.
func TestAnExportHasOnesOwnWordsOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room := ann.create("", bob)
		own, changed := bob.send(room, "draft"), bob.send(room, "first words")
		edit := func(who *client, id, text string) {
			t.Helper()
			if f := who.ask("ROOM_EDIT", fmt.Sprintf(`{"room":%q,"id":%q,"content":%q}`, room, id, text)); f.code() != "ROOM_MESSAGE_CHANGED" {
				t.Fatalf("edit: %s", f.Data)
			}
		}
		edit(bob, own.in.ID, "final")
		edit(bob, changed.in.ID, "second words")
		edit(ann, changed.in.ID, "the owner's words")
		edit(ann, changed.in.ID, "more of the owner's words")
		var out bytes.Buffer
		if err := n.Export(t.Context(), "chat-2", &out); err != nil {
			t.Fatal(err)
		}
		for text, wanted := range map[string]bool{`"final"`: true, `"second words"`: true, "draft": false, "first words": false, "owner": false} {
			if strings.Contains(out.String(), text) != wanted {
				t.Errorf("that it has %s is not %v: %s", text, wanted, out.String())
			}
		}
	})
}

// What is accepted as content can be told in every frame and exported, and what of a
// message was is bounded.
func TestContentIsBoundedInAllThatItIsToldIn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		room := ann.create("")
		id, _ := wire.ParseID(room)
		nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
		// As over HTTP, where no frame bounds it.
		send := func(content string) error {
			_, err := n.Do(t.Context(), ann.user, &wire.RoomAsk{Type: wire.TypeRoomSend, Room: id, Content: []byte(content)})
			return err
		}
		if err := send(nested(wire.RoomContentDepth)); err != nil {
			t.Fatal(err)
		}
		var refused *wire.Error
		if err := send(nested(wire.RoomContentDepth + 1)); !errors.As(err, &refused) || refused.Code != wire.CodeTooDeep {
			t.Errorf("content that is too deep: %v", err)
		}
		for _, odd := range []string{`"\ud800"`, `{"a":1,"a":2}`} {
			if err := send(odd); err != nil {
				t.Fatal(err)
			}
		}
		f := ann.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, room))
		if _, e := wire.ParseServerFrame(f.whole); e != nil || len(f.in.Messages) != 3 {
			t.Errorf("the history cannot be read: %v", e)
		}
		var out bytes.Buffer
		if err := n.Export(t.Context(), ann.user, &out); err != nil || !json.Valid(out.Bytes()) {
			t.Errorf("exported %.2000s: %v", out.String(), err)
		}
	})
}

func TestOnlySoMuchIsKeptOfWhatAMessageWas(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.limits = chat.Limits{Content: 300 << 10}
		n := w.run()
		ann := n.client(1)
		room := ann.create("")
		for _, c := range []struct {
			text string
			most int
		}{{"x", 100}, {strings.Repeat("x", 256<<10), 5}} { // the first was small
			id := ann.send(room, "small").in.ID
			edit := fmt.Sprintf(`{"room":%q,"id":%q,"content":%q}`, room, id, c.text)
			for i := range c.most {
				if f := ann.ask("ROOM_EDIT", edit); f.code() != "ROOM_MESSAGE_CHANGED" {
					t.Fatalf("edit %d: %s", i, f.Data)
				}
			}
			if f := ann.ask("ROOM_EDIT", edit); f.code() != wire.CodeTooMany {
				t.Errorf("one more than %d: %.200s", c.most, f.Data)
			}
			if f := ann.ask("ROOM_DELETE", fmt.Sprintf(`{"room":%q,"id":%q}`, room, id)); f.code() != "ROOM_MESSAGE_CHANGED" {
				t.Errorf("it cannot be deleted: %s", f.Data)
			}
		}
	})
}

func TestNamesOfRoomsCanBeSeenAndReadFromTheirBeginning(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ann := w.run().client(1)
		for name, good := range map[string]bool{"\u200b": false, "\u0301": false, "abc\u202ecba": false, "a\u2066b": false, "\u00e9": true, "👩\u200d🚀": true, "\u5bb6": true} {
			data, _ := json.Marshal(map[string]string{"name": name})
			f := ann.ask("ROOM_CREATE", string(data))
			if want := map[bool]string{true: "ROOM_CHANGED", false: wire.CodeBadField}[good]; f.code() != want {
				t.Errorf("%q: got %s %s, want %s", name, f.Type, f.Data, want)
			}
		}
	})
}

// Others may fill half of what one may be in, so nobody is kept from rooms of their own.
func TestOthersDoNotTakeSomebodysRoomsAway(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.limits = chat.Limits{Rooms: 6}
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		invite := func() string {
			return bob.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":"chat-1"}`, bob.create(""))).code()
		}
		for range 3 {
			if code := invite(); code != "ROOM_MEMBER_JOINED" {
				t.Fatal(code)
			}
		}
		if code := invite(); code != wire.CodeTooMany {
			t.Errorf("the fourth: %s", code)
		}
		if f := bob.ask("ROOM_CREATE", `{"with":"chat-1"}`); f.code() != wire.CodeTooMany {
			t.Errorf("a room of two: %s", f.Data)
		}
		ann.create("")
		if f := ann.ask("ROOM_CREATE", `{"with":"chat-3"}`); f.code() != "ROOM_CHANGED" {
			t.Errorf("one's own room of two: %s", f.Data)
		}
	})
}

// However a read mark moves, what is unread are the messages of others behind it.
func TestUnreadIsRightHoweverTheMarkMoves(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room := ann.create("", bob)
		var own []int // numbers of bob's
		for i := range 40 {
			if who := ann; i%3 == 0 {
				who = bob
				own = append(own, i+1)
				who.send(room, "own")
			} else {
				who.send(room, "of the other")
			}
		}
		for _, mark := range []int{0, 1, 2, 5, 5, 4, 17, 18, 19, 39, 40, 60} {
			bob.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"seq":%d}`, room, mark))
			at := max(5*b2i(mark == 4), min(mark, 40)) // it never goes back
			want := 40 - at
			for _, seq := range own {
				want -= b2i(seq > at)
			}
			var list struct{ Rooms []struct{ Unread int } }
			f := bob.ask("ROOM_LIST", `{}`)
			if err := json.Unmarshal(f.Data, &list); err != nil || len(list.Rooms) != 1 || list.Rooms[0].Unread != want {
				t.Errorf("read up to %d: %s, want %d unread", at, f.Data, want)
			}
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
