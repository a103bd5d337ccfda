package delivery

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// walk lists an app's users page by page. between is called before each page but
// the first.
func walk(h *Hub, app string, limit int, between func()) (pages [][]Online) {
	for last := wire.UserID(""); ; between() {
		page, more := h.Users(app, last, limit)
		pages = append(pages, page)
		if !more {
			return pages
		}
		last = page[len(page)-1].User
	}
}

func ids(pages [][]Online) (list []wire.UserID) {
	for _, u := range slices.Concat(pages...) {
		list = append(list, u.User)
	}
	return list
}

func TestUsersAreListedInPagesByTheirIDs(t *testing.T) {
	h := newHub(&keeper{})
	for _, u := range []wire.UserID{"B-1", "A-7", "A-12", "AA-3", "A_1-5", "A-1"} {
		add(t, h, u)
	}
	add(t, h, "A-12")
	pages := walk(h, "A", 2, func() {})
	if got := fmt.Sprint(ids(pages)); got != "[A-1 A-12 A-7]" || len(pages) != 2 || len(pages[0]) != 2 {
		t.Errorf("listed %s in %d pages", got, len(pages))
	}
	if u := pages[0][1]; u.Sessions != 2 {
		t.Errorf("A-12 has %d sessions", u.Sessions)
	}
	for _, app := range []string{"C", "", "A-"} {
		if list, more := h.Users(app, "", 2); len(list) > 0 || more {
			t.Errorf("app %q has the users %v", app, list)
		}
	}
}

func TestAUserIsThereSinceTheOldestOfItsSessions(t *testing.T) {
	h := newHub(&keeper{})
	for _, second := range []int64{30, 20, 40} {
		r := newReceiver(t, "A-1")
		r.id, _ = wire.NewID(time.Unix(second, 0), rand.Reader)
		if _, err := h.Add(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := time.Unix(20, 0).UTC()
	if list, _ := h.Users("A", "", 1); len(list) != 1 || !list[0].Since.Equal(want) || list[0] != h.Online("A-1") {
		t.Errorf("listed %v", list)
	}
	if u := h.Online("A-2"); u.Sessions != 0 || !u.Since.IsZero() {
		t.Errorf("nobody is %v", u)
	}
	s := h.Sessions("A-1")
	if len(s) != 3 || !s[0].Since.Equal(want) || s[0].User != "A-1" || s[0].Transport != "websocket" || s[0].Address != "192.0.2.1:A-1" {
		t.Errorf("the sessions are %v", s)
	}
}

// Whoever stays is listed once, whatever others do between two pages.
func TestNobodyWhoStaysIsSkippedOrListedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHub(&keeper{})
		user := rapid.Map(rapid.IntRange(0, 40), func(n int) wire.UserID { return wire.UserID(fmt.Sprint("A-", n)) })
		there := make(map[wire.UserID]*receiver)
		change := func() {
			switch u := user.Draw(t, "user"); {
			case there[u] == nil:
				id, _ := wire.NewID(time.Unix(1, 0), rand.Reader)
				there[u] = &receiver{id: id, user: u}
				if _, err := h.Add(there[u], nil); err != nil {
					t.Fatal(err)
				}
			default:
				h.Remove(there[u])
				delete(there, u)
			}
		}
		for range rapid.IntRange(0, 60).Draw(t, "before") {
			change()
		}
		stayed := maps.Clone(there)
		list := ids(walk(h, "A", rapid.IntRange(1, 5).Draw(t, "limit"), func() {
			for range rapid.IntRange(0, 6).Draw(t, "between") {
				change()
			}
			for u, r := range stayed {
				if there[u] != r {
					delete(stayed, u)
				}
			}
		}))
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Fatalf("out of order, or twice: %v", list)
		}
		for u := range stayed {
			if !slices.Contains(list, u) {
				t.Fatalf("%s stayed, but is not among %v", u, list)
			}
		}
	})
}

