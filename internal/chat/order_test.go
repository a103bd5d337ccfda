package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// overtaken has all that a node told arrive, the last first.
func overtaken(list []func()) {
	slices.Reverse(list)
	for _, arrive := range list {
		arrive()
	}
}

// News of one user's coming and going overtake each other, be it that they come from two
// nodes. In the end the sessions are where the database says.
func TestWhoCameAndWentIsWhereTheDatabaseSaysHoweverTheNewsCome(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob, cat := a.client(1), b.client(2), b.client(3)
		var room, at string
		for i := range 5 {
			// Another room each time: in the same one he is a member again in between.
			room = ann.create(`,"public":true`, cat)
			at = fmt.Sprintf(`{"room":%q,"user":"chat-2"}`, room)
			a.hold()
			ann.ask("ROOM_INVITE", at)
			ann.ask("ROOM_REMOVE", at)
			overtaken(a.held())
			cat.until("ROOM_MEMBER_JOINED")
			// Of what follows bob would hear with cat.
			for k := range 5 {
				ann.send(room, fmt.Sprint("secret ", i, k))
				cat.until("ROOM_MESSAGE")
			}
			if got := bob.types(); strings.Contains(got, "ROOM_MESSAGE") || strings.Contains(got, "JOINED") {
				t.Fatalf("bob, who was removed, hears %s", got)
			}
			if f := bob.ask("ROOM_TYPING", fmt.Sprintf(`{"room":%q}`, room)); f.code() != "NOT_FOUND" {
				t.Fatalf("bob, who was removed, is in the room: %s", f.Data)
			}
			bob.clear()
		}

		annTwo := a.client(2) // of bob, too
		ann.ask("ROOM_INVITE", at)
		bob.until("ROOM_CHANGED")
		for i := range 5 {
			a.hold()
			annTwo.ask("ROOM_LEAVE", fmt.Sprintf(`{"room":%q}`, room))
			annTwo.ask("ROOM_JOIN", fmt.Sprintf(`{"room":%q}`, room))
			bob.clear()
			overtaken(a.held())
			bob.until("ROOM_MEMBER_LEFT")
			ann.send(room, fmt.Sprint("all ", i))
			if f := bob.until("ROOM_CHANGED"); f.in.ID != room || !strings.Contains(string(f.Data), `"role":"member"`) {
				t.Errorf("bob, who is back, heard %s", f.Data)
			}
			if f := bob.until("ROOM_MESSAGE"); f.in.Content != fmt.Sprint("all ", i) {
				t.Errorf("bob, who is back, heard %s", f.Data)
			}
		}
	})
}

// What was read before the last of the news came counts for nothing.
func TestWhoIsRemovedWhileItIsReadThatHeIsInStaysOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob, cat := a.client(1), b.client(2), b.client(3)
		room := ann.create("", cat)
		at := fmt.Sprintf(`{"room":%q,"user":"chat-2"}`, room)
		a.hold()
		ann.ask("ROOM_INVITE", at)
		joined := a.held()
		read, goOn := make(chan struct{}), make(chan struct{})
		seen := func() {
			w.store.seen.Store(nil)
			close(read)
			<-goOn
		}
		w.store.seen.Store(&seen)
		for _, arrive := range joined {
			arrive()
		}
		<-read
		ann.ask("ROOM_REMOVE", at)
		cat.until("ROOM_MEMBER_LEFT")
		close(goOn)
		for i := range 10 {
			ann.send(room, fmt.Sprint("secret ", i))
			cat.until("ROOM_MESSAGE")
		}
		if got := bob.types(); got != "ROOM_MEMBER_LEFT" {
			t.Errorf("bob, who was removed, hears %s", got)
		}
	})
}

