package nodetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/api"
)

// Who was away gets what was said from the history, behind the read mark, and no second
// copy from the mailbox, whether it is pushed or fetched.
func TestWhoWasAwayReadsTheHistoryFromTheReadMark(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *Server) {
		ada, bob := s.signUp("ada"), s.signUp("bob")
		p := socketOf(t, s, ada)
		room := p.ask("ROOM_CREATE", `{"name":"tea"}`).Field("id")
		s.want(201, "POST", "/v1/rooms/"+room+"/members", ada.access, `{"user":"`+bob.user+`"}`)
		send := func(from, to int) {
			for i := from; i <= to; i++ {
				if f := p.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":"m%d"}`, room, i)); seqOf(f) != int64(i) {
					t.Fatalf("got %s", f.Raw)
				}
			}
		}
		send(1, 3)
		s.want(200, "PUT", "/v1/rooms/"+room+"/read", bob.access, `{"seq":3}`)
		send(4, 9)

		q := Dial(t, s)
		q.Send(strings.TrimSuffix(signInFrame(bob, bob.access), "}}") + `,"options":{"push":true,"ack":true}}}`)
		if f := q.Expect("AUTH_CLIENT_REPLY"); f.Field("isAuthenticated") != "true" {
			t.Fatalf("got %s", f.Raw)
		}
		q.Barrier() // nothing comes by itself
		if _, left := q.Fetch(10); left != "0" {
			t.Errorf("%s wait in a mailbox", left)
		}
		q.Send(`{"type":"ROOM_LIST","data":{},"reference":"list"}`)
		list := q.Expect("ROOMS")
		if !strings.Contains(list.Raw, `"readSeq":3,"unread":6`) || !strings.Contains(list.Raw, `"lastSeq":9`) {
			t.Errorf("bob's rooms: %s", list.Raw)
		}
		q.Send(`{"type":"ROOM_HISTORY","data":{"room":"` + room + `","after":3}}`)
		page := q.Expect("ROOM_MESSAGES")
		for i := 1; i <= 10; i++ {
			if missed := i > 3 && i < 10; strings.Contains(page.Raw, fmt.Sprintf(`"content":"m%d"`, i)) != missed {
				t.Errorf("message %d: what bob missed is %s", i, page.Raw)
			}
		}
		send(10, 10)
		if f := q.Expect("ROOM_MESSAGE"); seqOf(f) != 10 {
			t.Errorf("got %s", f.Raw)
		}
	})
}

// To a stranger a private room is not there, whatever call is made about it, and nothing
// that was tried has done anything.
func TestAStrangerHearsOfNoCallThatThereIsAPrivateRoom(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	d := described(t, s)
	ada, eve := s.signUp("ada"), s.signUp("eve")
	room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"secret"}`).Field("id")
	message := s.want(201, "POST", "/v1/rooms/"+room+"/messages", ada.access, `{"content":"hush"}`).Field("id")
	state := func() string {
		return s.want(200, "GET", "/v1/rooms/"+room, ada.access, "").Body + s.want(200, "GET", "/v1/rooms/"+room+"/messages", ada.access, "").Body +
			s.want(200, "GET", "/v1/rooms/"+room+"/members", ada.access, "").Body + s.want(200, "GET", "/v1/rooms/"+room+"/bans", ada.access, "").Body
	}
	before, tried := state(), 0
	for _, c := range api.Calls(api.Rooms{}) {
		if !strings.HasPrefix(c.Path, "/v1/rooms/{room}") {
			continue
		}
		r := d.example(t, c, "chat", map[string]string{"room": room, "message": message})
		r.path = strings.ReplaceAll(r.path, "chat-7", ada.user)
		r.body = strings.NewReplacer("chat-7", eve.user, "chat-2", eve.user, "chat-9", eve.user).Replace(r.body)
		if a := r.do(s, eve.access); a.Status != http.StatusNotFound || a.Code() != "NOT_FOUND" || strings.Contains(a.Body, "secret") || strings.Contains(a.Body, "hush") {
			t.Errorf("%s %s %s: got %d %s", r.method, r.path, r.body, a.Status, a.Body)
		}
		tried++
	}
	if tried < 18 {
		t.Errorf("%d calls were tried", tried)
	}
	for _, query := range []string{"", "?public=true"} {
		if a := s.want(200, "GET", "/v1/rooms"+query, eve.access, ""); strings.Contains(a.Body, room) {
			t.Errorf("the list%s has it: %s", query, a.Body)
		}
	}
	if after := state(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}
