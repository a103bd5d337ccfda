package events

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// pair are two nodes: a client of a session of the first comes to the second.
type pair struct {
	t    *testing.T
	a, b *world
	xa   *Exchange
	xb   *Exchange

	lines []*line
}

// line carries what one node says to the other, in order.
type line struct {
	to   func(message []byte)
	done chan struct{}

	mu     sync.Mutex
	queue  [][]byte
	news   chan struct{}
	held   bool // what is sent stays where it is
	cut    bool // what is sent is lost
	flying int  // bytes that were sent
}

// Send implements Nodes.
func (l *line) Send(_ string, parts ...[]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	message := bytes.Join(parts, nil)
	l.flying += len(message)
	l.queue = append(l.queue, message)
	l.wake()
	return true
}

func (l *line) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// hold keeps back what is sent, or lets it go.
func (l *line) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	l.wake()
}

// lose loses what is under way and what is sent, or does no more.
func (l *line) lose(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.queue = cut, nil
}

func (l *line) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flying
}

func (l *line) run() {
	for {
		select {
		case <-l.news:
		case <-l.done:
			return
		}
		for {
			l.mu.Lock()
			if l.held || len(l.queue) == 0 {
				l.mu.Unlock()
				break
			}
			message := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			l.to(message)
			clear(message) // it was valid during the call
		}
	}
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, a: newWorld(t), b: newWorld(t)}
	p.a.named("node-a")
	p.b.named("node-b")
	ab, ba := &line{}, &line{}
	p.lines = []*line{ab, ba}
	p.xa, p.xb = NewExchange(p.a.streams, ab), NewExchange(p.b.streams, ba)
	ab.to = func(m []byte) { p.xb.PeerReceive("node-a", m) }
	ba.to = func(m []byte) { p.xa.PeerReceive("node-b", m) }
	var running sync.WaitGroup
	for _, l := range p.lines {
		l.done, l.news = make(chan struct{}), make(chan struct{}, 1)
		running.Go(l.run)
	}
	t.Cleanup(func() {
		p.xa.Close()
		p.xb.Close()
		for _, l := range p.lines {
			close(l.done)
		}
		running.Wait()
	})
	p.up()
	return p
}

func (p *pair) up() {
	p.xa.PeerUp("node-b")
	p.xb.PeerUp("node-a")
}

func (p *pair) down() {
	p.xa.PeerDown("node-b")
	p.xb.PeerDown("node-a")
}

// named makes the world that of a node.
func (w *world) named(node string) { w.streams.tag = tag(node) }

// waits says how long a frame waits.
func (w *world) waits(frame time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limits.Frame = frame
}

// find returns the session of a secret as the second node sees it.
func (p *pair) find(secret string) Session {
	p.t.Helper()
	s, err := p.xb.Find(secret)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// back comes back to the second node, with an answer to write events to.
func (p *pair) back(last string) (Session, *answer) {
	p.t.Helper()
	r := p.b.request()
	r.LastEventID = last
	s, err := p.xb.Connect(p.t.Context(), r)
	if err != nil {
		p.t.Fatal(err)
	}
	a := &answer{t: p.t}
	if !s.Attach(a) {
		p.t.Fatal("the session is over")
	}
	return s, a
}

// reads waits until an answer has exactly these events, by their data.
func (p *pair) reads(a *answer, want ...string) {
	p.t.Helper()
	p.eventually("the client reads its events", func() bool { return slices.Equal(datas(a.got()), want) })
}

func (p *pair) eventually(what string, cond func() bool) {
	p.t.Helper()
	nodetest.Eventually(p.t, what, cond)
}

func TestAnyNodeTakesWhatAClientOfAnotherSends(t *testing.T) {
	p := newPair(t)
	st, s := p.a.connect()
	p.a.attach(st)
	s.expect("away false")
	far := p.find(st.secret)
	if err := far.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	frame := `{"type":"MESSAGE","data":{"to":"ANZ-1","content":1}}`
	if err := far.Send(t.Context(), []byte(frame)); err != nil {
		t.Fatal(err)
	}
	s.expect("text " + frame)
	s.has(1, "1")
	st.Through()
	if err := far.Ack(t.Context(), st.handle+".2"); err != nil {
		t.Fatal(err)
	}
	s.expect("ack " + id(t, 1).String())
	for _, wrong := range []string{st.handle + ".3", "x"} {
		if err := far.Ack(t.Context(), wrong); !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	guessed := p.find(st.handle + strings.Repeat("A", secretText))
	for what, err := range map[string]error{
		"known": guessed.Known(t.Context()), "ack": guessed.Ack(t.Context(), st.handle+".2"),
		"frame": guessed.Send(t.Context(), []byte(frame)), "end": guessed.End(t.Context(), 1000),
	} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%s with a secret that is none: %v", what, err)
		}
	}
	if err := far.End(t.Context(), wire.CloseNormal); err != nil {
		t.Fatal(err)
	}
	s.expect("close 1000")
	if err := far.Known(t.Context()); !errors.Is(err, ErrUnknown) {
		t.Errorf("a client that has left: %v", err)
	}
}

