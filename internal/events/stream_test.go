package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestAStreamBeginsWithTheReplyAndTheSessionsSecret(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	a := w.attach(st)
	s.expect("away false")
	list := a.got()
	var reply struct {
		Type string
		Data struct {
			UserID          string
			IsAuthenticated bool
			Session         string
		}
	}
	if len(list) != 1 || json.Unmarshal([]byte(list[0].Data), &reply) != nil {
		t.Fatalf("%q", list)
	}
	if reply.Type != "AUTH_CLIENT_REPLY" || !reply.Data.IsAuthenticated || reply.Data.UserID != "ANZ-7" {
		t.Errorf("%+v", reply)
	}
	found, err := w.streams.Find(reply.Data.Session)
	if err != nil || found != st {
		t.Errorf("the secret opens %v, %v", found, err)
	}
	if strings.Contains(list[0].ID, reply.Data.Session[handleText:]) {
		t.Error("the event's ID tells the secret")
	}
	for _, secret := range []string{"", list[0].ID, reply.Data.Session[:handleText] + strings.Repeat("A", secretText), reply.Data.Session + "x"} {
		if _, err := w.streams.Find(secret); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q opens something: %v", secret, err)
		}
	}
	st.End(wire.CloseNormal)
	if _, err := w.streams.Find(reply.Data.Session); !errors.Is(err, ErrUnknown) {
		t.Errorf("the secret of a client that has left opens something: %v", err)
	}
}

func TestASignInThatIsRefusedSaysWhy(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ answer, code string }{
		{`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"x","userId":"ANZ-7","isAuthenticated":false,"code":"BAD_TOKEN","reason":"no"}}`, "BAD_TOKEN"},
		{`{"type":"GENERAL_ERROR","data":{"code":"TOO_MANY","reason":"no"}}`, "TOO_MANY"},
		{`{"type":"INVALID_MESSAGE","data":{"code":"MISSING_FIELD","reason":"no"}}`, "MISSING_FIELD"},
		{`{"type":"AUTH_REQUIRED","data":{}}`, ""},
	} {
		w.answer = func(s *session, _ string) string { return c.answer }
		_, err := w.streams.Connect(t.Context(), w.request())
		var told *wire.Error
		if !errors.As(err, &told) || told.Code != c.code {
			t.Errorf("%s: %v", c.answer, err)
		}
		s := w.pipes[len(w.pipes)-1]
		<-s.told
		s.expect("away true")
		s.expect("close 1000")
		s.end(wire.CloseNotAuthentic, "NOT_AUTHENTICATED")
	}
	w.answer = func(s *session, _ string) string { s.end(wire.CloseSignInTimeout, "SIGN_IN_TIMEOUT"); return "" }
	var told *wire.Error
	if _, err := w.streams.Connect(t.Context(), w.request()); !errors.As(err, &told) || told.Code != wire.CodeBusy {
		t.Errorf("a sign-in that is not answered: %v", err)
	}
	w.answer = func(*session, string) string { return "" }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := w.streams.Connect(ctx, w.request()); !errors.As(err, &told) || told.Code != wire.CodeBusy {
		t.Errorf("a client that went: %v", err)
	}
	w.full = true
	if _, err := w.streams.Connect(t.Context(), w.request()); !errors.As(err, &told) || told.Reason != "no place" {
		t.Errorf("without a place: %v", err)
	}
	if n := w.streams.metrics.opened; n == nil || len(w.streams.streams) != 1 { // the one that is not over yet
		t.Errorf("%d streams are left", len(w.streams.streams))
	}
}

func TestAClientThatComesBackGetsWhatItHasNotHad(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	first := w.attach(st)
	s.expect("away false")
	one, two := s.has(1, "1"), s.has(2, "2")
	s.far.Ping(1, true)
	s.far.Through()
	s.quiet() // what was written is not what it has
	list := first.got()
	if got := datas(list[1:]); !slices.Equal(got, []string{one, two}) {
		t.Fatalf("%q", got)
	}
	first.End()
	st.Detach(first)
	s.expect("away true")
	three := s.has(3, "3")
	s.far.Through()

	back, err := w.back(list[1].ID)
	if err != nil || back != st || len(w.pipes) != 1 {
		t.Fatalf("%v, %d sessions", err, len(w.pipes))
	}
	s.expect("ack " + id(t, 1).String())
	second := w.attach(back)
	s.expect("away false")
	again := second.got()
	if got := datas(again); !slices.Equal(got, []string{two, three}) || again[0].ID != list[2].ID {
		t.Errorf("%q", again)
	}
	if err := st.Ack(again[1].ID); err != nil {
		t.Error(err)
	}
	s.expect("ack " + id(t, 3).String())
	s.expect("pong 1")
	if len(st.kept.buf) > 0 {
		t.Error("something is kept")
	}
}

