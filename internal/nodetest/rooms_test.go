package nodetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/postgres"
)

// ask sends a frame about rooms and returns its answer; news that come before it are
// lost.
func (p *Peer) ask(kind, data string) Frame {
	p.t.Helper()
	p.Send(fmt.Sprintf(`{"type":%q,"data":%s,"reference":"asked"}`, kind, data))
	for {
		if f := p.Next(); string(f.Reference) == `"asked"` {
			return f
		}
	}
}

// until returns the next frame of a type; what comes before it is lost.
func (p *Peer) until(kind string) Frame {
	p.t.Helper()
	for {
		if f := p.Next(); f.Type == kind {
			return f
		}
	}
}

// seqOf returns the number of a message in a frame.
func seqOf(f Frame) (n int64) {
	_, _ = fmt.Sscan(f.Field("seq"), &n)
	return n
}

// roomEntry is a message as the history has it.
type roomEntry struct {
	ID, From, EditedBy, DeletedBy string
	Seq                           int64
	Content                       any
	Deleted                       bool
}

// historyOf reads all of a room's history, oldest first.
func (s *Server) historyOf(token, room string) (all []roomEntry) {
	s.t.Helper()
	for after := int64(0); ; {
		a := s.want(200, "GET", fmt.Sprintf("/v1/rooms/%s/messages?after=%d&limit=200", room, after), token, "")
		var page struct {
			Messages []roomEntry
			More     bool
		}
		if err := json.Unmarshal([]byte(a.Body), &page); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, page.Messages...)
		if !page.More {
			return all
		}
		after = page.Messages[len(page.Messages)-1].Seq
	}
}

// story is three users, one room, and a socket of each.
type story struct {
	t             *testing.T
	s             *Server
	ada, bob, cat tokens
	a, b, c       *Peer
	room          string
}

// The story of three users and a room, half of it over HTTP and half on sockets.
func TestThreeUsersAndARoom(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *Server) {
		y := &story{t: t, s: s, ada: s.signUp("ada"), bob: s.signUp("bob"), cat: s.signUp("cat")}
		y.a, y.b, y.c = socketOf(t, s, y.ada), socketOf(t, s, y.bob), socketOf(t, s, y.cat)
		y.meet()
		first, second := y.talk()
		y.read(second)
		y.change(first)
		y.part()
		y.two()
	})
}

// in makes a call about the room.
func (y *story) in(status int, who tokens, method, path, body string) Answer {
	y.t.Helper()
	return y.s.want(status, method, "/v1/rooms/"+y.room+path, who.access, body)
}

// meet: Ada makes a room, bob finds it among the public ones, cat is invited.
func (y *story) meet() {
	y.t.Helper()
	y.room = y.s.want(201, "POST", "/v1/rooms", y.ada.access, `{"name":"tea","public":true,"banner":"for all"}`).Field("id")
	y.a.until("ROOM_CHANGED")
	if list := y.b.ask("ROOM_LIST", `{"public":true}`); !strings.Contains(list.Raw, y.room) || strings.Contains(list.Raw, `"role"`) {
		y.t.Errorf("public rooms: %s", list.Raw)
	}
	y.b.ask("ROOM_JOIN", `{"room":"`+y.room+`"}`)
	if f := y.a.until("ROOM_MEMBER_JOINED"); f.Field("user") != y.bob.user || f.Field("role") != "member" {
		y.t.Errorf("got %s", f.Raw)
	}
	y.in(201, y.ada, "POST", "/members", `{"user":"`+y.cat.user+`"}`)
	if f := y.c.until("ROOM_CHANGED"); f.Field("name") != "tea" || f.Field("role") != "member" {
		y.t.Errorf("who was invited got %s", f.Raw)
	}
}

