package nodetest

import (
	"fmt"
	"strings"
	"testing"
)

// What is wrong about rooms is refused by its field, on the socket and over HTTP, and
// harms nobody: the session goes on, and what is right is answered.
func TestBadInputAboutRoomsIsRefusedByItsField(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	ada := s.signUp("ada")
	p := socketOf(t, s, ada)
	room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea"}`).Field("id")
	const nobody = "0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"
	here := "/v1/rooms/" + room
	for _, c := range []struct {
		method, path, body string
		status             int
		code, field        string
	}{
		{"POST", "/v1/rooms", `{}`, 400, "MISSING_FIELD", "name"},
		{"POST", "/v1/rooms", `{"name":""}`, 400, "BAD_FIELD", "name"},
		{"POST", "/v1/rooms", `{"name":"` + strings.Repeat("ä", 101) + `"}`, 400, "BAD_FIELD", "name"},
		{"POST", "/v1/rooms", `{"name":"a\u0000"}`, 400, "BAD_FIELD", "name"},
		{"POST", "/v1/rooms", `{"name":7}`, 400, "INVALID_REQUEST", "name"},
		{"POST", "/v1/rooms", `{"name":"a","secret":true}`, 400, "INVALID_REQUEST", "secret"},
		{"POST", "/v1/rooms", `{"name":"a","with":"chat-1"}`, 400, "BAD_FIELD", "with"},
		{"POST", "/v1/rooms", `{"with":"` + ada.user + `"}`, 400, "BAD_FIELD", "with"},
		{"POST", "/v1/rooms", `{"with":"chat-99"}`, 404, "NOT_FOUND", ""},
		{"POST", "/v1/rooms", `{"with":"ANZ-1"}`, 400, "BAD_FIELD", "with"},
		{"GET", "/v1/rooms?limit=x", "", 400, "INVALID_REQUEST", "limit"},
		{"GET", "/v1/rooms?after=x", "", 400, "BAD_FIELD", "after"},
		{"GET", "/v1/rooms/tea", "", 400, "INVALID_REQUEST", "room"},
		{"GET", "/v1/rooms/" + nobody, "", 404, "NOT_FOUND", ""},
		{"GET", here + "@elsewhere", "", 421, "WRONG_DOMAIN", ""},
		{"PATCH", here, `{}`, 400, "MISSING_FIELD", "name"},
		{"POST", here + "/messages", `{}`, 400, "INVALID_REQUEST", "content"},
		{"POST", here + "/messages", `{"content":null}`, 400, "MISSING_FIELD", "content"},
		{"POST", here + "/messages", `{"content":"` + strings.Repeat("x", 16<<10) + `"}`, 400, "BAD_FIELD", "content"},
		{"POST", here + "/messages", `{"content":1,"clientId":"` + strings.Repeat("x", 65) + `"}`, 400, "INVALID_REQUEST", "clientId"},
		{"GET", here + "/messages?before=0", "", 400, "INVALID_REQUEST", "before"},
		{"GET", here + "/messages?before=5&after=2", "", 400, "INVALID_REQUEST", "after"},
		{"GET", here + "/messages?words=", "", 400, "BAD_FIELD", "words"},
		{"GET", here + "/messages?limit=201", "", 400, "INVALID_REQUEST", "limit"},
		{"GET", here + "/messages?limit=0", "", 400, "INVALID_REQUEST", "limit"},
		{"GET", here + "/members?limit=201", "", 400, "INVALID_REQUEST", "limit"},
		{"POST", here + "/members", `{"userId":"chat-2"}`, 400, "INVALID_REQUEST", "userId"},
		{"GET", here + "/messages?words=%21", "", 400, "BAD_FIELD", "words"},
		{"GET", here + "/messages?words=1+2+3+4+5+6+7+8+9", "", 400, "TOO_MANY", "words"},
		{"PATCH", here + "/messages/7", `{"content":1}`, 400, "INVALID_REQUEST", "message"},
		{"PATCH", here + "/messages/" + nobody, `{"content":1}`, 404, "NOT_FOUND", ""},
		{"PUT", here + "/read", `{}`, 400, "INVALID_REQUEST", "id"},
		{"PUT", here + "/read", `{"seq":-1}`, 400, "INVALID_REQUEST", "seq"},
		{"PATCH", here + "/members/chat-1", `{"role":"king"}`, 400, "BAD_FIELD", "role"},
		{"PATCH", here + "/members/chat-1", `{"role":"member"}`, 409, "CONFLICT", ""},
		{"DELETE", here + "/members/chat-1", "", 400, "BAD_FIELD", "user"},
		{"PUT", here + "/members", "", 405, "METHOD_NOT_ALLOWED", ""},
	} {
		a := s.Call(c.method, c.path, ada.access, c.body)
		if a.Status != c.status || a.Code() != c.code || a.Field("field") != c.field {
			t.Errorf("%s %s %.60s: got %d %s", c.method, c.path, c.body, a.Status, a.Body)
		}
	}
	for frame, code := range map[string]string{
		`{"type":"ROOM_SEND"}`:           "MISSING_FIELD",
		`{"type":"ROOM_SEND","data":[]}`: "BAD_FIELD",
		`{"type":"ROOM_SEND","data":{"room":"` + room + `","content":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}}`: "TOO_DEEP",
		`{"type":"ROOM_SEND","data":{"room":"` + room + `","content":"` + strings.Repeat("x", 20<<10) + `"}}`:                       "BAD_FIELD",
		`{"type":"ROOM_SENT","data":{}}`:                          "UNKNOWN_TYPE",
		`{"type":"ROOM_TYPING","data":{"room":"` + nobody + `"}}`: "NOT_FOUND",
		`{"type":"ROOM_LIST","data":{"after":"1e3"}}`:             "BAD_FIELD",
	} {
		p.Send(frame)
		f := p.Next()
		for f.Field("code") == "" { // news of the room that was made
			f = p.Next()
		}
		if f.Field("code") != code {
			t.Errorf("%.60s: got %s, want %s", frame, f.Raw, code)
		}
	}
	if f := p.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":"right"}`, room)); f.Type != "ROOM_SENT" || seqOf(f) != 1 {
		t.Errorf("got %s", f.Raw)
	}
}