func TestASecondAnswerTakesOverFromTheFirst(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	first := w.attach(st)
	s.expect("away false")
	back, err := w.back(first.got()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	second := w.attach(back)
	if !first.over() || second.over() {
		t.Error("the first answer goes on, or the second does not")
	}
	st.Detach(first) // found out late
	text := s.has(1, "1")
	s.far.Through()
	if got := datas(second.got()); !slices.Equal(got, []string{text}) {
		t.Errorf("%q", got)
	}
	if got := first.got(); len(got) != 1 {
		t.Errorf("the first got %q", got)
	}
	s.quiet()
}

// An event's ID alone opens nothing: whoever has it must sign in.
func TestWhoComesBackWithOtherCredentialsSignsInAnew(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	a := w.attach(st)
	s.expect("away false")
	s.has(1, "1")
	s.far.Through()
	last := a.got()[1].ID

	r := w.request()
	r.UserID, r.LastEventID = "ANZ-8", last
	other, err := w.streams.Connect(t.Context(), r)
	if err != nil || other == st {
		t.Fatalf("%v", err)
	}
	s.quiet() // another user's session is no business of his
	if a.over() {
		t.Error("it was ended")
	}

	r = w.request()
	r.Token, r.LastEventID = "newer", last
	renewed, err := w.streams.Connect(t.Context(), r)
	if err != nil || renewed == st || len(w.pipes) != 3 {
		t.Fatalf("%v", err)
	}
	s.expect("ack " + id(t, 1).String())
	s.expect("close 1000")

	w.answer = func(*session, string) string {
		return `{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"BAD_TOKEN","reason":"no"}}`
	}
	r.Token, r.LastEventID = "guessed", renewed.handle+".1"
	if _, err := w.streams.Connect(t.Context(), r); err == nil {
		t.Error("signed in")
	}
	renewedSession := w.pipes[2]
	<-renewedSession.told
	renewedSession.expect("away true")
	renewedSession.quiet()
}

func TestOnlyEventsThatWereSentCanBeAcknowledged(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	if err := st.Ack(st.handle + ".1"); !errors.Is(err, ErrBadID) {
		t.Errorf("before it was written: %v", err)
	}
	w.attach(st)
	s.expect("away false")
	other, _ := w.connect()
	for _, id := range []string{st.handle + ".2", other.handle + ".1", st.handle, "", st.handle + ".99999999999999999999"} {
		if err := st.Ack(id); !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := w.back(st.handle + ".2"); !errors.Is(err, ErrBadID) {
		t.Errorf("coming back: %v", err)
	}
	for range 2 {
		if err := st.Ack(st.handle + ".1"); err != nil {
			t.Error(err)
		}
	}
	s.quiet()
	// IDs of which nothing is known are those of a server that was restarted.
	for _, id := range []string{"x", strings.Repeat("A", handleText) + ".7", "1"} {
		if st, err := w.back(id); err != nil || len(w.pipes) == 0 {
			t.Errorf("%q: %v, %v", id, st, err)
		}
	}
}

func TestAPingIsAnsweredForWhatIsTrue(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	s.far.Ping(1, false)
	s.far.Through()
	s.quiet() // nobody is there
	a := w.attach(st)
	s.expect("away false")
	s.expect("pong 1")
	a.raw()

	s.far.Ping(2, false) // silence: the client is written to
	s.far.Through()
	s.expect("pong 2")
	if text := a.raw(); text != ":\n\n" {
		t.Errorf("%q", text)
	}
	s.has(0, "1") // FAST: written is enough
	s.far.Ping(3, false)
	s.far.Through()
	s.expect("pong 3")
	if text := a.raw(); strings.Contains(text, ":\n\n") {
		t.Errorf("%q", text)
	}
	s.far.Ping(4, false) // after what was written earlier
	s.far.Through()
	s.expect("pong 4")

	a.fails = true
	s.far.Ping(5, false)
	s.far.Through()
	s.expect("away true")
	s.quiet()
	if !a.over() {
		t.Error("the answer goes on")
	}
	b := w.attach(st)
	s.expect("away false")
	s.expect("pong 5")
	s.has(0, "1") // FAST, to be confirmed
	s.far.Ping(6, true)
	s.far.Ping(7, true)
	s.far.Through()
	s.quiet()
	list := b.got()
	if err := st.Ack(list[len(list)-1].ID); err != nil {
		t.Error(err)
	}
	s.expect("pong 7")
}

// A bare EventSource says what it has by coming back, so it is made to.
func TestAClientThatIsLateIsHadComeBackOnce(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	s.far.Late()
	s.quiet() // it is away
	a := w.attach(st)
	s.expect("away false")
	s.has(1, "1")
	s.far.Ping(1, true)
	s.far.Through()
	s.far.Late()
	s.expect("away true")
	if !a.over() {
		t.Error("the answer goes on")
	}
	back, err := w.back(a.got()[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	s.expect("ack " + id(t, 1).String())
	s.expect("pong 1")
	b := w.attach(back)
	s.expect("away false")

	// Who is still being written to is not: first it shall have everything.
	b.mu.Lock()
	stuck := make(chan struct{})
	b.stuck = stuck
	b.mu.Unlock()
	s.has(2, "2")
	var done sync.WaitGroup
	done.Go(s.far.Through)
	for !st.writes() {
	}
	s.far.Late()
	if b.over() {
		t.Error("it was cut off in the middle")
	}
	b.mu.Lock()
	b.stuck = nil
	b.mu.Unlock()
	close(stuck)
	done.Wait()
	if got := b.got(); len(got) != 1 || !b.over() {
		t.Errorf("got %q, over %t", got, b.over())
	}
}

// A client that has much to prove is asked soon, one that goes on proving is not.
func TestAClientWithMuchToProveIsAskedSoon(t *testing.T) {
	w := newWorld(t)
	w.streams.askAfter = 300 * time.Millisecond
	st, s := w.connect()
	a := w.attach(st)
	s.expect("away false")
	text := `"` + strings.Repeat("x", 10_000) + `"`
	n := 0
	for began := time.Now(); time.Since(began) < 700*time.Millisecond; n++ {
		s.has(n+1, text)
		s.far.Through()
		if n > 6 {
			if err := st.Ack(fmt.Sprintf("%s.%d", st.handle, n-5)); err != nil {
				t.Fatal(err)
			}
			s.expect("ack " + id(t, n-6).String())
		}
	}
	if a.over() {
		t.Error("it was asked though it says what it has")
	}
	s.has(n+1, text)
	s.far.Through()
	s.expect("away true")
	if !a.over() {
		t.Error("the answer goes on")
	}
	b := w.attach(st) // it knows nothing more: it is not asked again
	s.expect("away false")
	st.mu.Lock()
	if st.asking != nil || b.over() {
		t.Error("it is asked again")
	}
	st.mu.Unlock()
	s.end(0, "")
}

// writes says whether somebody writes.
func (st *Stream) writes() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.pumping
}

// waits says whether the session waits for room.
func (st *Stream) waits() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.room != nil
}

func TestWhatNobodyProvesMakesRoom(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	a := w.attach(st)
	text := `"` + strings.Repeat("x", 10_000) + `"`
	s.has(1, "1")
	for range 100 {
		s.has(0, text)
		s.far.Through()
	}
	if got := a.got(); len(got) != 102 {
		t.Errorf("%d events were written", len(got))
	}
	if size := st.kept.size(); size > keepMost {
		t.Errorf("%d bytes are kept", size)
	}
	back, err := w.back(a.got()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	got := w.attach(back).got()
	if _, n, _ := parseID(got[0].ID); n != 2 || len(got) < 15 || len(got) > 26 {
		t.Errorf("%d events are sent again, beginning with %d", len(got), n)
	}
}

// Line breaks cost seven bytes each as events. What counts is the frame, and a
// slow client has its time for every piece.
func TestAFrameOfNothingButLineBreaksCostsNoMoreThanAnother(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	a := w.attach(st)
	want := s.has(1, "["+strings.Repeat("\n", 60_000)+"]")
	if size := st.kept.size(); size > 62_000 {
		t.Errorf("%d bytes are kept", size)
	}
	s.far.Through() // does not wait
	if got := a.got(); len(got) != 2 || got[1].Data != want {
		t.Fatalf("%d events, the last with %d bytes", len(got), len(got[len(got)-1].Data))
	}
	if a.most > chunkMost {
		t.Errorf("%d bytes were written at once", a.most)
	}
}

// A client that never acknowledges, because it never has to, costs nothing while
// it is silent.
func TestWhatWasWrittenLongAgoIsNotKept(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	w.attach(st)
	s.expect("away false")
	s.has(0, "1")
	s.far.Through()
	for n := range 3 { // two silences
		if len(st.kept.events) != 2 {
			t.Errorf("after %d pings %d events are kept", n, len(st.kept.events))
		}
		s.far.Ping(uint64(n+1), false)
		s.far.Through()
	}
	if len(st.kept.events) != 0 || st.kept.buf != nil {
		t.Errorf("%d events are kept", len(st.kept.events))
	}
	s.has(1, "2") // RELIABLE: stays
	s.far.Through()
	for n := range 4 {
		s.far.Ping(uint64(n+5), true)
		s.far.Through()
	}
	if len(st.kept.events) != 1 {
		t.Errorf("%d events are kept", len(st.kept.events))
	}
}

func TestASessionWaitsWhileItsClientHasMuchToProve(t *testing.T) {
	w := newWorld(t)
	w.streams.askAfter = 10 * time.Millisecond
	st, s := w.connect()
	text := `"` + strings.Repeat("x", 10_000) + `"`
	fill := func(from int) {
		for n := range keepMost/10_000 + 1 {
			s.has(from+n, text)
		}
	}
	fill(1)
	var done sync.WaitGroup
	through := func() {
		t.Helper()
		done.Go(s.far.Through)
		for deadline := time.Now().Add(patience); !st.waits(); {
			if time.Now().After(deadline) {
				t.Fatal("it does not wait")
			}
		}
	}
	through() // the client is away
	a := w.attach(st)
	s.expect("away false")
	s.expect("away true") // it has everything, and is to say so
	back, err := w.back(a.got()[20].ID)
	if err != nil {
		t.Fatal(err)
	}
	done.Wait()
	s.expect("ack " + id(t, 20).String())
	b := w.attach(back)
	s.expect("away false")
	if n := len(b.got()); n != keepMost/10_000+1-20 {
		t.Errorf("%d events came", n)
	}

	fill(100)
	through()
	s.expect("away true")
	s.far.Hurry(time.Now().Add(time.Millisecond)) // the session ends
	done.Wait()
	s.far.Through()
}

func TestAClientIsToldHowItsSessionEnded(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		code  uint16
		name  string
		final bool
	}{
		{wire.CloseByMaster, "CLOSED_BY_MASTER", true},
		{wire.CloseNormal, "NORMAL", true},
		{wire.CloseRestart, "RESTART", false},
		{wire.CloseNotAcknowledged, "NOT_ACKNOWLEDGED", false},
	} {
		st, s := w.connect()
		a := w.attach(st)
		s.expect("away false")
		s.far.Closed(c.code, c.name)
		list := a.got()
		want := nodetest.Event{ID: list[0].ID, Event: "close", Data: fmt.Sprintf(`{"code":%d,"reason":%q}`, c.code, c.name)}
		if len(list) != 2 || list[1] != want || !a.over() {
			t.Errorf("%q", list)
		}
		s.expect("close 1000")
		count := len(w.pipes)
		for range 2 {
			_, err := w.back(list[0].ID) // at once, and when nothing is left of it
			var over *OverError
			if errors.As(err, &over) != c.final || c.final && over.Code != c.code {
				t.Errorf("%s: coming back: %v", c.name, err)
			}
			s.far.Gone()
		}
		if again := len(w.pipes) - count; again != 0 && c.final || again != 2 && !c.final {
			t.Errorf("%s: signed in %d times", c.name, again)
		}
		if err := st.Ack(list[0].ID); !errors.Is(err, ErrUnknown) {
			t.Errorf("an acknowledgement after the end: %v", err)
		}
		if st.Attach(&answer{}) {
			t.Error("attached to a session that is over")
		}
	}
	w.now = w.now.Add(31 * time.Second)
	if _, err := w.back(w.pipes[0].far.handle + ".1"); err != nil {
		t.Errorf("later: %v", err)
	}
	if len(w.streams.ended) != 0 || len(w.streams.order) != 0 {
		t.Error("sessions are remembered for ever")
	}
}

func TestSessionsThatAreOverAreNotAllRemembered(t *testing.T) {
	w := newWorld(t)
	for range endedMost + 10 {
		st, _ := w.connect()
		w.pipes[len(w.pipes)-1].end(wire.CloseByMaster, "")
		_ = st
	}
	if n := len(w.streams.ended); n != endedMost || len(w.streams.order) != endedMost {
		t.Errorf("%d are", n)
	}
}

// A session that is over waits a moment for what its client has to say.
func TestAcknowledgementsCountAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	a := w.attach(st)
	s.expect("away false")
	s.has(1, "1")
	s.far.Through()
	s.far.Closed(wire.CloseTokenExpired, "TOKEN_EXPIRED")
	s.quiet()
	if err := st.Ack(a.got()[1].ID); err != nil {
		t.Error(err)
	}
	s.expect("ack " + id(t, 1).String())
	s.expect("close 1000")

	for _, c := range []struct {
		code uint16
		away bool
	}{{wire.CloseRestart, false}, {wire.CloseTokenExpired, true}} {
		st, s = w.connect()
		a = w.attach(st)
		s.expect("away false")
		s.has(1, "1")
		s.far.Through()
		if c.away {
			st.Detach(a)
			s.expect("away true")
		}
		s.far.Closed(c.code, "") // nobody can say it any more
		s.expect("close 1000")
	}
}

func TestFramesOfAClientWait(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	send := func(text string) error { return st.Send(t.Context(), []byte(text)) }
	if err := send(`{"type":"MESSAGE"}`); err != nil {
		t.Error(err)
	}
	s.expect(`text {"type":"MESSAGE"}`)
	w.mu.Lock()
	w.limits.Frame = 50 * time.Millisecond
	s.stop = make(chan struct{})
	w.mu.Unlock()
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- send(`{"type":"MESSAGE"}`) }()
	}
	if err := <-errs; !errors.Is(err, ErrMany) {
		t.Errorf("one too many: %v", err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrBusy) {
			t.Errorf("too long: %v", err)
		}
	}
	s.quiet()
}

