package chat_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Every operation is tried as everybody, in every kind of room, each in a room of its
// own. Who may not know of a room hears the same whatever is asked for.
//
// The cast: 1 owns the room, or is one of its two; 2 is a moderator, or the other one; 3
// is a member; 4 is a stranger; 5 is banned. 6 is another member, upon whom things are
// done, 7 another moderator, 8 nobody yet, 9 banned.
func TestEveryOperationAsEveryRole(t *testing.T) {
	operations := []struct {
		name, kind, data string
		// What the owner, a moderator, a member, a stranger and one who is banned hear, of a
		// private and a public room; and what one of two and a stranger hear in theirs.
		// y: it is done. F: FORBIDDEN. N: NOT_FOUND. C: CONFLICT.
		private, public, pair string
	}{
		{"see", "GET", ``, "yyyNN", "yyyyy", "yN"},
		{"read", "ROOM_HISTORY", `{"room":R}`, "yyyNN", "yyyFF", "yN"},
		{"search", "ROOM_SEARCH", `{"room":R,"words":"a"}`, "yyyNN", "yyyFF", "yN"},
		{"list members", "ROOM_MEMBERS", `{"room":R}`, "yyyNN", "yyyFF", "yN"},
		{"look at versions", "VERSIONS", ``, "yyyNN", "yyyFF", "yN"},
		{"send", "ROOM_SEND", `{"room":R,"content":1}`, "yyyNN", "yyyFF", "yN"},
		{"mark as read", "ROOM_READ", `{"room":R,"seq":1}`, "yyyNN", "yyyFF", "yN"},
		{"type", "ROOM_TYPING", `{"room":R}`, "yyyNN", "yyyNN", "yN"},
		{"edit one's own", "ROOM_EDIT", `{"room":R,"id":OWN,"content":2}`, "yyyNN", "yyyFF", "yN"},
		{"edit another's", "ROOM_EDIT", `{"room":R,"id":THEIRS,"content":2}`, "yyFNN", "yyFFF", "FN"},
		{"delete one's own", "ROOM_DELETE", `{"room":R,"id":OWN}`, "yyyNN", "yyyFF", "yN"},
		{"delete another's", "ROOM_DELETE", `{"room":R,"id":THEIRS}`, "yyFNN", "yyFFF", "FN"},
		{"rename", "ROOM_UPDATE", `{"room":R,"name":"b"}`, "yyFNN", "yyFFF", "FN"},
		{"publish", "ROOM_UPDATE", `{"room":R,"public":true}`, "yFFNN", "yFFFF", "FN"},
		{"join", "ROOM_JOIN", `{"room":R}`, "yyyNN", "yyyyF", "FN"},
		{"leave", "ROOM_LEAVE", `{"room":R}`, "yyyNN", "yyyFF", "FN"},
		{"invite", "ROOM_INVITE", `{"room":R,"user":"chat-8"}`, "yyFNN", "yyFFF", "FN"},
		{"invite one who is banned", "ROOM_INVITE", `{"room":R,"user":"chat-9"}`, "CCFNN", "CCFFF", "FN"},
		{"remove a member", "ROOM_REMOVE", `{"room":R,"user":"chat-6"}`, "yyFNN", "yyFFF", "FN"},
		{"remove a moderator", "ROOM_REMOVE", `{"room":R,"user":"chat-7"}`, "yFFNN", "yFFFF", "FN"},
		{"remove nobody", "ROOM_REMOVE", `{"room":R,"user":"chat-8"}`, "NNFNN", "NNFFF", "FN"},
		{"ban a member", "ROOM_BAN", `{"room":R,"user":"chat-6"}`, "yyFNN", "yyFFF", "FN"},
		{"ban a moderator", "ROOM_BAN", `{"room":R,"user":"chat-7"}`, "yFFNN", "yFFFF", "FN"},
		{"ban a stranger", "ROOM_BAN", `{"room":R,"user":"chat-8"}`, "yyFNN", "yyFFF", "FN"},
		{"unban", "ROOM_UNBAN", `{"room":R,"user":"chat-9"}`, "yyFNN", "yyFFF", "FN"},
		{"list who is banned", "BANS", ``, "yyFNN", "yyFFF", "FN"},
		{"give a role", "ROOM_ROLE", `{"room":R,"user":"chat-6","role":"moderator"}`, "yFFNN", "yFFFF", "FN"},
		{"hand over", "ROOM_ROLE", `{"room":R,"user":"chat-6","role":"owner"}`, "yFFNN", "yFFFF", "FN"},
		{"close", "ROOM_CLOSE", `{"room":R}`, "yFFNN", "yFFFF", "FN"},
	}
	onBoth(t, func(t *testing.T, w *world) {
		w.limits.Owned, w.limits.Rooms = 100_000, 100_000
		n := w.run()
		var cast []*client
		for i := range 9 {
			cast = append(cast, n.client(i+1))
		}
		for _, op := range operations {
			for kind, row := range map[string]string{"private": op.private, "public": op.public, "pair": op.pair} {
				for i, want := range row {
					me := cast[[]int{0, 3}[min(i, 1)]]
					if kind != "pair" {
						me = cast[i]
					}
					r := stage(t, n, cast, kind, me)
					got := r.try(n, me, op.kind, op.data)
					if fine := map[rune]string{'F': wire.CodeForbidden, 'N': wire.CodeNotFound, 'C': wire.CodeConflict}[want]; got != fine {
						t.Errorf("%s in a %s room as %s: %q, want %q", op.name, kind, me.user, got, fine)
					}
				}
			}
		}
	})
}