// talk: what is sent either way comes to the others.
func (y *story) talk() (first, second string) {
	y.t.Helper()
	sent := y.b.ask("ROOM_SEND", `{"room":"`+y.room+`","content":{"text":"Hello, everybody"},"clientId":"b1"}`)
	if sent.Type != "ROOM_SENT" || seqOf(sent) != 1 || sent.Field("clientId") != "b1" {
		y.t.Fatalf("got %s", sent.Raw)
	}
	for _, p := range []*Peer{y.a, y.c} {
		if f := p.until("ROOM_MESSAGE"); f.Field("id") != sent.Field("id") || f.Field("from") != y.bob.user || f.Field("content") != `{"text":"Hello, everybody"}` {
			y.t.Errorf("got %s", f.Raw)
		}
	}
	answer := y.in(201, y.ada, "POST", "/messages", `{"content":"hello bob"}`)
	for _, p := range []*Peer{y.a, y.b, y.c} { // ada's socket too: it did not send it
		if f := p.until("ROOM_MESSAGE"); seqOf(f) != 2 || f.Field("content") != "hello bob" {
			y.t.Errorf("got %s", f.Raw)
		}
	}
	return sent.Field("id"), answer.Field("id")
}

// read: unread counts, typing, read marks.
func (y *story) read(message string) {
	y.t.Helper()
	if list := y.s.want(200, "GET", "/v1/rooms", y.cat.access, ""); !strings.Contains(list.Body, `"unread":2`) {
		y.t.Errorf("cat's rooms: %s", list.Body)
	}
	y.c.Send(`{"type":"ROOM_TYPING","data":{"room":"` + y.room + `"}}`)
	if f := y.a.until("ROOM_TYPING"); f.Field("user") != y.cat.user {
		y.t.Errorf("got %s", f.Raw)
	}
	y.in(200, y.cat, "PUT", "/read", `{"id":"`+message+`"}`)
	if f := y.a.until("ROOM_READ_BY"); f.Field("user") != y.cat.user || seqOf(f) != 2 {
		y.t.Errorf("got %s", f.Raw)
	}
	if list := y.c.ask("ROOM_LIST", `{}`); !strings.Contains(list.Raw, `"unread":0`) {
		y.t.Errorf("cat's rooms: %s", list.Raw)
	}
}

// change: search, edit, delete, and what was before.
func (y *story) change(id string) {
	y.t.Helper()
	if found := y.in(200, y.cat, "GET", "/messages?words=hello+EVERYBODY", ""); strings.Count(found.Body, `"seq"`) != 1 || !strings.Contains(found.Body, id) {
		y.t.Errorf("found %s", found.Body)
	}
	message := "/messages/" + id
	y.in(200, y.bob, "PATCH", message, `{"content":"goodbye"}`)
	if f := y.c.until("ROOM_MESSAGE_CHANGED"); f.Field("content") != "goodbye" || f.Field("by") != y.bob.user {
		y.t.Errorf("got %s", f.Raw)
	}
	y.in(403, y.cat, "PATCH", message, `{"content":"mine"}`)
	if got := y.in(200, y.cat, "GET", message+"/versions", ""); !strings.Contains(got.Body, `"content":{"text":"Hello, everybody"}`) {
		y.t.Errorf("versions: %s", got.Body)
	}
	y.in(200, y.ada, "DELETE", message, "")
	y.b.until("ROOM_MESSAGE_CHANGED") // his own, which he made over HTTP
	if f := y.b.until("ROOM_MESSAGE_CHANGED"); f.Field("deleted") != "true" || f.Field("by") != y.ada.user {
		y.t.Errorf("got %s", f.Raw)
	}
	if all := y.s.historyOf(y.cat.access, y.room); len(all) != 2 || !all[0].Deleted || all[0].Content != nil || all[0].DeletedBy != y.ada.user || all[1].Content != "hello bob" {
		y.t.Errorf("the history: %+v", all)
	}
}

// part: roles, a ban, and the end.
func (y *story) part() {
	y.t.Helper()
	y.in(200, y.ada, "PATCH", "/members/"+y.bob.user, `{"role":"moderator"}`)
	y.in(200, y.bob, "PUT", "/bans/"+y.cat.user, "")
	if f := y.c.until("ROOM_MEMBER_LEFT"); f.Field("reason") != "banned" {
		y.t.Errorf("got %s", f.Raw)
	}
	y.in(403, y.cat, "POST", "/join", "")
	if got := y.in(200, y.bob, "GET", "/bans", ""); !strings.Contains(got.Body, y.cat.user) {
		y.t.Errorf("bans: %s", got.Body)
	}
	y.in(200, y.bob, "DELETE", "/bans/"+y.cat.user, "")
	y.in(200, y.cat, "POST", "/join", "")
	y.in(200, y.cat, "POST", "/leave", "")
	y.in(200, y.ada, "DELETE", "", "")
	if f := y.b.until("ROOM_CHANGED"); f.Field("deleted") != "true" {
		y.t.Errorf("got %s", f.Raw)
	}
	y.in(404, y.bob, "GET", "", "")
}

