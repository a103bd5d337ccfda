package socket

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestPongProvesWhatWasBeforeItsPing(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	r.deliver(1, number(1))
	p.text(string(number(1)))
	if got := p.next(finPing); got != "1" {
		t.Fatalf("ping %q", got)
	}
	r.deliver(2, number(2))
	p.text(string(number(2)))
	if got := p.next(finPing); got != "2" {
		t.Fatalf("ping %q", got)
	}
	p.pong("1")
	r.expect("prove 1")
	p.pong("2")
	r.expect("prove 2")
}

func TestNewestPongProvesEverything(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	for n := range uint64(3) {
		r.deliver(n+1, number(int(n)))
		p.next(finText)
		p.next(finPing)
	}
	p.pong("3")
	r.expect("prove 3")
	p.pong("2") // answered before
	p.settledDown()
	r.quiet()
	if n := r.counter("pongs_ignored_total"); n != 1 {
		t.Errorf("%v pongs ignored", n)
	}
}

func TestPongsThatProveNothingAreCounted(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	r.deliver(1, number(1))
	p.next(finText)
	p.next(finPing)
	bad := []string{"", "0", "01", "2", "x", "1x", "-1", " 1", "99999999999999999999999", strings.Repeat("1", 125)}
	for _, payload := range bad {
		p.pong(payload)
	}
	p.settledDown()
	r.quiet()
	if n := r.counter("pongs_ignored_total"); n != float64(len(bad)) {
		t.Errorf("%v of %d pongs ignored", n, len(bad))
	}
	p.pong("1")
	r.expect("prove 1")
}

func TestFastFrameWithoutReferenceNeedsNoPing(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	p.send(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":[1, 2]},"feature":"FAST"}`)
	p.text(`{"type":"MESSAGE","data":{"from":"ANZ-7","content":[1, 2]}}`)
	p.settledDown()
}

func TestFastFrameIsConfirmedWhenItIsProved(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	for i := range 3 {
		p.send(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":%d},"feature":"FAST","reference":"r%d"}`, i, i))
	}
	last := ""
	for texts := 0; texts < 3 || last == ""; {
		first, payload, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == finText {
			texts++
			last = ""
			continue
		}
		last = string(payload)
	}
	select {
	case got := <-r.store.confirmed:
		t.Fatalf("%s before it is proved", got)
	default:
	}
	p.pong(last)
	for i := range 3 {
		select {
		case got := <-r.store.confirmed:
			if want := fmt.Sprintf(`ANZ-7 has "r%d" of ANZ-7`, i); got != want {
				t.Errorf("%s, not %s", got, want)
			}
		case <-time.After(patience):
			t.Fatal("not confirmed")
		}
	}
}

func TestPingsStandEvery32KiBInABatch(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	s := r.session()
	s.mu.Lock()
	s.hold() // what is queued now becomes one batch
	s.mu.Unlock()
	for n := range uint64(12) {
		r.deliver(n+1, message(10_000))
	}
	s.mu.Lock()
	s.release()
	s.mu.Unlock()
	var order []string
	for len(order) == 0 || !strings.HasPrefix(order[len(order)-1], "ping") || len(order) < 12 {
		first, payload, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == finPing {
			order = append(order, "ping "+string(payload))
		} else {
			order = append(order, "text")
		}
	}
	want := "text text text text ping 1 text text text text ping 2 text text text text ping 3"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p.pong("2")
	r.expect("prove 8")
	p.pong("3")
	r.expect("prove 12")
}

func TestAnswerToClientPingsIsCoalesced(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	s := r.session()
	s.mu.Lock()
	s.hold()
	s.mu.Unlock()
	for i := range 100 {
		p.write(frame(finPing, []byte(strconv.Itoa(i))))
	}
	p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":3}}`)
	r.expect("fetch 3") // so the pings have been read
	s.mu.Lock()
	s.release()
	s.mu.Unlock()
	if got := p.next(finPong); got != "99" {
		t.Errorf("pong %q", got)
	}
	p.settledDown()
}

func TestIdleSessionIsAskedAndClosedWhenItDoesNotAnswer(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	r.advance(24 * time.Second)
	p.settledDown()
	r.advance(2 * time.Second)
	if got := p.next(finPing); got != "1" {
		t.Fatalf("ping %q", got)
	}
	p.pong("1")
	p.settledDown()
	r.quiet() // it proved nothing but that it lives
	r.advance(24 * time.Second)
	p.settledDown()
	r.advance(2 * time.Second)
	if got := p.next(finPing); got != "2" {
		t.Fatalf("ping %q", got)
	}
	r.advance(9 * time.Second)
	p.settledDown() // other signs of life prove nothing
	r.advance(2 * time.Second)
	p.closed(wire.CloseNoProof)
	r.expect("close ANZ-7")
	if n := r.counter("closes_total", "code", "4004"); n != 1 {
		t.Errorf("%v closes", n)
	}
}

// Also where that is less than a proof may take.
func TestIdleSessionIsAskedAsOftenAsIsSet(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.PingInterval = time.Second })
	p := r.join("ANZ-7", "")
	for i := range 5 {
		r.advance(1100 * time.Millisecond)
		if got := p.next(finPing); got != fmt.Sprint(i+1) {
			t.Fatalf("ping %q", got)
		}
		p.pong(fmt.Sprint(i + 1))
		p.settledDown()
	}
}

