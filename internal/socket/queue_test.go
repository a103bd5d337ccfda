package socket

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// held stops the one session from writing until the result is called.
func (r *rig) held() (s *session, release func()) {
	s = r.session()
	s.awaitFlush()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold()
	return s, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.release()
	}
}

func TestFastFramesAreRefusedPastTheQueue(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits func(*Limits)
		size   int
		want   int
	}{
		{"frames", func(l *Limits) { l.QueueFrames = 7 }, 10, 7},
		{"bytes", func(l *Limits) { l.QueueBytes = 10_000 }, 951, 9}, // a frame is 1 kB with its envelope, and its header comes on top
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.limit(c.limits)
			p := r.join("ANZ-7", "")
			s, release := r.held()
			n := 0
			for s.Fast(message(c.size), nil) {
				n++
			}
			if n != c.want {
				t.Errorf("%d frames fit, not %d", n, c.want)
			}
			release()
			for range n {
				p.text(string(message(c.size)))
			}
			s.awaitFlush()
			if !s.Fast(message(c.size), nil) {
				t.Error("there is no room after everything was written")
			}
			p.text(string(message(c.size)))
		})
	}
}

func TestReliableFramesAlwaysFit(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames = 5; l.QueueBytes = 1000 })
	p := r.join("ANZ-7", "")
	s, release := r.held()
	for s.Fast(number(0), nil) {
	}
	for n := range uint64(100) {
		r.deliver(n+1, number(int(n)))
	}
	release()
	for range 5 {
		p.text(string(number(0)))
	}
	for n := range 100 {
		p.text(string(number(n)))
	}
	p.next(finPing)
}

// Who sends errors without reading the answers is read no further until it does,
// and then has them all.
func TestWhoDoesNotReadAnswersIsReadMoreSlowly(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames = 10 })
	p := r.join("ANZ-7", "")
	s, release := r.held()
	for i := range 100 {
		p.send(fmt.Sprintf(`{"type":"NONSENSE","reference":"%d"}`, i))
	}
	for blocked, deadline := false, time.Now().Add(patience); !blocked; runtime.Gosched() {
		s.mu.Lock()
		own := s.queue.own.frames
		blocked = s.sends.wake != nil
		s.mu.Unlock()
		if own > 5 || time.Now().After(deadline) {
			release()
			t.Fatalf("%d answers wait, and the reader does not", own)
		}
	}
	release()
	for i := range 100 {
		if got := p.next(finText); !strings.Contains(got, fmt.Sprintf(`"reference":"%d"`, i)) {
			t.Fatalf("answer %d is %s", i, got)
		}
	}
	p.settledDown()
}

func TestClientThatLetsNoticesPileUpIsClosed(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames, l.PresenceWatch = 10, 30 })
	p := r.join("ANZ-7", "")
	s, release := r.held()
	for range 20 + 30 { // all that are watched may be there at once
		s.Presence("ANZ-8", true)
	}
	if r.counter("closes_total", "code", "4007") != 0 {
		t.Error("closed for what it asked for")
	}
	s.Presence("ANZ-8", true)
	p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":3}}`)
	r.expect("close ANZ-7") // the request is not handled any more
	release()
	p.closed(wire.CloseTooSlow)
	r.quiet()
}

func TestWhatIsDroppedIsCounted(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	s, release := r.held()
	for range 5 {
		s.Fast(number(1), nil)
	}
	s.close(aborting(wire.ClosePolicy, ""))
	release()
	p.closed(wire.ClosePolicy)
	if n := r.counter("dropped_total", "reason", "closed"); n != 5 {
		t.Errorf("%v dropped", n)
	}
	r.stop()
	if n := r.counter("queued_bytes"); n != 0 {
		t.Errorf("%v bytes wait though there is no session", n)
	}
}

func TestIdleSessionHoldsNoBuffers(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	for n := range uint64(50) {
		r.deliver(n+1, number(int(n)))
	}
	s := r.session()
	s.awaitFlush()
	s.mu.Lock()
	last := fmt.Sprint(s.proofs.sent)
	s.mu.Unlock()
	for got := ""; got != last; {
		first, payload, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == finPing {
			got = string(payload)
		}
	}
	p.pong(last)
	p.settledDown()
	s.awaitFlush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue.buf != nil || s.proofs.marks.items != nil || s.queue.flushing {
		t.Errorf("the idle session holds %d bytes, %d marks", cap(s.queue.buf), cap(s.proofs.marks.items))
	}
	if n := r.counter("queued_bytes"); n != 0 {
		t.Errorf("%v bytes wait", n)
	}
}

