package nodetest

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// absent has messages wait for ANZ-2: it returns the server, and the sender,
// who has asked for receipts.
func absent(t *testing.T, n, size int) (s *Server, ann *Peer) {
	t.Helper()
	s = startWith(t, plainApp+"limits: {proofTimeout: 5m, ackTimeout: 5m}\n")
	ann = SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, n, size)
	return s, ann
}

// request asks for missed messages without waiting for them.
func request(p *Peer, count int) {
	p.t.Helper()
	p.Send(fmt.Sprintf(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":%d}}`, count))
}

// fetched reads until the end of a fetch and returns the numbers of series,
// the frames of other messages, and leftMissingCount.
func fetched(p *Peer, series string) (numbers []int, others []Frame, left int) {
	p.t.Helper()
	for {
		f := p.Next()
		switch f.Type {
		case "MESSAGE":
		case "FETCH_MISSING_MESSAGES_COMPLETE":
			left, err := strconv.Atoi(f.Field("leftMissingCount"))
			if err != nil {
				p.t.Fatalf("got %s", f.Raw)
			}
			return numbers, others, left
		default:
			p.t.Fatalf("a fetch is answered with %s", f.Raw)
		}
		if tag, n := number(f); tag == series {
			numbers = append(numbers, n)
		} else {
			others = append(others, f)
		}
	}
}

func sequence(first, last int) []int {
	var list []int
	for i := first; i < last; i++ {
		list = append(list, i)
	}
	return list
}

func TestTwoSessionsThatFetchAtOnceShareTheMailbox(t *testing.T) {
	t.Parallel()
	const n = 1000
	s, ann := absent(t, n, 300)
	for round := range 5 {
		one, two := SignIn(t, s, "ANZ-2", ""), SignIn(t, s, "ANZ-2", "")
		var got [2][]int
		var fetching sync.WaitGroup
		for i, p := range []*Peer{one, two} {
			fetching.Go(func() { got[i] = fetchAll(p, 7+3*i) })
		}
		fetching.Wait()
		if t.Failed() {
			return
		}
		for i := range got {
			if !slices.IsSorted(got[i]) {
				t.Errorf("round %d: session %d got them in the order %v", round, i, got[i])
			}
		}
		all := slices.Concat(got[0], got[1])
		slices.Sort(all)
		if !slices.Equal(all, sequence(round*n, (round+1)*n)) {
			t.Fatalf("round %d: %d and %d messages are not all of them once", round, len(got[0]), len(got[1]))
		}
		t.Logf("round %d: %d and %d", round, len(got[0]), len(got[1]))
		awaitSessions(t, s, 3)
		wantConfirmedInAnyOrder(t, ann, n)
		one.Close()
		two.Close()
		awaitSessions(t, s, 1)
		post(t, ann, "ANZ-2", "m", (round+1)*n, (round+2)*n, 300)
	}
}

// fetchAll fetches until nothing is left, count at a time. Any goroutine may
// call it.
func fetchAll(p *Peer, count int) (numbers []int) {
	for {
		if err := p.TrySend(fmt.Sprintf(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":%d}}`, count)); err != nil {
			p.t.Error(err)
			return nil
		}
		for some := 0; ; some++ {
			f, err := p.TryNext()
			if err != nil {
				p.t.Error(err)
				return nil
			}
			if f.Type == "FETCH_MISSING_MESSAGES_COMPLETE" {
				if f.Field("leftMissingCount") == "0" {
					return numbers
				}
				if some > count {
					p.t.Errorf("%d messages came, %d were asked for", some, count)
				}
				break
			}
			_, n := number(f)
			numbers = append(numbers, n)
		}
	}
}

// wantConfirmedInAnyOrder reads the confirmations of n messages.
func wantConfirmedInAnyOrder(t *testing.T, p *Peer, n int) {
	t.Helper()
	seen := make(map[string]bool)
	for range n {
		f := p.Expect("MESSAGE_CONFIRMATION")
		if seen[f.Field("reference")] {
			t.Fatalf("confirmed twice: %s", f.Raw)
		}
		seen[f.Field("reference")] = true
	}
}

func TestFetchingWhileMessagesFlow(t *testing.T) {
	t.Parallel()
	const missed, live = 3000, 2000
	s, ann := absent(t, missed, 50)
	bob := SignIn(t, s, "ANZ-2", "")
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range live {
			if err := ann.TrySend(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":%q}}`, numbered("live", i, 50))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var old []int
	var others []Frame
	for left := -1; left != 0; {
		request(bob, 64)
		got, more, now := fetched(bob, "m")
		if left = now; len(got) != min(64, missed-len(old)) {
			t.Fatalf("a fetch of 64 brought %d", len(got))
		}
		old, others = append(old, got...), append(others, more...)
		if left != missed-len(old) {
			t.Fatalf("leftMissingCount is %d after %d of %d", left, len(old), missed)
		}
	}
	sending.Wait()
	others = append(others, take(bob, live-len(others))...)
	if !slices.Equal(old, sequence(0, missed)) {
		t.Error("what was fetched is not what was missed, in order")
	}
	wantSeries(t, "live", others, "live", 0, live)
	wantNothing(t, "the receiver in the end", bob)
	awaitWaiting(t, s, 0)
	if before := len(others) - live; before != 0 {
		t.Errorf("%d live messages too many", before)
	}
}

func TestPushJoinsMissedAndLiveIntoOneOrder(t *testing.T) {
	t.Parallel()
	const missed, live = 2000, 2000
	for _, options := range []string{`{"push":true}`, `{"push":true,"ack":true}`} {
		s, ann := absent(t, missed, 50)
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range live {
				if err := ann.TrySend(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":%q}}`, numbered("m", missed+i, 50))); err != nil {
					t.Error(err)
					return
				}
			}
		})
		bob := SignIn(t, s, "ANZ-2", options)
		wantSeries(t, options, take(bob, missed+live), "m", 0, missed+live)
		sending.Wait()
		missedToo, left := bob.Fetch(100)
		if len(missedToo) > 0 || left != "0" {
			t.Errorf("with push there was something to fetch: %d, %s left", len(missedToo), left)
		}
	}
}

// docs/protocol.md: a whole number above 0; without it 100 is meant, and more
// than 2000 counts as 2000.
func TestCountsOfAFetch(t *testing.T) {
	t.Parallel()
	const n = 4300
	s, _ := absent(t, n, 20)
	bob := SignIn(t, s, "ANZ-2", "")
	for _, data := range []string{
		`{"count":0}`, `{"count":-1}`, `{"count":1.5}`, `{"count":"10"}`, `{"count":true}`, `{"count":[]}`,
		`{"count":1,"count":2}`,
	} {
		bob.Send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":` + data + `,"reference":"f"}`)
		if f := bob.Expect("INVALID_MESSAGE"); f.Field("code") != "BAD_FIELD" || string(f.Reference) != `"f"` {
			t.Errorf("%s is answered with %s", data, f.Raw)
		}
	}
	at := 0
	for _, c := range []struct {
		data string
		want int
	}{
		{`,"data":{"count":1}`, 1}, {`,"data":{}`, 100}, {`,"data":{"count":null}`, 100}, {`,"data":null`, 100}, {``, 100},
		{`,"data":{"count":20}`, 20}, {`,"data":{"count":2001}`, 2000}, {`,"data":{"count":99999999999999999999}`, 1879}, {`,"data":{"count":2000}`, 0},
	} {
		bob.Send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST"` + c.data + `}`)
		got, others, left := fetched(bob, "m")
		if len(others) > 0 {
			t.Fatalf("%s is answered with %s", c.data, others[0].Raw)
		}
		if !slices.Equal(got, sequence(at, at+c.want)) {
			t.Errorf("%s brought %d messages, want %d", c.data, len(got), c.want)
		}
		if at += len(got); left != n-at {
			t.Errorf("%s: leftMissingCount is %d, want %d", c.data, left, n-at)
		}
	}
}

func TestAFetchLeavesOutWhatAnotherSessionIsBeingSent(t *testing.T) {
	t.Parallel()
	s, ann := absent(t, 100, 50)
	one, two := SignIn(t, s, "ANZ-2", ""), SignIn(t, s, "ANZ-2", "")
	one.Silence(true) // it reads, and proves nothing
	request(one, 40)
	got, _, left := fetched(one, "m")
	if !slices.Equal(got, sequence(0, 40)) || left != 60 {
		t.Fatalf("the first got %v, %d left", got, left)
	}
	request(two, 2000)
	got, _, left = fetched(two, "m")
	if !slices.Equal(got, sequence(40, 100)) || left != 0 {
		t.Fatalf("the second got %v, %d left", got, left)
	}
	request(two, 2000)
	if got, _, left = fetched(two, "m"); len(got) != 0 || left != 0 {
		t.Fatalf("the second got %v, %d left, a second time", got, left)
	}
	wantConfirmed(t, ann, "m", 40, 100)
	one.Silence(false)
	round(one) // the next ping's pong proves the rest
	wantConfirmed(t, ann, "m", 0, 40)
	awaitWaiting(t, s, 0)
}

func TestASessionThatDiesInAFetchGivesItsMessagesBack(t *testing.T) {
	t.Parallel()
	const n = 500
	for _, c := range []struct {
		name  string
		other bool // another session of the user is there
	}{{"to the mailbox", false}, {"to another session", true}} {
		t.Run(c.name, func(t *testing.T) {
			s, ann := absent(t, n, 1000) // more than a session may have unproved
			one := SignIn(t, s, "ANZ-2", "")
			var other *Peer
			if c.other {
				other = SignIn(t, s, "ANZ-2", "")
			}
			one.Silence(true)
			request(one, n)
			some := take(one, 60)
			wantSeries(t, "on its way", some, "m", 0, 60)
			handed := int(s.Metric("switchboard_reliable_handed_total"))
			one.Abort()
			if c.other {
				awaitSessions(t, s, 2)
				wantSeries(t, "given back to the other session", take(other, handed), "m", 0, handed)
				request(other, n)
				got, _, left := fetched(other, "m")
				if !slices.Equal(got, sequence(handed, n)) || left != 0 {
					t.Errorf("%d messages were left to fetch, not %d; %d left", len(got), n-handed, left)
				}
			} else {
				awaitSessions(t, s, 1)
				two := SignIn(t, s, "ANZ-2", "")
				wantNothing(t, "a new session, unasked,", two)
				request(two, n)
				got, _, left := fetched(two, "m")
				if !slices.Equal(got, sequence(0, n)) || left != 0 {
					t.Errorf("%d messages came back, or not in order; %d left", len(got), left)
				}
			}
			wantConfirmed(t, ann, "m", 0, n)
			wantNothing(t, "the sender in the end", ann)
		})
	}
}

func TestFetchesOfOneSessionAreServedInTurnAndBounded(t *testing.T) {
	t.Parallel()
	const asked, refused = 12, 4 // 8 may wait
	s, _ := absent(t, 400, 1000)
	bob := SignIn(t, s, "ANZ-2", "")
	bob.Freeze() // so that the first fetch does not end
	for range asked {
		request(bob, 400)
	}
	awaitMetric(t, s, `switchboard_socket_refused_total{code="BUSY",kind="GENERAL_ERROR"}`, refused)
	bob.Thaw()
	got := make(map[string]int)
	for got["FETCH_MISSING_MESSAGES_COMPLETE"] < asked-refused {
		f := bob.Next()
		if _, n := number(f); f.Type == "MESSAGE" && n != got["MESSAGE"] {
			t.Fatalf("message %d came after %d others", n, got["MESSAGE"])
		}
		got[f.Type+f.Field("code")]++
	}
	if got["MESSAGE"] != 400 || got["GENERAL_ERRORBUSY"] != refused || len(got) != 3 {
		t.Errorf("got %v", got)
	}
	awaitWaiting(t, s, 0)
}
