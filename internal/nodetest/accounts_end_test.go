package nodetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// What waits for somebody goes with the account.
func TestADeletedAccountHasNoMailbox(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	_, key := s.NewKey(`{"app":"chat","scopes":["users:read"]}`)
	waits := func(want string) {
		t.Helper()
		if a := s.want(200, "GET", "/v1/users/chat-2/mailbox", key, ""); a.Field("messages") != want {
			t.Errorf("%s messages are wanted: %s", want, a.Body)
		}
	}
	ada, grace := s.signUp("ada"), s.signUp("grace")
	p := Dial(t, s)
	p.Send(strings.Replace(signInFrame(ada, ada.access), `"data":{`, `"data":{"options":{"receipts":true},`, 1))
	p.Expect("AUTH_CLIENT_REPLY")
	p.Message(grace.user, "read this", `"reference":"r1"`)
	p.Expect("MESSAGE_STORED")
	waits("1")
	s.want(204, "DELETE", "/v1/accounts/me", grace.access, `{"password":"`+aPassword+`"}`)
	waits("0")
}

// An account that is deleted while it comes into rooms is in none afterwards: no room is
// left with an owner who is nobody.
func TestADeletedAccountIsInNoRoom(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *Server) {
		host := s.signUp("host")
		public := s.want(201, "POST", "/v1/rooms", host.access, `{"name":"open","public":true}`).Field("id")
		for i := range 8 {
			who := s.signUp(fmt.Sprint("short", i))
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					s.Call("POST", "/v1/rooms/"+public+"/join", who.access, "")
					s.Call("POST", "/v1/rooms", who.access, `{"name":"mine","public":true}`)
				})
			}
			wg.Go(func() { s.want(204, "DELETE", "/v1/accounts/me", who.access, `{"password":"`+aPassword+`"}`) })
			wg.Wait()
			if a := s.Call("POST", "/v1/rooms", who.access, `{"name":"late"}`); a.Status != 401 {
				t.Errorf("who is gone makes a room: %d %s", a.Status, a.Body)
			}
			if a := s.want(200, "GET", "/v1/rooms/"+public+"/members", host.access, ""); strings.Contains(a.Body, who.user) {
				t.Errorf("%s is still a member: %s", who.user, a.Body)
			}
			if a := s.want(200, "GET", "/v1/rooms?public=true", host.access, ""); strings.Count(a.Body, `"id"`) != 1 {
				t.Errorf("rooms are left of %s: %s", who.user, a.Body)
			}
		}
	})
}