func TestMessagesReachTheHub(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", `{"receipts":true}`)
	p.send(`{"type":"MESSAGE","data":{"to":"ANZ-8","content":{"a": 1}},"reference":"r","ttl":60,"confirmationEnabled":false}`)
	m := r.next()
	if m.From != "ANZ-7" || len(m.To) != 1 || m.To[0] != "ANZ-8" || m.Group || m.Confirm || !m.Receipt ||
		m.TTL != time.Minute || string(m.Reference) != `"r"` {
		t.Errorf("sent %+v", m)
	}
	m.Origin.Stored(wire.ID{}, m.Reference)
	p.text(`{"type":"MESSAGE_STORED","data":{"reference":"r"}}`)
	m.Origin.Failed(&wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeMailboxFull, Reason: "full", To: m.To}, m.Reference)
	p.text(`{"type":"DELIVER_FAILED","data":{"code":"MAILBOX_FULL","reason":"full","to":"ANZ-8"},"reference":"r"}`)
	m.Done()

	p.send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-8","bad","ANZ-9","ANZ-8"],"content":1},"reference":"g"}`)
	data := p.fails("DELIVER_FAILED", "BAD_RECEIVER")
	if to, _ := data["to"].([]any); len(to) != 1 || to[0] != "bad" {
		t.Errorf("refused %v", data["to"])
	}
	m = r.next()
	if len(m.To) != 2 || !m.Group {
		t.Errorf("sent %+v", m)
	}
	m.Done()
	p.send(`{"type":"GROUP_MESSAGE","data":{"to":["bad"],"content":1}}`)
	p.fails("DELIVER_FAILED", "BAD_RECEIVER")
	p.send(`{"type":"MESSAGE","data":{"to":"bad","content":1}}`)
	p.fails("INVALID_MESSAGE", "BAD_FIELD")
	p.send(`{"type":"MESSAGE","data":{"to":"DUCK-1","content":1}}`)
	p.fails("DELIVER_FAILED", "UNKNOWN_APP")
	r.limit(func(l *Limits) { l.GroupReceivers = 2 })
	p.send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-1","ANZ-2","ANZ-3"],"content":1}}`)
	p.fails("INVALID_MESSAGE", "TOO_MANY_RECEIVERS")
	p.settledDown()
}

// Only a RELIABLE message of a session with a producer has a number; of others
// "seq" is a member like any that is unknown.
func TestMessagesOfAProducerAreNumbered(t *testing.T) {
	const to = `"data":{"to":"ANZ-8","content":1},"reference":"r"`
	r := newRig(t)
	p := r.join("ANZ-7", `{"producer":"phone-1"}`)
	p.send(`{"type":"MESSAGE",` + to + `,"seq":9007199254740991}`)
	if m := r.next(); m.Producer != "phone-1" || m.Seq != wire.MaxSeq {
		t.Errorf("sent %+v", m)
	}
	p.send(`{"type":"GROUP_MESSAGE","seq":2,"data":{"to":["ANZ-8","ANZ-9"],"content":1}}`)
	if m := r.next(); m.Producer != "phone-1" || m.Seq != 2 || !m.Group {
		t.Errorf("sent %+v", m)
	}
	p.send(`{"type":"MESSAGE",` + to + `}`)
	p.text(`{"type":"INVALID_MESSAGE","data":{"code":"MISSING_FIELD","reason":"seq is missing"},"reference":"r"}`)
	for _, seq := range []string{"0", "-1", "1.5", `"1"`, "9007199254740992", `1,"seq":1`} {
		p.send(`{"type":"MESSAGE",` + to + `,"seq":` + seq + `}`)
		p.fails("INVALID_MESSAGE", "BAD_FIELD")
	}
	p.send(`{"type":"GROUP_MESSAGE","data":{"to":["bad","ANZ-9"],"content":1},"seq":null}`)
	p.fails("INVALID_MESSAGE", "MISSING_FIELD")
	p.send(`{"type":"MESSAGE",` + to + `,"feature":"FAST","seq":"x"}`)
	p.settledDown()

	plain := r.join("ANZ-6", `{"receipts":true}`)
	plain.send(`{"type":"MESSAGE",` + to + `,"seq":"x","seq":7}`)
	if m := r.next(); m.Producer != "" || m.Seq != 0 {
		t.Errorf("sent %+v", m)
	}
}

func TestFetchGoesToTheKeeper(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST"}`)
	r.expect("fetch 100")
	r.keeper.opened().Outlet.FetchDone(25)
	p.text(`{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":25}}`)
	p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":0}}`)
	p.fails("INVALID_MESSAGE", "BAD_FIELD")
	r.keeper.busy = true
	p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","reference":"f"}`)
	p.fails("GENERAL_ERROR", "BUSY")
}

