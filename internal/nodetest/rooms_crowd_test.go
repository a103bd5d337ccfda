package nodetest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/db"
)

// A room with 10 000 members, of whom 1 000 sessions are connected: each send is one
// stored message, comes to every session once and in order, waits in no mailbox, and
// counts as unread for those who were not there.
func TestARoomWithTenThousandMembers(t *testing.T) {
	Alone(t, ReasonFolder)
	const members, accounts, sessions, messages = 10_000, 100, 10, 20
	s := startWith(t, chatOn)
	ada := s.signUp("user1")
	room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"all"}`).Field("id")
	s.Kill()
	crowd(t, s, members)
	s.Start()

	people, peers := arrive(t, s, accounts, sessions)
	if t.Failed() {
		return
	}
	sender := socketOf(t, s, s.signInAs("user1", aPassword))
	stored := s.Metric("switchboard_chat_messages_stored_total")
	for i := range messages {
		sender.Send(fmt.Sprintf(`{"type":"ROOM_SEND","data":{"room":%q,"content":%d}}`, room, i))
	}
	for _, p := range peers {
		for i := range messages {
			if f := p.until("ROOM_MESSAGE"); f.Field("content") != strconv.Itoa(i) || seqOf(f) != int64(i+1) {
				t.Fatalf("%s got %s, not message %d", p.user, f.Raw, i)
			}
		}
	}
	for range messages {
		sender.Expect("ROOM_SENT")
	}
	if n := s.Metric("switchboard_chat_messages_stored_total") - stored; n != messages {
		t.Errorf("%v messages were stored for %d that were sent", n, messages)
	}
	if n := s.Metric("switchboard_chat_news_total"); n < messages*accounts*sessions {
		t.Errorf("%v news were handed over", n)
	}
	if n := s.Metric("switchboard_chat_news_dropped_total"); n > 0 {
		t.Errorf("%v news were dropped", n)
	}
	if _, left := peers[0].Fetch(10); left != "0" {
		t.Errorf("%s wait in a mailbox", left)
	}
	unread := func(who tokens, want int) {
		t.Helper()
		if a := s.want(200, "GET", "/v1/rooms", who.access, ""); !strings.Contains(a.Body, fmt.Sprintf(`"unread":%d`, want)) || !strings.Contains(a.Body, `"members":10000`) {
			t.Errorf("%s: %s, not %d unread", who.user, a.Body, want)
		}
	}
	unread(s.signInAs("user9999", aPassword), messages)
	unread(people[0], messages)
	s.want(200, "PUT", "/v1/rooms/"+room+"/read", people[0].access, `{"seq":15}`)
	unread(people[0], messages-15)
	unread(s.signInAs("user1", aPassword), 0)

	// What one of so many has read the reader's own sessions hear, and nobody else.
	own := 0
	sender.Send(fmt.Sprintf(`{"type":"ROOM_SEND","data":{"room":%q,"content":"last"}}`, room))
	for _, p := range peers {
		f := p.Next()
		if f.Type == "ROOM_READ_BY" && p.user == people[0].user {
			own++
			f = p.Next()
		}
		if f.Type != "ROOM_MESSAGE" {
			t.Errorf("%s got %s", p.user, f.Raw)
		}
	}
	if own != sessions {
		t.Errorf("%d of the reader's %d sessions heard of it", own, sessions)
	}
}

// arrive signs users in, from the second on, each on so many sockets.
func arrive(t *testing.T, s *Server, accounts, sessions int) (people []tokens, peers []*Peer) {
	t.Helper()
	people = make([]tokens, accounts)
	var all sync.WaitGroup
	var mu sync.Mutex
	for w := range 4 {
		all.Go(func() {
			for i := w; i < accounts; i += 4 {
				people[i] = s.signInAs(fmt.Sprint("user", i+2), aPassword)
				for range sessions {
					p, err := TryDial(context.Background(), t, s)
					if err == nil {
						err = p.TrySend(signInFrame(people[i], people[i].access))
					}
					if err == nil {
						_, err = p.TryNext()
					}
					if err != nil {
						t.Error(err)
						return
					}
					p.user = people[i].user
					mu.Lock()
					peers = append(peers, p)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return people, peers
}

// crowd makes further accounts, and puts them into the first room: what would take an
// hour of hashing over HTTP.
func crowd(t *testing.T, s *Server, members int) {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{Path: filepath.Join(s.Data, "switchboard.db")})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Crowd(t.Context(), "user", members), d.Close()); err != nil {
		t.Fatal(err)
	}
}