// two: ada and bob talk alone, until one blocks the other.
func (y *story) two() {
	y.t.Helper()
	room := y.a.ask("ROOM_CREATE", `{"with":"`+y.bob.user+`"}`).Field("id")
	if again := y.s.want(201, "POST", "/v1/rooms", y.bob.access, `{"with":"`+y.ada.user+`"}`); again.Field("id") != room {
		y.t.Errorf("two rooms of two: %s and %s", room, again.Body)
	}
	y.s.want(204, "PUT", "/v1/accounts/me/blocks/"+y.ada.user, y.bob.access, "")
	if f := y.a.ask("ROOM_SEND", `{"room":"`+room+`","content":1}`); f.Field("code") != "FORBIDDEN" {
		y.t.Errorf("got %s", f.Raw)
	}
}

// Fifty members on two nodes send at once; all see one order.
func TestOneOrderOnTwoNodes(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	url := postgres.Database(t)
	c := StartCluster(t, 2, func(_ int, s *NodeSettings) { s.More = chatOn + "db: {url: '" + url + "'}\n" })
	const members, each = 50, 6
	var people []tokens
	var peers []*Peer
	for i := range members { // before there are sockets, which nobody reads meanwhile
		people = append(people, c.Nodes[i%2].signUp(fmt.Sprint("user", i)))
	}
	for i, who := range people {
		peers = append(peers, socketOf(t, c.Nodes[i%2], who))
	}
	room := c.Nodes[0].want(201, "POST", "/v1/rooms", people[0].access, `{"name":"all","public":true}`).Field("id")
	for i, p := range peers[1:] {
		if f := p.ask("ROOM_JOIN", `{"room":"`+room+`"}`); f.Type != "ROOM_MEMBER_JOINED" {
			t.Fatalf("%d: %s", i, f.Raw)
		}
	}
	var all sync.WaitGroup
	orders := make([][]string, members)
	for i, p := range peers {
		all.Go(func() { orders[i] = talkAndListen(p, room, i, each, members*each) })
	}
	all.Wait()
	for i, order := range orders {
		if !slices.Equal(order, orders[0]) {
			t.Fatalf("member %d saw %v\nmember 0 saw %v", i, order, orders[0])
		}
	}
	for k, m := range c.Nodes[1].historyOf(people[0].access, room) {
		if m.Seq != int64(k+1) || m.Content != orders[0][k] {
			t.Fatalf("the history has %+v at %d, not %s", m, k+1, orders[0][k])
		}
	}
}

// talkAndListen sends messages to a room, all at once, and returns what it has seen there
// in the order of seq, its own among it, when it is so many. It checks that news come in order.
func talkAndListen(p *Peer, room string, who, each, total int) []string {
	order := make([]string, total)
	for k := range each {
		if err := p.TrySend(fmt.Sprintf(`{"type":"ROOM_SEND","data":{"room":%q,"content":"%d.%d"},"reference":"%d.%d"}`, room, who, k, who, k)); err != nil {
			p.t.Error(err)
			return nil
		}
	}
	last := int64(0)
	for range total {
		f, err := p.TryNext()
		for err == nil && f.Type != "ROOM_SENT" && f.Type != "ROOM_MESSAGE" {
			f, err = p.TryNext()
		}
		switch seq := seqOf(f); {
		case err != nil || seq < 1 || seq > int64(total) || order[seq-1] != "":
			p.t.Errorf("%d got %s, %v", who, f.Raw, err)
			return order
		case f.Type == "ROOM_SENT":
			order[seq-1] = strings.Trim(string(f.Reference), `"`)
		case seq <= last:
			p.t.Errorf("%d got message %d after %d", who, seq, last)
		default:
			last, order[seq-1] = seq, f.Field("content")
		}
	}
	return order
}