func TestMasterClosesSessionsOfItsApp(t *testing.T) {
	r := newRig(t)
	master, user := r.join("ANZ-1", ""), r.join("ANZ-7", "")
	user.send(`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-1"}}`)
	user.fails("GENERAL_ERROR", "FORBIDDEN")
	master.send(`{"type":"CLOSE_CONNECTION","data":{"userId":"KIWI-7"}}`)
	master.fails("GENERAL_ERROR", "FORBIDDEN")
	master.send(`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-7"}}`)
	if reason := user.closed(wire.CloseByMaster); reason != "CLOSED_BY_MASTER" {
		t.Errorf("reason %q", reason)
	}
	r.expect("close ANZ-7")
	master.settledDown()
}

func TestReaderWaitsForTheStore(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
		want int // how many are sent before the first is settled

		behind bool
	}{
		{"messages", 10, 20, false},
		{"references", 60_000, 4, false},
		{"bytes", 60_000, 4, false},
		{"one at a time, where the store is behind", 10, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.limit(func(l *Limits) { l.QueueFrames = 20 })
			r.keeper.behind = c.behind
			p := r.join("ANZ-7", "")
			r.deliver(1, number(1))
			p.next(finText)
			p.next(finPing)
			text := fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-8","content":%q}}`, strings.Repeat("x", c.size))
			if c.name == "references" {
				text = fmt.Sprintf(`{"type":"MESSAGE","data":{"to":"ANZ-8","content":1},"reference":%q}`, strings.Repeat("x", c.size))
			}
			for range c.want + 1 {
				p.send(text)
			}
			p.pong("1")
			p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":3}}`)
			var list []*delivery.Send
			for range c.want {
				list = append(list, r.next())
			}
			r.blocked()
			r.advance(time.Minute) // nobody reads the pong: it cannot be too late
			r.quiet()
			if len(r.store.sends) > 0 {
				t.Fatal("more is sent than may wait")
			}
			list[0].Done()
			list = append(list, r.next())
			r.expect("prove 1")
			r.expect("fetch 3")
			for _, m := range list[1:] {
				m.Done()
			}
			p.settledDown()
		})
	}
}

// blocked returns when a session's reader waits for the store.
func (r *rig) blocked() {
	r.t.Helper()
	s := r.session()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		s.mu.Lock()
		blocked := s.sends.blocked
		s.mu.Unlock()
		if blocked {
			return
		}
	}
	r.t.Fatal("the reader does not wait")
}

func TestWaitForTheStoreEndsWithTheSession(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames = 20 })
	p := r.join("ANZ-7", "")
	for range 21 {
		p.send(`{"type":"MESSAGE","data":{"to":"ANZ-8","content":1}}`)
	}
	r.blocked()
	r.hub.Kick("ANZ-7", wire.CloseByMaster, "")
	p.closed(wire.CloseByMaster)
	r.expect("close ANZ-7")
	for range 20 {
		r.next().Done() // late, and harmless
	}
}

func TestFramesAreCountedByTypeAndFeature(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	p.send(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":1},"feature":"FAST"}`)
	p.next(finText)
	p.send(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":1}}`)
	r.next().Done()
	p.send(`nonsense`)
	p.next(finText)
	r.deliver(1, wire.AppendConfirmation(nil, []byte(`"r"`)))
	p.next(finText)
	p.next(finPing)
	for _, c := range []struct{ direction, kind, feature string }{
		{"in", "AUTH_CLIENT", ""}, {"in", "MESSAGE", "FAST"}, {"in", "MESSAGE", "RELIABLE"}, {"in", "invalid", ""},
		{"out", "AUTH_CLIENT_REPLY", ""}, {"out", "MESSAGE", "FAST"}, {"out", "MESSAGE_CONFIRMATION", "RELIABLE"}, {"out", "INVALID_MESSAGE", ""},
	} {
		if n := r.counter("frames_"+c.direction+"_total", "type", c.kind, "feature", c.feature); n != 1 {
			t.Errorf("%v frames %v", n, c)
		}
	}
	if n := r.counter("refused_total", "kind", "INVALID_MESSAGE", "code", "NOT_JSON"); n != 1 {
		t.Errorf("%v refusals", n)
	}
	if r.counter("bytes_in_total") == 0 || r.counter("bytes_out_total") == 0 || r.counter("pings_total") != 1 {
		t.Error("bytes or pings are not counted")
	}
}
