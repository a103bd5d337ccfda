package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Lists are read to their end page by page, each entry once.
func TestListsAreReadPageByPage(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		var rooms []string
		for range 5 {
			rooms = append(rooms, ann.create(`,"public":true`))
		}
		// all follows "next", and returns what of each page is an entry.
		all := func(page func(after string) (entries []string, next string)) (list []string) {
			t.Helper()
			for after, pages := "", 0; ; pages++ {
				entries, next := page(after)
				list = append(list, entries...)
				if len(entries) > 2 || pages > 5 {
					t.Fatalf("page %d is %v, then %q", pages, entries, next)
				}
				if next == "" {
					return list
				}
				after = next
			}
		}
		behind := func(after string) string {
			if after == "" {
				return ""
			}
			return fmt.Sprintf(`,"after":%q`, after)
		}
		for what, options := range map[string]string{"one's own": "", "public ones": `,"public":true`} {
			got := all(func(after string) (ids []string, next string) {
				f := ann.ask("ROOM_LIST", fmt.Sprintf(`{"limit":2%s%s}`, behind(after), options))
				for _, r := range f.in.Rooms {
					ids = append(ids, r.ID)
				}
				return ids, f.in.Next
			})
			if !slices.Equal(got, rooms) {
				t.Errorf("%s: %v, not %v", what, got, rooms)
			}
		}
		for user := 2; user <= 6; user++ {
			ann.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":"chat-%d"}`, rooms[0], user))
			ann.ask("ROOM_BAN", fmt.Sprintf(`{"room":%q,"user":"chat-%d"}`, rooms[1], user))
		}
		got := all(func(after string) (users []string, next string) {
			f := ann.ask("ROOM_MEMBERS", fmt.Sprintf(`{"room":%q,"limit":2%s}`, rooms[0], behind(after)))
			for _, part := range strings.Split(string(f.in.Members), `"user":"`)[1:] {
				users = append(users, part[:strings.Index(part, `"`)])
			}
			return users, f.in.Next
		})
		if want := []string{"chat-1", "chat-2", "chat-3", "chat-4", "chat-5", "chat-6"}; !slices.Equal(got, want) {
			t.Errorf("members: %v", got)
		}
		id, _ := wire.ParseID(rooms[1])
		got = all(func(after string) (users []string, next string) {
			bans, err := n.Bans(t.Context(), ann.user, id, "", after, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range bans.Bans {
				users = append(users, string(b.User))
			}
			return users, bans.Next
		})
		if want := []string{"chat-2", "chat-3", "chat-4", "chat-5", "chat-6"}; !slices.Equal(got, want) {
			t.Errorf("bans: %v", got)
		}
	})
}

// What was said before somebody came counts as read, and can be.
func TestForANewMemberWhatWasSaidBeforeIsRead(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room := ann.create(`,"public":true`)
		for i := range 7 {
			ann.send(room, fmt.Sprint(i))
		}
		bob.ask("ROOM_JOIN", fmt.Sprintf(`{"room":%q}`, room))
		if f := bob.ask("ROOM_LIST", `{}`); !strings.Contains(string(f.Data), `"readSeq":7,"unread":0`) {
			t.Errorf("bob's rooms: %s", f.Data)
		}
		ann.send(room, "welcome")
		if f := bob.ask("ROOM_LIST", `{}`); !strings.Contains(string(f.Data), `"readSeq":7,"unread":1`) {
			t.Errorf("bob's rooms: %s", f.Data)
		}
		if f := bob.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, room)); len(f.in.Messages) != 8 {
			t.Errorf("the history: %s", f.Data)
		}
	})
}

// A page of a search ends where one of the history does, and goes on from there.
func TestAPageOfASearchIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		room := ann.create("")
		big := strings.Repeat("x", 15<<10)
		for range 30 {
			ann.send(room, "needle "+big)
		}
		seen := int64(31)
		for before, more := "", true; more; {
			f := ann.ask("ROOM_SEARCH", fmt.Sprintf(`{"room":%q,"words":"needle","limit":200%s}`, room, before))
			if len(f.in.Messages) == 0 || len(f.in.Messages) > 17 {
				t.Fatalf("a page has %d large messages", len(f.in.Messages))
			}
			for _, m := range f.in.Messages {
				if seen--; m.Seq != seen {
					t.Fatalf("found %d, not %d", m.Seq, seen)
				}
			}
			before, more = fmt.Sprintf(`,"before":%d`, f.in.Before), f.in.More
		}
		if seen != 1 {
			t.Errorf("the search ends at %d", seen)
		}
	})
}