// A client whose connection is cut while it sends sends again what was not answered; all
// of it is there once.
func TestSentAgainAfterACutAMessageIsThereOnce(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *Server) {
		ada := s.signUp("ada")
		room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea"}`).Field("id")
		const messages = 200
		answered := make(map[string]string) // by clientId: the ID of the message
		for round := 0; len(answered) < messages; round++ {
			p := socketOf(t, s, ada)
			for i := range messages {
				if _, ok := answered[fmt.Sprint(i)]; ok {
					continue
				}
				if p.TrySend(fmt.Sprintf(`{"type":"ROOM_SEND","data":{"room":%q,"content":%d,"clientId":"%d"},"reference":"r"}`, room, i, i)) != nil {
					break
				}
			}
			for range 40 * (round + 1) { // and no more of the answers
				f, err := p.TryNext()
				if err != nil || len(answered) == messages {
					break
				}
				if f.Type == "ROOM_SENT" {
					if before, ok := answered[f.Field("clientId")]; ok && before != f.Field("id") {
						t.Errorf("%s was stored as %s and %s", f.Field("clientId"), before, f.Field("id"))
					}
					answered[f.Field("clientId")] = f.Field("id")
				}
				if len(answered) == messages {
					break
				}
			}
			p.Abort()
		}
		count := make(map[any]int)
		for _, m := range s.historyOf(ada.access, room) {
			count[m.Content]++
			if answered[fmt.Sprint(m.Content)] != m.ID {
				t.Errorf("%v is in the history as %s, and was answered as %s", m.Content, m.ID, answered[fmt.Sprint(m.Content)])
			}
		}
		for i := range messages {
			if count[float64(i)] != 1 {
				t.Errorf("message %d is there %d times", i, count[float64(i)])
			}
		}
	})
}

// What was answered before the process was killed is in the history, once.
func TestWhatWasSentBeforeAKillIsInTheHistory(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *Server) {
		ada := s.signUp("ada")
		room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea"}`).Field("id")
		sent, next := make(map[int64]string), 0
		for range 3 {
			p := socketOf(t, s, ada)
			send := func() {
				_ = p.TrySend(fmt.Sprintf(`{"type":"ROOM_SEND","data":{"room":%q,"content":"m%d","clientId":"c%d"}}`, room, next, next)) // killed, it gets none
				next++
			}
			for range 200 {
				send()
			}
			for answers := 0; ; answers++ {
				if answers == 300 {
					s.Kill()
				}
				f, err := p.TryNext()
				if err != nil {
					if answers < 300 {
						t.Fatal(err)
					}
					break
				}
				if f.Type == "ROOM_SENT" {
					sent[seqOf(f)] = f.Field("id") + " " + strings.Replace(f.Field("clientId"), "c", "m", 1)
					send()
				}
			}
			s.Start()
		}
		seen := make(map[any]bool)
		lost, duplicated, reordered := len(sent), 0, 0
		for k, m := range s.historyOf(ada.access, room) {
			if m.Seq != int64(k+1) {
				reordered++
			}
			if seen[m.Content] {
				duplicated++
			}
			seen[m.Content] = true
			if sent[m.Seq] == m.ID+" "+fmt.Sprint(m.Content) {
				lost--
			}
		}
		t.Logf("%d answered: lost %d, duplicated %d, reordered %d", len(sent), lost, duplicated, reordered)
		if lost+duplicated+reordered > 0 {
			t.Error("not each once, in order")
		}
	})
}

// The database goes while a room is talked in, and comes back: who sends hears of it, the
// session goes on, and what was answered is there once.
func TestTheDatabaseGoesWhileARoomIsTalkedIn(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	server := postgres.Start(t, "fsync=on")
	s := startWith(t, chatOn+"db: {url: '"+server.URL("postgres")+"'}\n")
	ada, bob := s.signUp("ada"), s.signUp("bob")
	room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea"}`).Field("id")
	s.want(201, "POST", "/v1/rooms/"+room+"/members", ada.access, `{"user":"`+bob.user+`"}`)
	p, q := socketOf(t, s, ada), socketOf(t, s, bob)
	sent := make(map[string]string)
	send := func(id int) Frame {
		f := p.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":"m%d","clientId":"m%d"}`, room, id, id))
		if f.Type == "ROOM_SENT" {
			sent[f.Field("clientId")] = f.Field("id")
		}
		return f
	}
	for i := range 20 {
		send(i)
	}
	server.Kill()
	if f := send(20); f.Type != "GENERAL_ERROR" || f.Field("code") != "STORE_DOWN" {
		t.Errorf("got %s", f.Raw)
	}
	if f := q.ask("ROOM_HISTORY", `{"room":"`+room+`"}`); f.Field("code") != "STORE_DOWN" {
		t.Errorf("got %s", f.Raw)
	}
	server.Start()
	Eventually(t, "rooms are back", func() bool { return send(20).Type == "ROOM_SENT" })
	send(21)
	for f := q.until("ROOM_MESSAGE"); f.Field("content") != "m21"; f = q.until("ROOM_MESSAGE") {
		if seqOf(f) < 21 {
			t.Errorf("got %s again", f.Raw)
		}
	}
	all := s.historyOf(ada.access, room)
	if len(all) != 22 {
		t.Errorf("%d messages are there", len(all))
	}
	for k, m := range all {
		if m.Seq != int64(k+1) || sent[fmt.Sprint(m.Content)] != m.ID {
			t.Errorf("%d is %+v", k+1, m)
		}
	}
}