func TestDeadlineCountsFromTheLastProgress(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	for n := range uint64(5) {
		r.deliver(n+1, number(int(n)))
		p.next(finText)
		p.next(finPing)
	}
	for n := 1; n <= 4; n++ {
		r.advance(9 * time.Second)
		p.pong(strconv.Itoa(n))
		r.expect("prove " + strconv.Itoa(n))
	}
	r.advance(11 * time.Second)
	p.closed(wire.CloseNoProof)
	r.expect("close ANZ-7")
}

func TestPeerWithAClosedWindowIsClosed(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueBytes = 64 << 20 })
	r.join("ANZ-7", "") // and reads nothing any more
	s := r.session()
	for s.Fast(message(60_000), nil) && !stuck(s) {
	}
	r.hangs(s)
	r.clock.advance(9 * time.Second)
	r.quiet()
	r.clock.advance(2 * time.Second)
	r.expect("close ANZ-7") // though the write itself hangs
	r.stop()                // and returns, so no goroutine is left in it
}

// stuck says whether much waits though something is being written.
func stuck(s *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.bytes() > 32<<20
}

func TestWriteThatHadToWaitIsProgress(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueBytes = 64 << 20; l.QueueFrames = 1 << 20 })
	p := r.join("ANZ-7", "")
	s := r.session()
	for s.Fast(message(60_000), nil) && !stuck(s) {
	}
	for range 5 { // 45 s in all, without a single pong
		before := r.hangs(s)
		r.clock.advance(9 * time.Second)
		for waiting(s) > before-(1<<20) {
			if first, payload, err := p.read(); err != nil || first == finClose {
				t.Fatalf("the slow client is cut off: %v %q", err, payload)
			}
		}
	}
	r.quiet()
}

func waiting(s *session) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.bytes()
}

// hangs returns when the session's write hangs, and how much waits.
func (r *rig) hangs(s *session) int {
	last, since := -1, time.Now()
	r.wait("the write hangs", func() bool {
		if now := waiting(s); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 200*time.Millisecond
	})
	return last
}

func TestMessageAckProvesAllBeforeIt(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", `{"ack":true}`)
	var ids []wire.ID
	for n := range uint64(4) {
		ids = append(ids, r.deliver(n+1, number(int(n))))
		p.text(string(wire.AppendWithID(nil, number(int(n)), ids[n])))
		p.next(finPing)
	}
	p.pong("4")
	r.expect("pass 4")
	ack := func(id wire.ID) { p.send(`{"type":"MESSAGE_ACK","data":{"id":"` + id.String() + `"}}`) }
	ack(ids[2])
	r.expect("prove 3")
	ack(ids[1])
	p.fails("GENERAL_ERROR", "UNKNOWN_ID")
	ack(ids[3])
	r.expect("prove 4")
	p.send(`{"type":"MESSAGE_ACK","data":{"id":"x"}}`)
	p.fails("INVALID_MESSAGE", "BAD_FIELD")
}

func TestClientThatNeverAcknowledgesIsClosed(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", `{"ack":true}`)
	id := r.deliver(1, number(1))
	r.deliver(2, number(2))
	answer := func() { // every ping, as a browser does
		p.write(frame(finPing, []byte("sync")))
		for first := byte(0); first != finPong; {
			var payload []byte
			var err error
			if first, payload, err = p.read(); err != nil {
				t.Fatal(err)
			}
			if first == finPing {
				p.pong(string(payload))
			}
		}
	}
	answer()
	answer()
	r.wait("both have arrived", func() bool { return <-r.keeper.events == "pass 2" })
	r.advance(20 * time.Second)
	answer()
	p.send(`{"type":"MESSAGE_ACK","data":{"id":"` + id.String() + `"}}`)
	r.expect("prove 1")
	for range 2 { // the deadline begins anew
		r.advance(14 * time.Second)
		answer()
		answer()
	}
	r.advance(3 * time.Second)
	p.closedSkipping(wire.CloseNotAcknowledged)
	r.expect("close ANZ-7")
}