// The session stays where it is; the client gets on another node what it had not,
// and nothing twice.
func TestAClientGoesOnAtAnotherNode(t *testing.T) {
	p := newPair(t)
	st, s := p.a.connect()
	first := p.a.attach(st)
	s.expect("away false")
	s.has(1, "1")
	st.Through()
	s.has(0, "not acknowledged")
	st.Through()
	if n := len(first.got()); n != 3 {
		t.Fatalf("%d events", n)
	}
	there, second := p.back(st.handle + ".2")
	s.expect("ack " + id(t, 1).String())
	p.eventually("the former answer ends", first.over)
	p.reads(second, string(wire.AppendMessage(nil, "ANZ-9", []byte("not acknowledged"), nil)))
	if got := second.got()[0].ID; got != st.handle+".3" {
		t.Errorf("its ID is %s", got)
	}
	three := s.has(0, "3")
	st.Through()
	p.eventually("it gets what comes", func() bool { got := datas(second.got()); return len(got) == 2 && got[1] == three })
	s.quiet() // the client was never away
	if len(p.b.pipes) != 0 {
		t.Error("it was signed in anew")
	}

	there.Detach(second)
	s.expect("away true")
	third, err := p.a.back(st.handle + ".4")
	if err != nil || third != st {
		t.Fatal(third, err)
	}
	last := p.a.attach(st)
	s.expect("away false")
	if got := last.got(); len(got) != 0 {
		t.Errorf("it gets %q again", datas(got))
	}
}

// What is large, or fails, at another node is as at this one.
func TestEventsAreWrittenAtAnotherNodeAsHere(t *testing.T) {
	p := newPair(t)
	st, s := p.a.connect()
	first := p.a.attach(st)
	s.expect("away false")
	_, second := p.back(st.handle + ".1")
	p.eventually("the former answer ends", first.over)
	large := s.has(1, "["+strings.Repeat("\n", 2*chunkMost)+"]")
	st.Through()
	p.reads(second, large)
	if second.most > chunkMost {
		t.Errorf("%d bytes were written at once", second.most)
	}
	by := time.Now().Add(time.Hour)
	st.Hurry(by)
	p.eventually("it is hurried", func() bool {
		second.mu.Lock()
		defer second.mu.Unlock()
		return second.hurry.Sub(by).Abs() < time.Minute
	})
	second.mu.Lock()
	second.fails = true
	second.mu.Unlock()
	s.has(2, "2")
	st.Through()
	s.expect("away true")
	p.eventually("the answer ends", second.over)
}

