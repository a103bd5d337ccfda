package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhatIsSentIsInTheHistoryAndIsNewsToTheOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob, phone := n.client(1), n.client(2), n.client(1)
		room := ann.create("", bob)
		if f := phone.next("ROOM_MEMBER_JOINED"); f.in.User != "chat-1" || f.in.Role != "owner" {
			t.Errorf("another session of the one who made the room heard %s", f.Data)
		}
		phone.clear()
		ann.clear()
		sent := ann.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":{"a": [1, "é"]},"clientId":"c1"}`, room))
		if sent.in.Seq != 1 || !strings.Contains(string(sent.Data), `"clientId":"c1"`) {
			t.Fatalf("sent: %s", sent.Data)
		}
		for _, c := range []*client{bob, phone} {
			f := c.until("ROOM_MESSAGE")
			if f.in.ID != sent.in.ID || f.in.Seq != 1 || f.in.From != "chat-1" || !strings.Contains(string(f.Data), `"content":{"a": [1, "é"]}`) {
				t.Errorf("%s got %s", c.user, f.Data)
			}
		}
		page := bob.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, room))
		if len(page.in.Messages) != 1 || page.in.Messages[0].ID != sent.in.ID || page.in.More || !strings.Contains(string(page.Data), `"content":{"a": [1, "é"]}`) {
			t.Errorf("the history is %s", page.Data)
		}
		if got := ann.types(); got != "" {
			t.Errorf("who sent it also got %s", got)
		}
	})
}

func TestSentAgainUnderItsIDAMessageIsStoredOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann := a.client(1)
		room := ann.create("")
		data := fmt.Sprintf(`{"room":%q,"content":"x","clientId":"c1"}`, room)
		var all sync.WaitGroup
		answers := make([]frame, 20)
		for i := range answers { // on both nodes, all at once
			c := []*node{a, b}[i%2].client(1)
			all.Go(func() { answers[i] = c.ask("ROOM_SEND", data) })
		}
		all.Wait()
		for _, f := range answers {
			if f.Type != "ROOM_SENT" || f.in.ID != answers[0].in.ID || f.in.Seq != 1 {
				t.Errorf("answered %s %s", f.Type, f.Data)
			}
		}
		if f := ann.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, room)); len(f.in.Messages) != 1 {
			t.Errorf("stored: %s", f.Data)
		}
		other := ann.create("")
		if f := ann.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":"x","clientId":"c1"}`, other)); f.in.ID == answers[0].in.ID {
			t.Error("the same ID in another room is the same message")
		}
	})
}