// What was told between the joining and the news of it is not missed.
func TestWhoJoinsHearsWhatWasSaidSince(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b, c := w.run(), w.run(), w.run()
		ann, cat, bob := a.client(1), b.client(3), c.client(2)
		dan := c.client(4)
		room := ann.create("", cat, dan)
		ann.send(room, "before")
		dan.until("ROOM_MESSAGE")
		a.hold()
		ann.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":"chat-2"}`, room))
		news := a.held()
		for i := range 3 {
			cat.send(room, fmt.Sprint(i))
			dan.until("ROOM_MESSAGE")
		}
		for _, arrive := range news {
			arrive()
		}
		cat.send(room, "3")
		bob.next("ROOM_MEMBER_JOINED")
		bob.next("ROOM_CHANGED")
		for i := range 4 {
			if f := bob.next("ROOM_MESSAGE"); f.in.Content != fmt.Sprint(i) {
				t.Errorf("bob heard %s, not %d", f.Data, i)
			}
		}
	})
}

func TestWhoJoinsIsInTheRoomWhenItIsAnswered(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		for range 20 {
			room := ann.create(`,"public":true`)
			bob.ask("ROOM_JOIN", fmt.Sprintf(`{"room":%q}`, room))
			bob.clear()
			bob.serve(fmt.Sprintf(`{"type":"ROOM_TYPING","data":{"room":%q}}`, room))
			if got := bob.types(); got != "" {
				t.Fatalf("bob, who is in the room, is answered %s", got)
			}
		}
	})
}

// While two nodes that live do not hear each other, each asks the database.
func TestNodesThatDoNotHearEachOtherKeepSessionsWhereTheyBelong(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob, cat := a.client(1), b.client(2), b.client(3)
		room := ann.create("", bob)
		of := func(user string) string { return fmt.Sprintf(`{"room":%q,"user":%q}`, room, user) }
		a.silence(true)
		b.apart.Store(true)
		ann.ask("ROOM_REMOVE", of("chat-2"))
		ann.ask("ROOM_INVITE", of("chat-3"))
		if f := bob.until("ROOM_MEMBER_LEFT"); f.in.User != "chat-2" || f.in.Room != room {
			t.Errorf("bob heard %s", f.Data)
		}
		if f := cat.until("ROOM_CHANGED"); f.in.ID != room {
			t.Errorf("cat heard %s", f.Data)
		}
		ann.send(room, "secret")
		if f := cat.until("ROOM_MESSAGE"); f.in.Content != "secret" {
			t.Errorf("cat heard %s", f.Data)
		}
		if got := bob.types(); strings.Contains(got, "ROOM_MESSAGE") {
			t.Errorf("bob, who was removed, hears %s", got)
		}
	})
}

// The end that hears of a beginning sooner has compared before the other could tell
// anything; so it is told that the other has begun.
func TestAConversationThatOneEndBeginsLaterLosesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob := a.client(1), b.client(2)
		room := ann.create("", bob)
		a.silence(true)
		ann.ask("ROOM_REMOVE", fmt.Sprintf(`{"room":%q,"user":"chat-2"}`, room))
		a.silence(false)
		a.PeerUp(b.name)
		bob.until("ROOM_MEMBER_LEFT")
	})
}

// Of an edit and a deletion at once the deletion is told last, in whatever order the news
// of them come.
func TestADeletionIsTheLastThatIsToldOfAMessage(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b, c := w.run(), w.run(), w.run()
		ann, annToo, bob := a.client(1), b.client(1), c.client(2)
		room := ann.create("", bob)
		for range 5 {
			at := fmt.Sprintf(`"room":%q,"id":%q`, room, ann.send(room, "text").in.ID)
			bob.until("ROOM_MESSAGE")
			a.hold()
			ann.ask("ROOM_EDIT", fmt.Sprintf(`{%s,"content":"other"}`, at))
			edit := a.held()
			annToo.ask("ROOM_DELETE", "{"+at+"}")
			overtaken(edit)
			for f := bob.until("ROOM_MESSAGE_CHANGED"); !f.in.Deleted; {
				f = bob.until("ROOM_MESSAGE_CHANGED")
			}
			ann.send(room, "next")
			if f := bob.next("ROOM_MESSAGE"); f.in.Content != "next" {
				t.Errorf("bob heard %s", f.Data)
			}
		}
	})
}