func TestProofsOnTheirWayCountWhenTheServerCloses(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	r.deliver(1, number(1))
	p.next(finText)
	p.next(finPing)
	if n := r.hub.Kick("ANZ-7", wire.CloseByMaster, "out"); n != 1 {
		t.Fatalf("kicked %d", n)
	}
	p.next(finClose)
	p.pong("1")
	r.expect("prove 1")
	p.write(frame(finClose, []byte{0x03, 0xe8}))
	r.expect("close ANZ-7")
}

func TestUnprovedFastFramesAreBounded(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames = 1 << 20; l.QueueBytes = 1 << 30 })
	r.join("ANZ-7", "")
	s := r.session()
	n := 0
	for s.Fast(number(n), func() {}) {
		n++
	}
	if n != maxFastProofs {
		t.Errorf("%d frames whose proof is awaited", n)
	}
	if !s.Fast(number(n), nil) {
		t.Error("a frame that needs no proof is refused too")
	}
}

func TestAClientHasFewPingsToAnswer(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	const frames = 200
	pings := 0
	for n := range uint64(frames) {
		r.deliver(n+1, number(int(n)))
		p.text(string(number(int(n))))
		if pings < soonPings {
			pings++
			if got := p.next(finPing); got != strconv.Itoa(pings) {
				t.Fatalf("ping %q after frame %d", got, n+1)
			}
		}
	}
	p.pong("1")
	r.expect("prove 1")
	if got := p.next(finPing); got != strconv.Itoa(soonPings+1) {
		t.Fatalf("ping %q after an answer", got)
	}
	p.pong(strconv.Itoa(soonPings + 1))
	r.expect(fmt.Sprintf("prove %d", frames))
	p.settledDown()
}

func TestMuchThatIsWrittenHasMorePingsButNotMany(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	const frames = 100
	large := []byte(`{"type":"MESSAGE","data":{"from":"ANZ-1","content":"` + strings.Repeat("x", pingEvery) + `"}}`)
	go func() {
		for n := range uint64(frames) {
			r.deliver(n+1, large)
		}
	}()
	pings := 0
	for texts := 0; texts < frames; {
		first, payload, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		switch first {
		case finText:
			texts++
		case finPing:
			pings++
			if got := string(payload); got != strconv.Itoa(pings) {
				t.Fatalf("ping %q, the %dth", got, pings)
			}
		}
	}
	if pings != maxPings {
		t.Fatalf("%d pings", pings)
	}
	p.pong(strconv.Itoa(pings))
	if got := p.next(finPing); got != strconv.Itoa(pings+1) {
		t.Fatalf("ping %q after the answer", got)
	}
}

func TestACloseHasItsPingWhateverIsUnanswered(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	for n := range uint64(soonPings + 5) {
		r.deliver(n+1, number(int(n)))
		p.text(string(number(int(n))))
		if n < soonPings {
			p.next(finPing)
		}
	}
	r.session().Kick(wire.CloseByMaster, "")
	if got := p.next(finPing); got != strconv.Itoa(soonPings+1) {
		t.Fatalf("ping %q before the close", got)
	}
}

func TestPingsOfAPipeThatNothingNeedsAreBounded(t *testing.T) {
	s := &session{pipe: new(Pipe)}
	for range 5000 {
		if s.proofs.added(pingEvery) && s.mayAsk(maxPings) {
			s.proofs.appendPing(nil)
		}
	}
	if n := s.proofs.marks.len(); n != maxMarks {
		t.Errorf("%d unanswered pings", n)
	}
	s.proofs.wanted = true
	if !s.mayAsk(soonPings) {
		t.Error("what needs proof gets no ping")
	}
}

func TestFastProofsOfManyPingsRunOnceEach(t *testing.T) {
	var p proofs
	var ran []int
	for i := range 100 {
		p.fast.push(func() { ran = append(ran, i) })
		p.appendPing(nil)
		p.written(0)
	}
	for _, pong := range []string{"10", "10", "9", "57", "100", "101"} {
		_, calls, _ := p.answered([]byte(pong), 0)
		for _, call := range calls {
			call()
		}
	}
	for i, got := range ran {
		if got != i {
			t.Fatalf("ran %v", ran)
		}
	}
	if len(ran) != 100 {
		t.Errorf("ran %d", len(ran))
	}
}

var _ delivery.Receiver = (*session)(nil)
