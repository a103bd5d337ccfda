package chat_test

import (
	"fmt"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Whoever is blocked can put no word before who has blocked, be it in a message of long
// ago, and that one hears nothing of the other's typing and reading.
func TestABlockHoldsForAllThatIsToldInARoomOfTwo(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, annToo, bob := n.client(1), n.client(1), n.client(2)
		room := ann.ask("ROOM_CREATE", `{"with":"chat-2"}`).in.ID
		sent := ann.send(room, "hello")
		bob.send(room, "hello")
		w.block("chat-2", "chat-1", true)
		for _, c := range []*client{ann, annToo, bob} {
			c.until("ROOM_MESSAGE")
		}
		annToo.until("ROOM_MESSAGE")

		if f := ann.ask("ROOM_EDIT", fmt.Sprintf(`{"room":%q,"id":%q,"content":"you fool"}`, room, sent.in.ID)); f.code() != wire.CodeForbidden {
			t.Errorf("edited: %s %s", f.Type, f.Data)
		}
		ann.serve(fmt.Sprintf(`{"type":"ROOM_TYPING","data":{"room":%q}}`, room))
		if f := ann.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"seq":2}`, room)); f.in.Seq != 2 {
			t.Errorf("read: %s", f.Data)
		}
		annToo.next("ROOM_TYPING")
		annToo.next("ROOM_READ_BY")
		if f := bob.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, room)); len(f.in.Messages) != 2 || f.in.Messages[0].Content != "hello" {
			t.Errorf("the history is %s", f.Data)
		}
		if f := ann.ask("ROOM_DELETE", fmt.Sprintf(`{"room":%q,"id":%q}`, room, sent.in.ID)); f.in.Seq != 1 {
			t.Errorf("deleted: %s", f.Data)
		}
		bob.next("ROOM_MESSAGE_CHANGED") // the first that bob hears: what came before was not told

		w.block("chat-2", "chat-1", false)
		ann.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"seq":2}`, room))
		bob.send(room, "again")
		ann.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"seq":3}`, room))
		if f := bob.next("ROOM_READ_BY"); f.in.Seq != 3 {
			t.Errorf("bob heard %s", f.Data)
		}
	})
}

func TestNothingIsEditedInARoomOfTwoWhoseOtherIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		room := ann.ask("ROOM_CREATE", `{"with":"chat-2"}`).in.ID
		sent := ann.send(room, "hello")
		if err := n.Forget(t.Context(), "chat-2"); err != nil {
			t.Fatal(err)
		}
		if f := ann.ask("ROOM_EDIT", fmt.Sprintf(`{"room":%q,"id":%q,"content":"bye"}`, room, sent.in.ID)); f.code() != wire.CodeForbidden {
			t.Errorf("edited: %s %s", f.Type, f.Data)
		}
	})
}

// Whose other one is gone need not stay: others could fill all that one may be in.
func TestARoomOfTwoIsLeftWhenTheOtherIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		room := ann.ask("ROOM_CREATE", `{"with":"chat-2"}`).in.ID
		leave := fmt.Sprintf(`{"room":%q}`, room)
		if f := ann.ask("ROOM_LEAVE", leave); f.code() != wire.CodeForbidden {
			t.Errorf("left while both are there: %s %s", f.Type, f.Data)
		}
		if err := n.Forget(t.Context(), "chat-2"); err != nil {
			t.Fatal(err)
		}
		if f := ann.ask("ROOM_LEAVE", leave); f.code() != "ROOM_MEMBER_LEFT" {
			t.Errorf("left: %s %s", f.Type, f.Data)
		}
		if f := ann.ask("ROOM_LIST", `{}`); len(f.in.Rooms) != 0 {
			t.Errorf("the rooms are %s", f.Data)
		}
		if f := ann.ask("ROOM_HISTORY", leave); f.code() != wire.CodeNotFound {
			t.Errorf("the history is %s", f.Data)
		}
	})
}

// A message that was stored before a block is as good as sent when it is sent again; nothing
// else is.
func TestWhatWasStoredBeforeABlockIsAnsweredAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room := ann.ask("ROOM_CREATE", `{"with":"chat-2"}`).in.ID
		send := func(client string) frame {
			return ann.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":"hello"%s}`, room, client))
		}
		first := send(`,"clientId":"c1"`)
		w.block("chat-2", "chat-1", true)
		if f := send(`,"clientId":"c1"`); f.Type != "ROOM_SENT" || f.in.ID != first.in.ID {
			t.Errorf("sent again: %s %s", f.Type, f.Data)
		}
		for _, client := range []string{`,"clientId":"c2"`, ""} {
			if f := send(client); f.code() != wire.CodeForbidden {
				t.Errorf("sent: %s %s", f.Type, f.Data)
			}
		}
		if f := bob.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, room)); len(f.in.Messages) != 1 {
			t.Errorf("the history is %s", f.Data)
		}
	})
}
