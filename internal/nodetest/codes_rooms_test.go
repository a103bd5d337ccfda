//go:build linux

package nodetest

import (
	"fmt"
	"testing"
)

// roomScenarios make the server send every frame about rooms, and their errors.
func roomScenarios() []scenario {
	return []scenario{
		{"rooms", []string{
			"client ROOM_SEND", "client ROOM_EDIT", "client ROOM_DELETE", "client ROOM_HISTORY", "client ROOM_SEARCH", "client ROOM_READ", "client ROOM_CREATE",
			"client ROOM_LIST", "client ROOM_UPDATE", "client ROOM_JOIN", "client ROOM_LEAVE", "client ROOM_INVITE", "client ROOM_REMOVE", "client ROOM_BAN",
			"client ROOM_UNBAN", "client ROOM_ROLE", "client ROOM_MEMBERS", "client ROOM_CLOSE", "client ROOM_TYPING",
			"server ROOM_TYPING", "server ROOM_SENT", "server ROOM_MESSAGE", "server ROOM_MESSAGE_CHANGED", "server ROOM_MESSAGES", "server ROOM_READ_BY", "server ROOM_CHANGED",
			"server ROOMS", "server ROOM_MEMBER_JOINED", "server ROOM_MEMBER_LEFT", "server ROOM_MEMBER_CHANGED", "server ROOM_MEMBER_LIST",
			"GENERAL_ERROR NOT_FOUND", "GENERAL_ERROR CONFLICT", "GENERAL_ERROR WRONG_DOMAIN",
		}, everyFrameAboutRooms},
		{"no rooms", []string{"GENERAL_ERROR CHAT_OFF"}, func(t *testing.T, b *codeBook) {
			p := b.joined(startWith(t, demoApps), "ANZ-1", "")
			b.send(p, `{"type":"ROOM_LIST","data":{}}`)
			b.want(p, "GENERAL_ERROR CHAT_OFF")
		}},
	}
}

func everyFrameAboutRooms(t *testing.T, b *codeBook) {
	s := startWith(t, chatOn)
	ada, bob := s.signUp("ada"), s.signUp("bob")
	p, q := socketOf(t, s, ada), socketOf(t, s, bob)
	// ask sends a frame, and returns its answer; what comes before is noted.
	ask := func(kind, data string) Frame {
		t.Helper()
		b.send(p, fmt.Sprintf(`{"type":%q,"data":{%s},"reference":"asked"}`, kind, data))
		for {
			if f := b.next(p); string(f.Reference) == `"asked"` {
				return f
			}
		}
	}
	room := ask("ROOM_CREATE", `"name":"tea"`).Field("id")
	here, him := `"room":"`+room+`"`, `,"user":"`+bob.user+`"`
	ask("ROOM_INVITE", here+him)
	b.send(p, `{"type":"ROOM_TYPING","data":{`+here+`}}`)
	sent := ask("ROOM_SEND", here+`,"content":"hello"`)
	for f := b.next(q); f.Type != "ROOM_MESSAGE"; f = b.next(q) {
		continue // joined, changed, and typing
	}
	message := here + `,"id":"` + sent.Field("id") + `"`
	ask("ROOM_EDIT", message+`,"content":"goodbye"`)
	ask("ROOM_HISTORY", here)
	ask("ROOM_SEARCH", here+`,"words":"goodbye"`)
	ask("ROOM_READ", message)
	ask("ROOM_DELETE", message)
	ask("ROOM_EDIT", message+`,"content":"again"`) // CONFLICT
	ask("ROOM_LIST", "")
	ask("ROOM_MEMBERS", here)
	ask("ROOM_UPDATE", here+`,"name":"coffee"`)
	ask("ROOM_JOIN", here)
	ask("ROOM_ROLE", here+him+`,"role":"moderator"`)
	ask("ROOM_REMOVE", here+him)
	ask("ROOM_BAN", here+him)
	ask("ROOM_UNBAN", here+him)
	ask("ROOM_HISTORY", `"room":"`+room+`@elsewhere"`) // WRONG_DOMAIN
	ask("ROOM_CLOSE", here)
	ask("ROOM_HISTORY", here) // NOT_FOUND
	here = `"room":"` + ask("ROOM_CREATE", `"name":"tea"`).Field("id") + `"`
	ask("ROOM_LEAVE", here)
}