// Fifty members on two nodes send at once: one order, without gaps, seen alike.
func TestARoomHasOneOrderThatAllSee(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		const members, each = 50, 10
		nodes := []*node{w.run(), w.run()}
		var clients []*client
		for i := range members {
			clients = append(clients, nodes[i%2].client(i+1))
		}
		room := clients[0].create("", clients[1:]...)
		var all sync.WaitGroup
		order := make([]string, members*each+1)
		var mu sync.Mutex
		for i, c := range clients {
			all.Go(func() {
				for k := range each {
					text := fmt.Sprintf("%d.%d", i, k)
					f := c.send(room, text)
					mu.Lock()
					order[f.in.Seq] = text
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if gap := slices.Index(order[1:], ""); gap >= 0 {
			t.Fatalf("message %d is missing", gap+1)
		}
		for i, c := range clients {
			last := int64(0)
			for range members*each - each { // all but its own
				f := c.until("ROOM_MESSAGE")
				if f.in.Seq <= last || f.in.Content != order[f.in.Seq] {
					t.Fatalf("%d got %s after %d", i, f.Data, last)
				}
				last = f.in.Seq
			}
		}
		page := clients[0].ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q,"after":0,"limit":200}`, room))
		for i, m := range page.in.Messages {
			if m.Seq != int64(i+1) || m.Content != order[i+1] {
				t.Fatalf("the history has %v at %d, not %s", m.Content, m.Seq, order[i+1])
			}
		}
	})
}

func TestReadMarksCountWhatIsUnread(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room := ann.create("", bob)
		unread := func(c *client, want int64) {
			t.Helper()
			if f := c.ask("ROOM_LIST", `{}`); !strings.Contains(string(f.Data), fmt.Sprintf(`"unread":%d`, want)) {
				t.Errorf("%s has %s, not %d unread", c.user, f.Data, want)
			}
		}
		var sent []frame
		for i := range 10 {
			sent = append(sent, []*client{ann, bob}[i%2].send(room, "x"))
		}
		unread(ann, 5)
		unread(bob, 5)
		if f := ann.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"id":%q}`, room, sent[3].in.ID)); f.Type != "ROOM_READ_BY" || f.in.Seq != 4 || f.in.User != "chat-1" {
			t.Errorf("read: %s %s", f.Type, f.Data)
		}
		unread(ann, 3) // 6, 8, 10 are bob's
		if f := bob.until("ROOM_READ_BY"); f.in.Seq != 4 || f.in.User != "chat-1" {
			t.Errorf("bob heard %s", f.Data)
		}
		if f := ann.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"seq":2}`, room)); f.in.Seq != 4 {
			t.Errorf("a mark went back: %s", f.Data)
		}
		if f := ann.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"seq":999}`, room)); f.in.Seq != 10 {
			t.Errorf("a mark went past the end: %s", f.Data)
		}
		unread(ann, 0)
		ann.send(room, "y")
		unread(ann, 0)
		unread(bob, 6)
		gone := bob.send(room, "said in haste")
		bob.ask("ROOM_DELETE", fmt.Sprintf(`{"room":%q,"id":%q}`, room, gone.in.ID))
		unread(ann, 1) // it was there, and is in the history as deleted
		if f := ann.ask("ROOM_READ", fmt.Sprintf(`{"room":%q,"id":"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"}`, room)); f.code() != wire.CodeNotFound {
			t.Errorf("a mark at no message: %s", f.Data)
		}
	})
}

func TestPagesOfTheHistoryAreStableAndWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		room := ann.create("")
		for i := range 120 {
			ann.send(room, fmt.Sprint(i+1))
		}
		seen := int64(121)
		for before, more := int64(0), true; more; {
			data := fmt.Sprintf(`{"room":%q,"limit":25}`, room)
			if before > 0 {
				data = fmt.Sprintf(`{"room":%q,"limit":25,"before":%d}`, room, before)
			}
			f := ann.ask("ROOM_HISTORY", data)
			ann.send(room, "meanwhile")
			for _, m := range slices.Backward(f.in.Messages) {
				if seen--; m.Seq != seen || m.Content != fmt.Sprint(seen) {
					t.Fatalf("got %v at %d, want %d", m.Content, m.Seq, seen)
				}
			}
			before, more = f.in.Messages[0].Seq, f.in.More
		}
		if seen != 1 {
			t.Errorf("the pages end at %d", seen)
		}
		if f := ann.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q,"after":118,"limit":3}`, room)); f.in.Messages[0].Seq != 119 || f.in.Messages[2].Seq != 121 || !f.in.More {
			t.Errorf("after 118: %s", f.Data)
		}
		big := strings.Repeat("x", 15<<10)
		for range 30 {
			ann.send(room, big)
		}
		if f := ann.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q,"limit":200}`, room)); len(f.in.Messages) != 17 || !f.in.More {
			t.Errorf("a page of large messages has %d of them", len(f.in.Messages))
		}
	})
}

