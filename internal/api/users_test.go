package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// decoded reads an answer.
func decoded(t testing.TB, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// walk follows "next" from page to page, and returns what stands under a member.
func (d *desk) walk(path, member string, pages int) []map[string]any {
	d.t.Helper()
	var all []map[string]any
	for n, next := 1, ""; ; n++ {
		said := wantStatus(d.t, d.h, 200, "GET", path+next, d.key)
		page := decoded(d.t, said)
		route, _, _ := strings.Cut(path, "?")
		d.described("GET", strings.NewReplacer("ANZ-3", "{userId}", "ANZ-7", "{userId}").Replace(route), 200, said)
		for _, x := range page[member].([]any) {
			all = append(all, x.(map[string]any))
		}
		cursor, more := page["next"].(string)
		if !more {
			if n != pages {
				d.t.Errorf("%s has %d pages, want %d", path, n, pages)
			}
			return all
		}
		next = "&cursor=" + cursor
	}
}

func TestWhoIsConnectedIsListedInPages(t *testing.T) {
	d := newDesk(t)
	for i := range 7 {
		d.connect(wire.UserID(fmt.Sprint("ANZ-", i)), byte(i))
	}
	d.connect("ANZ-3", 200)
	d.connect("SHOP-3", 201)
	users := d.walk("/v1/users?limit=3", "users", 3)
	if len(users) != 7 || users[3]["userId"] != "ANZ-3" || users[3]["sessions"] != 2.0 || users[3]["since"] != "1970-01-01T00:00:04.096Z" {
		t.Errorf("listed %v", users)
	}
	sessions := d.walk("/v1/sessions?limit=3", "sessions", 3)
	if len(sessions) != 8 || fmt.Sprintln(sessions[4]["userId"], sessions[4]["id"], sessions[4]["address"], sessions[4]["transport"]) !=
		"ANZ-3 "+(wire.ID{4: 0x10, 6: 0x70, 8: 0x80, 15: 200}).String()+" 192.0.2.7:1234 websocket\n" {
		t.Errorf("listed %v", sessions)
	}
	if own := d.walk("/v1/users/ANZ-3/sessions?", "sessions", 1); len(own) != 2 || own[0]["since"] == nil {
		t.Errorf("listed %v", own)
	}
	admin := with(d.world.key(""))
	for _, path := range []string{"/v1/users/ANZ-99/sessions"} {
		if said := wantStatus(t, d.h, 200, "GET", path, admin); said != `{"sessions":[]}`+"\n" {
			t.Errorf("%s: %s", path, said)
		}
	}
	for _, path := range []string{"/v1/users", "/v1/sessions"} {
		d.refused(403, CodeForbidden, "GET", path+"?app=SHOP", d.key)
		d.refused(400, CodeInvalidRequest, "GET", path, admin)
		d.refused(404, wire.CodeUnknownApp, "GET", path+"?app=NONE", admin)
		d.refused(400, CodeInvalidRequest, "GET", path+"?cursor=x", d.key)
		wantStatus(t, d.h, 200, "GET", path+"?app=SHOP", admin)
	}
	one := decoded(t, wantStatus(t, d.h, 200, "GET", "/v1/users?limit=1", d.key))
	d.refused(400, CodeInvalidRequest, "GET", "/v1/sessions?limit=1&cursor="+one["next"].(string), d.key)
}

func TestAUserIsShownWithItsMailbox(t *testing.T) {
	d := newDesk(t)
	d.store.box = mailbox.Mailbox{Messages: 2, Bytes: 300, Oldest: time.Unix(1_700_000_000, 0)}
	want := `{"userId":"ANZ-7","online":false,"sessions":0,"mailbox":{"messages":2,"bytes":300,"oldest":"2023-11-14T22:13:20.000Z"}}` + "\n"
	if said := wantStatus(t, d.h, 200, "GET", "/v1/users/ANZ-7", d.key); said != want {
		t.Errorf("got %s", said)
	}
	d.connect("ANZ-7", 1)
	d.store.box = mailbox.Mailbox{}
	said := wantStatus(t, d.h, 200, "GET", "/v1/users/ANZ-7", d.key)
	if u := decoded(t, said); u["online"] != true || u["sessions"] != 1.0 || u["since"] == nil || !strings.HasSuffix(said, `"mailbox":{"messages":0,"bytes":0}}`+"\n") {
		t.Errorf("got %s", said)
	}
	d.refused(403, CodeForbidden, "GET", "/v1/users/SHOP-7", d.key)
	d.refused(400, CodeInvalidRequest, "GET", "/v1/users/nobody", d.key)
}

// Who is there, and what waits, only the home of a user knows: "not connected" would
// be a lie. Sending goes through any domain.
func TestACallAboutAUserWhoLivesInAnotherDomainIsSentThere(t *testing.T) {
	d := newDesk(t)
	d.homes["ANZ-7"] = Home{"domain-02", "wss://d2/ws"}
	d.homes["ANZ-8"] = Home{}
	calls := 0
	for _, c := range Calls(Rooms{}) {
		if !strings.Contains(c.Path, "{userId}") || c.Auth == ByAccount { // which nobody opens here
			continue
		}
		calls++
		path := strings.NewReplacer("{userId}", "ANZ-7", "{id}", idOf(1).String()).Replace(c.Path)
		answer, said := ask(t, d.h, c.Method, path, d.key)
		d.described(c.Method, c.Path, answer.StatusCode, said)
		p := decoded(t, said)
		if answer.StatusCode != 421 || p["code"] != wire.CodeWrongDomain || p["domain"] != "domain-02" || p["home"] != "wss://d2/ws" || p["field"] != "userId" ||
			p["detail"] != "ANZ-7 lives in domain-02: ask there" {
			t.Errorf("%s %s: %s", c.Method, path, said)
		}
		nowhere := strings.Replace(path, "ANZ-7", "ANZ-8", 1)
		if p := d.refused(421, wire.CodeWrongDomain, c.Method, nowhere, d.key); p["home"] != nil || p["domain"] != nil {
			t.Errorf("%s %s: %v", c.Method, nowhere, p)
		}
	}
	if calls < 7 {
		t.Errorf("%d calls are about a user", calls)
	}
	d.want(201, `{"id":"`+idOf(0).String()+`","status":"stored"}`, "/v1/messages", `{"to":"ANZ-7","content":1}`)
	wantStatus(t, d.h, 200, "GET", "/v1/users/ANZ-9", d.key)
	d.refused(403, CodeForbidden, "GET", "/v1/users/SHOP-7", d.key)
}

func TestSessionsAreClosed(t *testing.T) {
	d := newDesk(t)
	a, b, other := d.connect("ANZ-7", 1), d.connect("ANZ-7", 2), d.connect("ANZ-8", 3)
	path := "/v1/users/ANZ-7/sessions/"
	d.refused(404, CodeNotFound, "DELETE", path+other.id.String(), d.key)
	d.refused(404, CodeNotFound, "DELETE", path+"x", d.key)
	d.refused(403, CodeForbidden, "DELETE", "/v1/users/SHOP-7/sessions", d.key)
	d.refused(403, CodeForbidden, "DELETE", "/v1/users/SHOP-7/sessions/"+a.id.String(), d.key)
	if said := wantStatus(t, d.h, 200, "DELETE", path+b.id.String(), d.key); said != `{"closed":1}`+"\n" || len(a.closed) > 0 || fmt.Sprint(b.closed) != "[1000]" {
		t.Errorf("%s: closed %v and %v", said, a.closed, b.closed)
	}
	if said := wantStatus(t, d.h, 200, "DELETE", "/v1/users/ANZ-7/sessions", d.key); said != `{"closed":2}`+"\n" || fmt.Sprint(a.closed) != "[1000]" || len(other.closed) > 0 {
		t.Errorf("%s: closed %v and %v", said, a.closed, other.closed)
	}
	if said := wantStatus(t, d.h, 200, "DELETE", "/v1/users/ANZ-9/sessions", d.key); said != `{"closed":0}`+"\n" {
		t.Errorf("nobody: %s", said)
	}
	read := with(d.world.key("ANZ", keys.UsersRead))
	d.refused(403, CodeScopeMissing, "DELETE", "/v1/users/ANZ-7/sessions", read)
}

// What waits is shown as a session would get it, byte for byte, whatever a
// general writer of JSON would say to it.
func TestAMailboxIsLookedIntoAndEmptied(t *testing.T) {
	d := newDesk(t)
	frame := "{\"type\":\"MESSAGE\",\"data\":{\"from\":\"ANZ-1\",\"content\":{ \"a\":1,\n \"a\":\"\\ud800\" }}}"
	at := time.Unix(1_700_000_000, 5_000_000)
	for i := range 5 {
		w := mailbox.Waiting{Place: uint64(10 + i), ID: idOf(i), Frame: []byte(frame), Accepted: at, Expires: at.Add(time.Hour)}
		if i == 1 {
			w.Expires = time.Time{}
		}
		d.store.waiting = append(d.store.waiting, w)
	}
	const path = "/v1/users/ANZ-7/mailbox/messages"
	said := wantStatus(t, d.h, 200, "GET", path+"?limit=2", d.key)
	next, _ := decoded(t, said)["next"].(string)
	want := `{"messages":[{"id":"` + idOf(0).String() + `","storedAt":"2023-11-14T22:13:20.005Z","expiresAt":"2023-11-14T23:13:20.005Z","frame":` + frame +
		`},{"id":"` + idOf(1).String() + `","storedAt":"2023-11-14T22:13:20.005Z","frame":` + frame + `}],"next":"` + next + `"}` + "\n"
	if said != want {
		t.Errorf("got %s\nwant %s", said, want)
	}
	if all := d.walk(path+"?limit=2", "messages", 3); len(all) != 5 || all[4]["id"] != idOf(4).String() {
		t.Errorf("%d are shown", len(all))
	}
	if said := wantStatus(t, d.h, 200, "DELETE", path, d.key); said != `{"removed":5}`+"\n" || fmt.Sprint(d.store.cleared) != "[ANZ-7]" {
		t.Errorf("%s, cleared %v", said, d.store.cleared)
	}
	d.store.waiting = nil
	if said := wantStatus(t, d.h, 200, "GET", path, d.key); said != `{"messages":[]}`+"\n" {
		t.Errorf("an empty mailbox is %s", said)
	}
	d.refused(403, CodeForbidden, "GET", "/v1/users/SHOP-7/mailbox/messages", d.key)
	d.refused(403, CodeForbidden, "DELETE", "/v1/users/SHOP-7/mailbox/messages", d.key)
	users := with(d.world.key("ANZ", keys.UsersRead))
	d.refused(403, CodeScopeMissing, "GET", path, users)
	d.refused(403, CodeScopeMissing, "DELETE", path, users)
	wantStatus(t, d.h, 200, "GET", "/v1/users/ANZ-7/mailbox", users)
}

func TestQuestionsAboutMailboxesFailAsTheStoreDoes(t *testing.T) {
	d := newDesk(t)
	calls := [][2]string{{"GET", "/v1/users/ANZ-7"}, {"GET", "/v1/users/ANZ-7/mailbox"}, {"GET", "/v1/users/ANZ-7/mailbox/messages"}, {"DELETE", "/v1/users/ANZ-7/mailbox/messages"}}
	d.limits.Wait = time.Nanosecond
	for _, c := range calls {
		d.store.fail = &wire.Error{Code: wire.CodeStoreDown, Reason: "because"}
		d.refused(503, wire.CodeStoreDown, c[0], c[1], d.key)
		d.store.fail = fmt.Errorf("read the mailbox: %w", errors.New("batch 7 is damaged"))
		d.refused(500, CodeInternal, c[0], c[1], d.key)
		d.store.waits = true
		if p := d.refused(504, wire.CodeTimeout, c[0], c[1], d.key); (p["mayYetArrive"] == true) != (c[0] == "DELETE") {
			t.Errorf("%s: %v", c, p)
		}
		d.store.waits = false
	}
}