func TestMessageAckIsAnAcknowledgementOfItsEvent(t *testing.T) {
	w := newWorld(t)
	st, s := w.connect()
	w.attach(st)
	s.expect("away false")
	s.has(1, "1")
	s.has(0, "2")
	ack := fmt.Sprintf(`{"type":"MESSAGE_ACK","data":{"id":"%s"}}`, id(t, 1))
	if err := st.Send(t.Context(), []byte(ack)); err != nil { // not written yet: the session will say
		t.Error(err)
	}
	s.expect("text " + ack)
	s.far.Through()
	if err := st.Send(t.Context(), []byte(ack)); err != nil {
		t.Error(err)
	}
	s.expect("ack " + id(t, 1).String())
	if n := len(st.kept.events); n != 1 {
		t.Errorf("%d events are kept", n)
	}
	if err := st.Send(t.Context(), []byte(ack)); err != nil {
		t.Error(err)
	}
	s.expect("text " + ack)
}

// Everything at once: answers that break anywhere, clients that come back and
// acknowledge, and a session that goes on. The client that drops nothing but
// what it knows by its number has everything once and in order.
func TestNothingIsLostOrComesTwiceThroughCuts(t *testing.T) {
	const total = 3000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	st, s := w.connect()
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-s.told:
			case <-done:
				return
			}
		}
	})
	others.Go(func() {
		for n := range total {
			s.has(n+1, fmt.Sprintf(`"%d %s"`, n, strings.Repeat("x", n%2000)))
			if n%10 == 0 {
				s.far.Ping(uint64(n/10+1), true)
				s.far.Through()
			}
		}
		s.far.Through()
	})
	got, last := 0, st.handle+".1"
	for cuts := 0; got < total; cuts++ {
		back, err := w.back(last)
		if errors.Is(err, ErrBadID) {
			back, err = st, nil // it was never written
		}
		if err != nil {
			t.Fatal(err)
		}
		a := &answer{t: t}
		if !back.Attach(a) {
			t.Fatal("the session is over")
		}
		for seen := 0; seen < 1+random.IntN(30); {
			list := a.got()
			for _, e := range list[min(seen, len(list)):] {
				last = e.ID
				if strings.Contains(e.Data, "AUTH_CLIENT_REPLY") {
					continue
				}
				if want := fmt.Sprintf(`"content":"%d `, got); !strings.Contains(e.Data, want) {
					t.Fatalf("after %d cuts came %.80s, not %s", cuts, e.Data, want)
				}
				got++
			}
			seen = max(seen, len(list))
			if got == total || a.over() {
				break
			}
			if random.IntN(3) == 0 {
				if err := st.Ack(last); err != nil {
					t.Fatal(err)
				}
			}
		}
		a.mu.Lock()
		a.fails = true
		a.mu.Unlock()
		if random.IntN(2) == 0 {
			st.Detach(a)
		}
	}
	if err := st.Ack(last); err != nil {
		t.Error(err)
	}
	close(done)
	others.Wait()
	t.Log("lost 0, duplicated 0, reordered 0")
}