func TestSearchFindsMessagesByTheirWords(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann := n.client(1)
		room := ann.create("")
		for i := range 30 {
			ann.send(room, fmt.Sprintf("Tea number %d %s", i, map[bool]string{true: "with MILK", false: ""}[i%3 == 0]))
		}
		search := func(words string, want int) frame {
			t.Helper()
			f := ann.ask("ROOM_SEARCH", fmt.Sprintf(`{"room":%q,"words":%q,"limit":100}`, room, words))
			if len(f.in.Messages) != want {
				t.Errorf("%q finds %d, not %d: %s", words, len(f.in.Messages), want, f.Data)
			}
			return f
		}
		search("tea", 30)
		search("milk, TEA!", 10)
		f := search("milk 9", 1)
		search("coffee", 0)
		id := f.in.Messages[0].ID
		if f := ann.ask("ROOM_EDIT", fmt.Sprintf(`{"room":%q,"id":%q,"content":"coffee with milk"}`, room, id)); f.in.Content != "coffee with milk" {
			t.Fatalf("edited: %s", f.Data)
		}
		search("coffee", 1)
		search("tea milk", 9)
		ann.ask("ROOM_DELETE", fmt.Sprintf(`{"room":%q,"id":%q}`, room, id))
		search("coffee", 0)
		search("milk", 9)
		page := ann.ask("ROOM_SEARCH", fmt.Sprintf(`{"room":%q,"words":"milk","limit":5}`, room))
		rest := ann.ask("ROOM_SEARCH", fmt.Sprintf(`{"room":%q,"words":"milk","limit":5,"before":%d}`, room, page.in.Before))
		if !page.in.More || len(page.in.Messages) != 5 || len(rest.in.Messages) != 4 || rest.in.More || rest.in.Messages[0].Seq >= page.in.Messages[4].Seq {
			t.Errorf("pages: %s\n%s", page.Data, rest.Data)
		}
		if f := ann.ask("ROOM_SEARCH", fmt.Sprintf(`{"room":%q,"words":"!?"}`, room)); f.code() != wire.CodeBadField {
			t.Errorf("no word: %s", f.Data)
		}
		if f := ann.ask("ROOM_SEARCH", fmt.Sprintf(`{"room":%q,"words":"1 2 3 4 5 6 7 8 9"}`, room)); f.code() != wire.CodeTooMany {
			t.Errorf("nine words: %s", f.Data)
		}
	})
}

func TestTheHistoryKeepsWhoChangedAMessageAndWhen(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room := ann.create("", bob)
		sent := bob.send(room, "one")
		at := fmt.Sprintf(`"room":%q,"id":%q`, room, sent.in.ID)
		bob.ask("ROOM_EDIT", `{`+at+`,"content":"two"}`)
		if f := ann.until("ROOM_MESSAGE_CHANGED"); f.in.Seq != 1 || f.in.By != "chat-2" || f.in.Content != "two" {
			t.Errorf("ann heard %s", f.Data)
		}
		message, _ := wire.ParseID(sent.in.ID)
		id, _ := wire.ParseID(room)
		versions := func() *wire.RoomVersions {
			v, err := n.Versions(t.Context(), ann.user, id, "", message)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if v := versions().Versions; len(v) != 1 || string(v[0].Content) != `"one"` || v[0].By != "chat-2" {
			t.Errorf("versions: %+v", v)
		}
		first := ann.ask("ROOM_DELETE", `{`+at+`}`) // the owner may
		again := bob.ask("ROOM_DELETE", `{`+at+`}`)
		if !first.in.Deleted || string(first.Data) != string(again.Data) {
			t.Errorf("deleted: %s\n%s", first.Data, again.Data)
		}
		if f := bob.ask("ROOM_EDIT", `{`+at+`,"content":"three"}`); f.code() != wire.CodeConflict {
			t.Errorf("what is deleted was edited: %s", f.Data)
		}
		v := versions().Versions
		if len(v) != 2 || v[0].Content != nil || v[1].Content != nil || !v[1].Deleted || v[1].By != "chat-1" {
			t.Errorf("versions of what is deleted: %+v", v)
		}
		f := bob.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, room))
		if m := f.in.Messages[0]; !m.Deleted || m.Content != nil || m.From != "chat-2" || !strings.Contains(string(f.Data), `"deletedBy":"chat-1"`) {
			t.Errorf("the history: %s", f.Data)
		}
	})
}

func TestARoomOfTwoExistsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob := a.client(1), b.client(2)
		var all sync.WaitGroup
		ids := make([]string, 10)
		for i := range ids {
			c := []*client{a.client(1), b.client(2)}[i%2]
			with := []string{"chat-2", "chat-1"}[i%2]
			all.Go(func() { ids[i] = c.ask("ROOM_CREATE", fmt.Sprintf(`{"with":%q}`, with)).in.ID })
		}
		all.Wait()
		for _, id := range ids {
			if id == "" || id != ids[0] {
				t.Fatalf("rooms %v", ids)
			}
		}
		bob.until("ROOM_CHANGED")
		ann.send(ids[0], "hello")
		if f := bob.until("ROOM_MESSAGE"); f.in.Content != "hello" {
			t.Errorf("bob got %s", f.Data)
		}
		if f := ann.ask("ROOM_LIST", `{}`); !strings.Contains(string(f.Data), `"with":"chat-2"`) {
			t.Errorf("ann's rooms: %s", f.Data)
		}
		w.block("chat-2", "chat-1", true)
		if f := ann.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":1}`, ids[0])); f.code() != wire.CodeForbidden {
			t.Errorf("sent to who has blocked the sender: %s %s", f.Type, f.Data)
		}
		bob.send(ids[0], "I may")
		if f := ann.ask("ROOM_CREATE", `{"with":"chat-2"}`); f.code() != wire.CodeForbidden {
			t.Errorf("opened with who has blocked: %s %s", f.Type, f.Data)
		}
		w.block("chat-2", "chat-1", false)
		if err := b.Forget(t.Context(), "chat-2"); err != nil {
			t.Fatal(err)
		}
		if f := ann.until("ROOM_MEMBER_LEFT"); f.in.User != "chat-2" || f.in.Reason != "deleted" {
			t.Errorf("ann heard %s", f.Data)
		}
		if f := ann.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":1}`, ids[0])); f.code() != wire.CodeForbidden {
			t.Errorf("sent to who is gone: %s %s", f.Type, f.Data)
		}
		if f := ann.ask("ROOM_HISTORY", fmt.Sprintf(`{"room":%q}`, ids[0])); len(f.in.Messages) != 2 || f.in.Messages[1].From != "chat-2" {
			t.Errorf("what was said is gone: %s", f.Data)
		}
	})
}

func TestWhenTheOwnerLeavesTheLongestThereFollows(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob, cat := n.client(1), n.client(2), n.client(3)
		room := ann.create("", bob, cat)
		data := fmt.Sprintf(`{"room":%q}`, room)
		ann.ask("ROOM_ROLE", fmt.Sprintf(`{"room":%q,"user":"chat-3","role":"moderator"}`, room))
		cat.until("ROOM_MEMBER_CHANGED")
		ann.ask("ROOM_LEAVE", data)
		for f := cat.until("ROOM_MEMBER_CHANGED"); f.in.Role != "owner" || f.in.User != "chat-3"; {
			t.Fatalf("the moderator heard %s", f.Data)
		}
		cat.ask("ROOM_LEAVE", data)
		if f := bob.ask("ROOM_MEMBERS", data); !strings.Contains(string(f.Data), `"user":"chat-2","role":"owner"`) {
			t.Errorf("the members are %s", f.Data)
		}
		bob.send(room, "alone")
		bob.ask("ROOM_LEAVE", data)
		if f := bob.ask("ROOM_HISTORY", data); f.code() != wire.CodeNotFound {
			t.Errorf("the room is still there: %s", f.Data)
		}
		for more := true; more; {
			var err error
			if more, err = w.store.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestWhoLeavesHearsNothingMore(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob, cat := a.client(1), b.client(2), b.client(3)
		room := ann.create("", bob, cat)
		ann.ask("ROOM_REMOVE", fmt.Sprintf(`{"room":%q,"user":"chat-2"}`, room))
		if f := bob.until("ROOM_MEMBER_LEFT"); f.in.Reason != "removed" || f.in.By != "chat-1" {
			t.Errorf("bob heard %s", f.Data)
		}
		ann.send(room, "secret")
		cat.until("ROOM_MESSAGE")
		if got := bob.types(); got != "" {
			t.Errorf("bob heard %s", got)
		}
		if f := bob.ask("ROOM_TYPING", fmt.Sprintf(`{"room":%q}`, room)); f.code() != wire.CodeNotFound {
			t.Errorf("bob is typing: %s", f.Data)
		}
	})
}

func TestWhatALinkLosesIsReadFromTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob, cat := a.client(1), b.client(2), b.client(3)
		room := ann.create("", bob)
		a.silence(true)
		for i := range 5 {
			ann.send(room, fmt.Sprint(i))
		}
		a.silence(false)
		ann.send(room, "5") // shows the gap
		for i := range 6 {
			if f := bob.until("ROOM_MESSAGE"); f.in.Content != fmt.Sprint(i) {
				t.Fatalf("bob got %s, not %d", f.Data, i)
			}
		}
		a.silence(true)
		ann.send(room, "6")
		ann.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":"chat-3"}`, room))
		a.silence(false)
		b.PeerUp(a.name) // as when the link begins anew
		if f := bob.until("ROOM_MESSAGE"); f.in.Content != "6" {
			t.Errorf("bob got %s", f.Data)
		}
		eventually(t, "the new member's session is in the room", func() bool {
			cat.clear()
			ann.send(room, "7")
			return strings.Contains(cat.types(), "ROOM_MESSAGE")
		})
	})
}

// Edits and deletions that a link loses are told when the next comes, or when the rooms
// are compared; of two of one message the last.
func TestChangesThatALinkLosesAreReadFromTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob := a.client(1), b.client(2)
		room := ann.create("", bob)
		var at []string
		for i := range 3 {
			at = append(at, fmt.Sprintf(`"room":%q,"id":%q`, room, ann.send(room, fmt.Sprint(i)).in.ID))
			bob.until("ROOM_MESSAGE")
		}
		edit := func(i int, text string) { ann.ask("ROOM_EDIT", fmt.Sprintf(`{%s,"content":%q}`, at[i], text)) }
		changed := func(seq int64, content any, deleted bool) {
			t.Helper()
			if f := bob.until("ROOM_MESSAGE_CHANGED"); f.in.Seq != seq || f.in.Content != content || f.in.Deleted != deleted || f.in.By != "chat-1" {
				t.Errorf("bob got %s", f.Data)
			}
		}
		a.silence(true)
		edit(0, "first")
		edit(1, "second")
		edit(0, "third")
		a.silence(false)
		edit(2, "fourth") // shows the gap
		changed(2, "second", false)
		changed(1, "third", false)
		changed(3, "fourth", false)
		a.silence(true)
		ann.ask("ROOM_DELETE", "{"+at[1]+"}")
		a.silence(false)
		b.PeerUp(a.name) // as when the link begins anew
		changed(2, nil, true)
		edit(0, "fifth")
		changed(1, "fifth", false)
	})
}

func TestASessionWhoseQueueIsFullMissesNewsAndSeesIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := w.run()
		ann, bob := n.client(1), n.client(2)
		room := ann.create("", bob)
		bob.mu.Lock()
		bob.full = true
		bob.mu.Unlock()
		ann.send(room, "1")
		eventually(t, "news are dropped and counted", func() bool { return n.metric("news_dropped_total") == 1 })
		bob.mu.Lock()
		bob.full = false
		bob.mu.Unlock()
		ann.send(room, "2")
		if f := bob.until("ROOM_MESSAGE"); f.in.Seq != 2 {
			t.Errorf("bob got %s", f.Data)
		}
	})
}

func TestTypingIsToldToOthersOnceASecond(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, b := w.run(), w.run()
		ann, bob := a.client(1), b.client(2)
		room := ann.create("", bob)
		for range 5 {
			ann.serve(fmt.Sprintf(`{"type":"ROOM_TYPING","data":{"room":%q}}`, room))
		}
		ann.send(room, "x")
		if f := bob.until("ROOM_TYPING"); f.in.User != "chat-1" || f.in.Room != room {
			t.Errorf("bob heard %s", f.Data)
		}
		bob.next("ROOM_MESSAGE")
	})
}