// set is a room with its cast in it.
type set struct {
	room, own, theirs string
}

func stage(t *testing.T, n *node, cast []*client, kind string, me *client) set {
	t.Helper()
	owner := cast[0]
	for _, c := range cast {
		c.clear()
	}
	must := func(f frame) frame {
		t.Helper()
		if f.in.Code != "" {
			t.Fatalf("%s %s", f.Type, f.Data)
		}
		return f
	}
	var s set
	if kind == "pair" {
		s.room = must(owner.ask("ROOM_CREATE", `{"with":"chat-2"}`)).in.ID
		s.theirs = cast[1].send(s.room, "theirs").in.ID
		s.own = owner.send(s.room, "own").in.ID
		cast[1].until("ROOM_MESSAGE") // so the news of the room have come
		return s
	}
	s.room = must(owner.ask("ROOM_CREATE", fmt.Sprintf(`{"name":"a","public":%t}`, kind == "public"))).in.ID
	do := func(kind, user, more string) {
		must(owner.ask(kind, fmt.Sprintf(`{"room":%q,"user":%q%s}`, s.room, user, more)))
	}
	for _, user := range []string{"chat-2", "chat-3", "chat-5", "chat-6", "chat-7"} {
		do("ROOM_INVITE", user, "")
	}
	do("ROOM_ROLE", "chat-2", `,"role":"moderator"`)
	do("ROOM_ROLE", "chat-7", `,"role":"moderator"`)
	author := owner // of what is one's own, where one may have written nothing
	if me == cast[1] || me == cast[2] || me == cast[4] {
		author = me
	}
	s.own = author.send(s.room, "own").in.ID
	s.theirs = cast[5].send(s.room, "theirs").in.ID
	do("ROOM_BAN", "chat-5", "")
	do("ROOM_BAN", "chat-9", "")
	cast[4].until("ROOM_MEMBER_LEFT") // so all the news of before have come, too
	return s
}

// try has somebody do something, and returns the code of the refusal, if there is one.
func (s set) try(n *node, me *client, kind, data string) string {
	n.w.t.Helper()
	room, _ := wire.ParseID(s.room)
	message, _ := wire.ParseID(s.theirs)
	var err error
	switch kind {
	case "GET":
		_, err = n.Get(n.w.t.(*testing.T).Context(), me.user, room, "")
	case "VERSIONS":
		_, err = n.Versions(n.w.t.(*testing.T).Context(), me.user, room, "", message)
	case "BANS":
		_, err = n.Bans(n.w.t.(*testing.T).Context(), me.user, room, "", "", 10)
	default:
		data = strings.NewReplacer("R,", `"`+s.room+`",`, "R}", `"`+s.room+`"}`, "OWN", `"`+s.own+`"`, "THEIRS", `"`+s.theirs+`"`).Replace(data)
		if kind == "ROOM_TYPING" { // is answered when it is refused only
			me.serve(fmt.Sprintf(`{"type":%q,"data":%s}`, kind, data))
			me.mu.Lock()
			defer me.mu.Unlock()
			for _, f := range me.frames {
				if f.in.Code != "" {
					return f.in.Code
				}
			}
			return ""
		}
		return me.ask(kind, data).in.Code
	}
	if err == nil {
		return ""
	}
	return err.(*wire.Error).Code
}

func TestRoomsAreForUsersOfTheirAppOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		other := &client{n: n, user: "ANZ-1", news: make(chan struct{}, 1)}
		n.Attach(t.Context(), other)
		if f := other.ask("ROOM_LIST", `{}`); f.code() != wire.CodeForbidden {
			t.Errorf("got %s %s", f.Type, f.Data)
		}
	})
}