// A session of events is one like any other, also for rooms.
func TestRoomsOverEvents(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	ada, bob := s.signUp("ada"), s.signUp("bob")
	room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea"}`).Field("id")
	s.want(201, "POST", "/v1/rooms/"+room+"/members", ada.access, `{"user":"`+bob.user+`"}`)
	events := listenAs(t, s, bob)
	s.want(201, "POST", "/v1/rooms/"+room+"/messages", ada.access, `{"content":"over there"}`)
	for {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(e.Data, `"ROOM_MESSAGE"`) {
			if !strings.Contains(e.Data, `"content":"over there"`) {
				t.Errorf("got %s", e.Data)
			}
			return
		}
	}
}

// listenAs opens a stream of events for an account.
func listenAs(t *testing.T, s *Server, who tokens) *EventReader {
	t.Helper()
	res, err := http.Get("http://" + s.Addr + "/v1/events?appId=chat&userId=" + who.user + "&token=" + who.access)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	events := NewEventReader(res.Body)
	if e, err := events.Next(); err != nil || !strings.Contains(e.Data, `"isAuthenticated":true`) {
		t.Fatalf("got %d %+v, %v", res.StatusCode, e, err)
	}
	return events
}

// Rooms are for users of the chat app, and where there are none who asks hears so.
func TestWhoHasNoRoomsHearsSo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	if f := SignIn(t, s, "ANZ-7", "").ask("ROOM_LIST", `{}`); f.Field("code") != "FORBIDDEN" {
		t.Errorf("got %s", f.Raw)
	}
	off := startWith(t, demoApps)
	p := SignIn(t, off, "ANZ-7", "")
	if f := p.ask("ROOM_LIST", `{}`); f.Type != "GENERAL_ERROR" || f.Field("code") != "CHAT_OFF" || !strings.Contains(f.Field("reason"), "chat.enabled") {
		t.Errorf("got %s", f.Raw)
	}
}

// Who has no answer makes a room again under the same Idempotency-Key, and has one; what
// has the key but is another wish, or another's, is not it.
func TestARoomIsMadeOnceUnderItsKey(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	ada, bob := s.signUp("ada"), s.signUp("bob")
	post := func(who tokens, body string) Answer {
		return s.Call("POST", "/v1/rooms", who.access, body, "Idempotency-Key", "k1")
	}
	first := post(ada, `{"name":"tea"}`)
	again := post(ada, `{"name":"tea"}`)
	if first.Status != 201 || again.Status != 201 || again.Field("id") != first.Field("id") || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %d %s, then %d %s", first.Status, first.Body, again.Status, again.Body)
	}
	if other := post(ada, `{"name":"coffee"}`); other.Status != 422 || other.Code() != "IDEMPOTENCY_MISMATCH" {
		t.Errorf("another wish: got %d %s", other.Status, other.Body)
	}
	if his := post(bob, `{"name":"tea"}`); his.Status != 201 || his.Field("id") == first.Field("id") {
		t.Errorf("bob got %d %s", his.Status, his.Body)
	}
	if list := s.want(200, "GET", "/v1/rooms", ada.access, ""); strings.Count(list.Body, `"id"`) != 1 {
		t.Errorf("ada's rooms: %s", list.Body)
	}
}