func TestSessionsAreListedInPagesByUserAndID(t *testing.T) {
	h := newHub(&keeper{})
	var want []wire.ID
	for i := range 7 {
		for range i % 4 {
			want = append(want, add(t, h, wire.UserID(fmt.Sprint("A-", i))).id)
		}
		add(t, h, wire.UserID(fmt.Sprint("B-", i)))
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []wire.ID
		pages := 0
		for place, more := (Place{}), true; more; pages++ {
			var page []Session
			page, more = h.SessionsOf("A", place, limit)
			if len(page) > limit || more && len(page) < limit {
				t.Fatalf("limit %d: a page of %d, more: %t", limit, len(page), more)
			}
			for i, s := range page {
				if i > 0 && s.User < page[i-1].User {
					t.Fatalf("limit %d: %v", limit, page)
				}
				got = append(got, s.ID)
			}
			if len(page) > 0 {
				place = Place{page[len(page)-1].User, page[len(page)-1].ID}
			}
		}
		if most := (len(want)+limit-1)/limit + 1; len(got) != len(want) || pages > most {
			t.Fatalf("limit %d: %d of %d sessions in %d pages", limit, len(got), len(want), pages)
		}
		for _, id := range want {
			if !slices.Contains(got, id) {
				t.Fatalf("limit %d: a session is missing", limit)
			}
		}
	}
}

// A walk goes on behind a user who has left meanwhile.
func TestAPageBeginsBehindASessionThatIsGone(t *testing.T) {
	h := newHub(&keeper{})
	first, second := add(t, h, "A-1"), add(t, h, "A-1")
	rest := add(t, h, "A-2")
	page, more := h.SessionsOf("A", Place{}, 1)
	if len(page) != 1 || !more {
		t.Fatalf("listed %v, more: %t", page, more)
	}
	h.Remove(first)
	h.Remove(second)
	page, more = h.SessionsOf("A", Place{page[0].User, page[0].ID}, 2)
	if len(page) != 1 || page[0].ID != rest.id || more {
		t.Errorf("listed %v, more: %t", page, more)
	}
}

func TestOneSessionIsClosedAndTheOthersStay(t *testing.T) {
	h := newHub(&keeper{})
	a, b := add(t, h, "A-1"), add(t, h, "A-1")
	if !h.Close("A-1", b.id, wire.CloseNormal, "") || len(a.kicks) != 0 || !slices.Equal(b.kicks, []uint16{wire.CloseNormal}) {
		t.Errorf("closed %v and %v", a.kicks, b.kicks)
	}
	if h.Close("A-2", a.id, wire.CloseNormal, "") || h.Close("A-1", wire.ID{}, wire.CloseNormal, "") || len(a.kicks) != 0 {
		t.Error("a session was closed under another user's name, or one that is none")
	}
}

func TestListsUnderConcurrentUse(t *testing.T) {
	h := newHub(&keeper{})
	for i := range 300 {
		add(t, h, wire.UserID(fmt.Sprint("A-5", i)))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				r := newReceiver(t, wire.UserID(fmt.Sprintf("A-%d%d", i*2, n%500)))
				if _, err := h.Add(r, nil); err == nil {
					h.Remove(r)
				}
			}
		})
	}
	for range 50 {
		stayed := 0
		for _, u := range ids(walk(h, "A", 37, func() {})) {
			if strings.HasPrefix(string(u), "A-5") {
				stayed++
			}
		}
		if stayed != 300 {
			t.Errorf("%d of 300 were listed", stayed)
		}
	}
	close(stop)
	wg.Wait()
	if n := len(h.roster.after("A", "", 1000)); n != 300 {
		t.Errorf("%d users are left in the order", n)
	}
}

// A page costs what is in it, not what is connected.
func BenchmarkUsersPage(b *testing.B) {
	for _, connected := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(connected), func(b *testing.B) {
			h := newHub(&keeper{})
			for i := range connected {
				if _, err := h.Add(newReceiver(b, wire.UserID(fmt.Sprint("A-", 1_000_000+i))), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			last := wire.UserID("")
			for b.Loop() {
				page, more := h.Users("A", last, 100)
				if last = page[len(page)-1].User; !more {
					last = ""
				}
			}
		})
	}
}

func BenchmarkComeAndGo(b *testing.B) {
	h := newHub(&keeper{})
	list := make([]*receiver, 100_000)
	for i := range list {
		list[i] = newReceiver(b, wire.UserID(fmt.Sprint("A-", 1_000_000+i)))
		if _, err := h.Add(list[i], nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i = (i + 7919) % len(list) {
		h.Remove(list[i])
		if _, err := h.Add(list[i], nil); err != nil {
			b.Fatal(err)
		}
	}
}