func TestASessionThatIsOverIsSoAtEachNode(t *testing.T) {
	p := newPair(t)
	st, s := p.a.connect()
	first := p.a.attach(st)
	s.expect("away false")
	_, second := p.back(st.handle + ".1")
	p.eventually("the former answer ends", first.over)
	s.far.Closed(wire.CloseByMaster, "CLOSED_BY_MASTER")
	s.expect("close 1000") // when its client has been told
	s.far.Gone()
	p.eventually("the answer ends", second.over)
	if got := second.got(); len(got) != 1 || got[0].Event != "close" {
		t.Errorf("it was told %v", got)
	}
	r := p.b.request()
	r.LastEventID = st.handle + ".1"
	var over *OverError
	if _, err := p.xb.Connect(t.Context(), r); !errors.As(err, &over) || over.Code != wire.CloseByMaster {
		t.Errorf("coming back: %v", err)
	}
	r.Token = "another"
	if _, err := p.xb.Connect(t.Context(), r); err != nil {
		t.Errorf("with another token: %v", err)
	}
}

func TestOtherCredentialsAtAnotherNodeAreANewSession(t *testing.T) {
	p := newPair(t)
	st, s := p.a.connect()
	p.a.attach(st)
	s.expect("away false")
	s.has(1, "1")
	st.Through()
	r := p.b.request()
	r.Token, r.LastEventID = "newer", st.handle+".2"
	if _, err := p.xb.Connect(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	s.expect("ack " + id(t, 1).String())
	s.expect("close 1000")
	if len(p.b.pipes) != 1 {
		t.Error("it was not signed in anew")
	}

	// Another user's says nothing about it.
	st, s = p.a.connect()
	r.UserID, r.LastEventID = "ANZ-8", st.handle+".1"
	if _, err := p.xb.Connect(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := p.find(st.secret).Known(t.Context()); err != nil { // asked after it
		t.Error(err)
	}
	s.quiet()
}

// Between two nodes anything may be lost; both are told so, and then it is as if
// the client had been cut off.
func TestWhenTheLinkBreaksClientsComeBack(t *testing.T) {
	p := newPair(t)
	st, s := p.a.connect()
	first := p.a.attach(st)
	s.expect("away false")
	there, second := p.back(st.handle + ".1")
	p.eventually("the former answer ends", first.over)
	p.lines[0].lose(true)
	lost := s.has(1, "lost on its way")
	var writing sync.WaitGroup
	writing.Go(st.Through)
	p.down()
	s.expect("away true")
	writing.Wait()
	p.eventually("the answer ends", second.over)
	there.Detach(second)
	if there.Attach(second) {
		t.Error("an answer begins without a link")
	}
	p.lines[0].lose(false)
	p.up()
	_, third := p.back(st.handle + ".1")
	s.expect("away false")
	p.reads(third, lost)

	p.xa.PeerGone("node-b")
	s.expect("away true")
	p.xb.PeerGone("node-a")
	p.eventually("the answer ends", third.over)
	if _, err := p.xb.Find(st.secret); !errors.Is(err, ErrUnknown) {
		t.Errorf("a session of a node that is gone: %v", err)
	}
	if s, _ := p.back(st.handle + ".2"); s == nil || len(p.b.pipes) != 1 {
		t.Error("it is not signed in anew")
	}
}

func TestANodeThatDoesNotAnswerIsSaidToBeSo(t *testing.T) {
	p := newPair(t)
	p.b.waits(100*time.Millisecond - farPatience)
	st, s := p.a.connect()
	far := p.find(st.secret)
	frame := []byte(`{"type":"MESSAGE"}`)
	want := func(what string, err error, code string, mayYetArrive bool) {
		t.Helper()
		var told *wire.Error
		if !errors.As(err, &told) || told.Code != code || told.MayYetArrive != mayYetArrive {
			t.Errorf("%s: %v", what, err)
		}
	}
	p.lines[1].hold(true)
	want("a frame", far.Send(t.Context(), frame), wire.CodeTimeout, true)
	want("an acknowledgement", far.Ack(t.Context(), st.handle+".1"), wire.CodeTimeout, false)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := far.Known(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that goes: %v", err)
	}
	p.lines[1].lose(true)
	p.down()
	want("a frame without a link", far.Send(t.Context(), frame), wire.CodeBusy, false)

	// Whoever comes back is signed in anew; when the other node is heard again, the
	// former session has ended by itself, or does now.
	r := p.b.request()
	r.LastEventID = st.handle + ".1"
	if _, err := p.xb.Connect(t.Context(), r); err != nil || len(p.b.pipes) != 1 {
		t.Errorf("coming back: %v", err)
	}
	s.quiet()

	// What may be asked twice is, when its answer is lost. A frame is not.
	p.b.waits(time.Minute)
	p.lines[1].lose(false)
	p.lines[1].hold(true)
	p.up()
	answers := make(chan error, 2)
	go func() { answers <- far.Known(t.Context()) }()
	p.eventually("it is asked", func() bool { p.xb.mu.Lock(); defer p.xb.mu.Unlock(); return len(p.xb.peers["node-a"].asks) == 1 })
	p.lines[1].lose(true)
	p.down()
	p.lines[1].lose(false)
	p.lines[1].hold(false)
	p.up()
	if err := <-answers; err != nil {
		t.Errorf("what was asked twice: %v", err)
	}
	p.lines[1].hold(true)
	go func() { answers <- far.Send(t.Context(), frame) }()
	p.eventually("it is sent", func() bool { p.xb.mu.Lock(); defer p.xb.mu.Unlock(); return len(p.xb.peers["node-a"].asks) == 1 })
	p.lines[1].lose(true)
	p.down()
	want("a frame whose answer is lost", <-answers, wire.CodeTimeout, true)
	s.quiet()
}

// What waits for another node waits here, up to a bound, and does not fill the link.
func TestNotMoreIsOnItsWayToANodeThanMayBe(t *testing.T) {
	p := newPair(t)
	p.a.limits.Frames = 1 << 20
	st, s := p.a.connect()
	far := p.find(st.secret)
	p.lines[1].hold(true)
	const size = 64 << 10
	frame := []byte(`{"type":"MESSAGE","data":{"content":"` + strings.Repeat("x", size) + `"}}`)
	const frames = 2 * windowMost / size
	s.told = make(chan string, frames)
	var sending sync.WaitGroup
	for range frames {
		sending.Go(func() {
			if err := far.Send(t.Context(), frame); err != nil {
				t.Error(err)
			}
		})
	}
	p.eventually("the window is full", func() bool { return p.lines[1].sent() > windowMost-2*size })
	if n := p.lines[1].sent(); n > windowMost {
		t.Errorf("%d bytes are on their way", n)
	}
	p.lines[1].hold(false)
	sending.Wait()
	if len(s.told) != frames {
		t.Errorf("%d of %d arrived", len(s.told), frames)
	}
}

func TestTooManyRequestsForOtherNodesAreRefusedAndCounted(t *testing.T) {
	p := newPair(t)
	st, _ := p.a.connect()
	far := p.find(st.secret)
	p.lines[1].hold(true)
	var asking sync.WaitGroup
	for range askedMost {
		asking.Go(func() {
			if err := far.Known(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	p.eventually("so many are under way", func() bool { p.xb.mu.Lock(); defer p.xb.mu.Unlock(); return p.xb.asked == askedMost })
	var told *wire.Error
	if err := far.Known(t.Context()); !errors.As(err, &told) || told.Code != wire.CodeOverloaded {
		t.Errorf("one more: %v", err)
	}
	if n := value(t, p.b.streams.metrics.handedRefused); n != 1 {
		t.Errorf("%v are counted", n)
	}
	p.lines[1].hold(false)
	asking.Wait()
}

// A node that stops lets the clients go whose sessions are elsewhere.
func TestANodeThatLeavesEndsAnswersOfOtherNodes(t *testing.T) {
	p := newPair(t)
	st, s := p.a.connect()
	first := p.a.attach(st)
	s.expect("away false")
	there, second := p.back(st.handle + ".1")
	p.eventually("the former answer ends", first.over)
	p.xb.Leave()
	if !second.over() {
		t.Error("the answer goes on")
	}
	s.expect("away true")
	if there.Attach(&answer{t: t}) {
		t.Error("another begins")
	}
}

func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
