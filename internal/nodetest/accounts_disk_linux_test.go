package nodetest

import (
	"fmt"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

func TestOnAFullDiskAccountsAreReadAndNoneIsMade(t *testing.T) {
	t.Parallel()
	dir, here := ownDisk(t, "96m")
	if !here {
		return
	}
	s := startOn(t, dir, chatOn+"limits: {minDiskFree: 1MiB, signUps: 1000000}\n")
	ada := s.signUp("ada")
	for _, free := range []int64{mib / 2, 0} {
		fillUp(t, dir, free)
		if a := s.Call("POST", "/v1/accounts", "", credentials("grace", aPassword)); a.Status != 507 || a.Code() != "STORE_FULL" {
			t.Errorf("%d bytes free: got %d %s", free, a.Status, a.Body)
		}
		s.want(200, "GET", "/v1/accounts/me", ada.access, "")
		socketOf(t, s, ada).Close()
		// Whoever signs out can, or hears that there is no room for that.
		if a := s.Call("DELETE", "/v1/sessions", ada.access, ""); a.Status != 204 && a.Status != 507 {
			t.Errorf("%d bytes free: got %d %s", free, a.Status, a.Body)
		}
		fillUp(t, dir, -1)
		ada = s.signInAs("ada", aPassword)
		s.Kill()
		s.Start()
	}
	if grace := s.signUp("grace"); grace.user != "chat-2" {
		t.Errorf("got %s", grace.user)
	}
}

func TestAPowerCutTakesBackNoAccountNoSignOutAndNoMessage(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	d := newDisk(t, faultfs.Strict)
	s := startOn(t, d.dir, chatOn+"limits: {signUps: 1000000}\n")
	ada := s.signUp("ada")
	room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea"}`).Field("id")
	for round := range 3 {
		p := socketOf(t, s, ada)
		for i := range 10 {
			p.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":%d}`, room, 10*round+i))
		}
		name := fmt.Sprint("user", round)
		s.signUp(name)
		out := s.signInAs("ada", aPassword)
		s.want(204, "DELETE", "/v1/sessions", out.access, "")
		powerCut(s, d, nil, faultfs.Nothing)
		s.Start()
		s.signInAs(name, aPassword)
		if a := s.Call("GET", "/v1/accounts/me", out.access, ""); a.Status != 401 {
			t.Errorf("a session that was ended stands: %d %s", a.Status, a.Body)
		}
		s.want(200, "GET", "/v1/accounts/me", ada.access, "")
		all := s.historyOf(ada.access, room)
		for i, m := range all {
			if m.Content != float64(i) {
				t.Errorf("message %d is %v", i, m.Content)
			}
		}
		if len(all) != 10*(round+1) {
			t.Errorf("%d messages are there of %d that were answered", len(all), 10*(round+1))
		}
	}
}
