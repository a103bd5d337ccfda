package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const two = `
domains:
  - {name: domain-01, urls: ["ws://d1"]}
  - {name: domain-02, urls: ["ws://d2", "http://d2b"]}
domainLinks: [{n1: domain-01, n2: domain-02}]
`

const alone = `
domains:
  - {name: domain-01, urls: ["ws://d1"]}
`

// world is the links of domain-01, with neighbours that do what the test says.
type world struct {
	t     *testing.T
	links *Links
	log   logged
	dials chan *fake // connections, as they are made
	got   chan taken // what was handed on

	mu      sync.Mutex
	network *domains.Network
	mine    bool
	refuse  error // of who dials
	urls    []string
	stale   int
}

// taken is a FORWARD that was handed on.
type taken struct {
	*wire.Forward
	from delivery.Neighbour
	done func(error)
}

// fake is a connection to a neighbour.
type fake struct {
	take  func(context.Context, []byte) error
	where where
	acks  chan wire.ID
	done  chan struct{}
	once  sync.Once
	err   error
}

func (f *fake) Ack(id wire.ID) error { f.acks <- id; return nil }

func (f *fake) Ping(context.Context) (time.Duration, error) { return 3 * time.Millisecond, nil }

func (f *fake) End(code uint16, reason string) {
	f.lose(fmt.Errorf("ended: %d %s", code, reason))
}

func (f *fake) Close()                { f.lose(errors.New("closed")) }
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Err() error            { return f.err }

func (f *fake) lose(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.done)
	})
}

func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, dials: make(chan *fake, 100), got: make(chan taken, 100), mine: true}
	w.describe(two, 17)
	o := Options{
		Self: "domain-01",
		Network: func() *domains.Network {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.network
		},
		Secret:  func(string) (string, error) { return "secret", nil },
		Forward: func(f *wire.Forward, from delivery.Neighbour, done func(error)) { w.got <- taken{f, from, done} },
		Mine: func(string) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.mine
		},
		Stale: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.stale++
		},
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Random: func() float64 { return 0.5 },
		Metrics: prometheus.NewRegistry(), dial: w.dial,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if w.links, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.links.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

func (w *world) dial(_ context.Context, at where, take func(context.Context, []byte) error) (session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.urls = append(w.urls, at.url)
	if w.refuse != nil {
		return nil, w.refuse
	}
	f := &fake{take: take, where: at, acks: make(chan wire.ID, 100), done: make(chan struct{})}
	w.dials <- f
	return f, nil
}

func (w *world) describe(yaml string, version uint64) {
	w.t.Helper()
	n, _, err := domains.Parse([]byte(yaml))
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.network = n.WithVersion(version)
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// tried returns what was dialled since.
func (w *world) tried() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	urls := w.urls
	w.urls = nil
	return urls
}

// up returns the connection that is there.
func (w *world) up() *fake {
	w.t.Helper()
	synctest.Wait()
	select {
	case f := <-w.dials:
		return f
	default:
		w.t.Fatalf("nobody was dialled: %+v", w.links.List())
		return nil
	}
}

func number(n int) (id wire.ID) {
	id[6], id[8], id[15] = 0x70, 0x80, byte(n)
	return id
}

// frame is a FORWARD with a number.
func frame(n int, graph uint64) []byte {
	f := &wire.Forward{Origin: "domain-02", From: "ANZ-1", To: []wire.UserID{"ANZ-2"}, Hops: 1, Graph: graph, SentAt: time.Now(), Frame: []byte(`{"type":"MESSAGE","data":{}}`)}
	return wire.AppendPlace(nil, wire.AppendForward(nil, f), number(n), "a log", uint64(n), 1)
}

// bring has the neighbour send a frame.
func (w *world) bring(f *fake, b []byte) {
	w.t.Helper()
	if err := f.take(w.t.Context(), b); err != nil {
		w.t.Error(err)
	}
}

func (w *world) next() taken {
	w.t.Helper()
	synctest.Wait()
	select {
	case got := <-w.got:
		return got
	default:
		w.t.Fatal("nothing was handed on")
		return taken{}
	}
}

// acked returns what was acknowledged last, or 0.
func acked(f *fake) (n int) {
	synctest.Wait()
	for len(f.acks) > 0 {
		id := <-f.acks
		n = int(id[15])
	}
	return n
}

func TestWhatIsStoredIsAcknowledgedInOrderAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		if f.where.url != "ws://d2/ws" || f.where.user != "domain1-1" || f.where.secret != "secret" {
			t.Errorf("dialled %+v", f.where)
		}
		for n := 1; n <= 3; n++ {
			w.bring(f, frame(n, 17))
		}
		first, second, third := w.next(), w.next(), w.next()
		third.done(nil)
		second.done(nil)
		if n := acked(f); n != 0 {
			t.Errorf("%d is acknowledged, and the first is not stored", n)
		}
		first.done(nil)
		if n := acked(f); n != 3 {
			t.Errorf("acknowledged up to %d, not 3", n)
		}
		state := w.links.List()[0]
		if !state.Up || state.Domain != "domain-02" || state.RoundTrip != 3*time.Millisecond || state.Why != "" {
			t.Errorf("%+v", state)
		}
	})
}

func TestPartsWithOneIDAreAcknowledgedEachForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		for place := 1; place <= 3; place++ {
			w.bring(f, []byte(strings.Replace(string(frame(7, 17)), `"place":7`, fmt.Sprintf(`"place":%d`, place), 1)))
		}
		first, second, third := w.next(), w.next(), w.next()
		second.done(nil)
		third.done(nil)
		first.done(nil)
		synctest.Wait()
		if n := len(f.acks); n != 3 {
			t.Errorf("acknowledged %d times", n)
		}
	})
}

func TestWhatCannotBeStoredEndsTheConnectionAndComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		w.bring(f, frame(1, 17))
		w.bring(f, frame(2, 17))
		first, second := w.next(), w.next()
		line := first.from.Line
		if line != second.from.Line || line.Over() {
			t.Error("they came over two connections, or over one that has ended")
		}
		first.done(errors.New("no disk"))
		if !line.Over() { // at once: what is behind it is not to be stored
			t.Error("the connection goes on")
		}
		synctest.Wait()
		second.done(nil)
		w.bring(f, frame(3, 17)) // it was on its way
		if n := acked(f); n != 0 || len(w.got) != 0 {
			t.Errorf("%d acknowledged, %d handed on", n, len(w.got))
		}
		if state := w.links.List()[0]; state.Up || !strings.Contains(state.Why, "no disk") {
			t.Errorf("%+v", state)
		}
		time.Sleep(minWait + time.Second)
		f = w.up()
		w.bring(f, frame(1, 17))
		again := w.next()
		if again.from.Line == line || again.from.Line.Over() {
			t.Error("it comes over the connection that has ended")
		}
		again.done(nil)
		if n := acked(f); n != 1 {
			t.Errorf("acknowledged up to %d", n)
		}
	})
}

func TestWhatIsNoGoodForwardClosesTheLinkWithAReason(t *testing.T) {
	good := frame(1, 17)
	for _, bad := range []string{
		`{"type":"FORWARD","data":{}}`,
		`{"type":"MESSAGE","data":{"from":"ANZ-1","content":1}}`,
		strings.Replace(string(good), `"place":1`, `"place":0`, 1),
		strings.Replace(string(good), `"low":1`, `"low":2`, 1),
		strings.Replace(string(good), `,"log":"a log"`, ``, 1),
		strings.Replace(string(good), `"hops":1`, `"fast":true,"hops":1`, 1),
		strings.Replace(string(good), `"data":{}`, `"data":{"x":"`+strings.Repeat("x", 1100<<10)+`"}`, 1),
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			f := w.up()
			w.bring(f, []byte(bad))
			synctest.Wait()
			if len(w.got) != 0 || f.Err() == nil || !strings.Contains(f.Err().Error(), "1008 no good FORWARD: ") {
				t.Errorf("%.200s: %d handed on, %v", bad, len(w.got), f.Err())
			}
			if state := w.links.List()[0]; state.Up || !strings.Contains(w.log.String(), "level=WARN") || !strings.Contains(w.log.String(), "no good FORWARD") {
				t.Errorf("%.200s: %+v, logged:\n%s", bad, state, w.log.String())
			}
		})
	}
}

// What this domain takes, and passes on to another, is not too large for that: it would
// close the link between these two again and again, for what a third one has sent.
func TestWhatIsPassedOnIsNotTooLargeForTheNextDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		largest := 0
		for size := maxFrame - 200; ; size++ {
			in := &wire.Forward{
				Origin: "d", From: "A-1", To: []wire.UserID{"A-2"}, Hops: 1, Graph: 1, SentAt: time.Now(),
				Frame: fmt.Appendf(nil, `{"type":"MESSAGE","data":{"from":"A-1","content":"%s"}}`, strings.Repeat("x", size)),
			}
			if size += 99; f.Err() != nil {
				break
			}
			w.bring(f, wire.AppendPlace(nil, wire.AppendForward(nil, in), number(1), "l", 1, 1))
			synctest.Wait()
			if len(w.got) == 0 {
				break
			}
			got := w.next()
			got.Hops, got.Graph = 10, 1<<64-1
			got.done(nil)
			largest = len(wire.AppendPlace(nil, wire.AppendForward(nil, got.Forward), number(1), strings.Repeat("l", wire.MaxLogName), 1<<64-1, 1<<64-1))
		}
		if most := maxInner + wire.ForwardOverhead + wire.ForwardReceiver; largest < maxFrame || largest > most {
			t.Errorf("it may have %d bytes, and is passed on with %d", most, largest)
		}
	})
}

// A neighbour that signs in as another user by a new description is known as that one.
func TestANeighbourIsKnownByTheUserThatItIsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := make(chan delivery.Neighbour, 1)
		w := newWorld(t, func(o *Options) {
			o.Forward = func(_ *wire.Forward, n delivery.Neighbour, done func(error)) {
				from <- n
				done(nil)
			}
		})
		w.up()
		w.describe(strings.Replace(two, "name: domain-02,", "name: domain-02, linkUser: SECOND-1,", 1), 18)
		w.links.Stir()
		w.bring(w.up(), frame(1, 18))
		synctest.Wait()
		if n := <-from; n.Link != "SECOND-1" {
			t.Errorf("it is %+v", n)
		}
	})
}

func TestWhatIsRoutedByANewerDescriptionIsHeldUntilThatIsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		go func() {
			w.bring(f, frame(1, 18))
			w.bring(f, frame(2, 18))
		}()
		time.Sleep(time.Second)
		asked := 0
		w.set(func() { asked = w.stale })
		if state := w.links.List()[0]; len(w.got) != 0 || state.Waits != 18 || asked != 1 {
			t.Errorf("%d handed on, %+v, asked %d times", len(w.got), state, asked)
		}
		w.describe(two, 18)
		time.Sleep(time.Second)
		if w.next().ID != number(1) || w.next().ID != number(2) || w.links.List()[0].Waits != 0 {
			t.Errorf("%+v", w.links.List()[0])
		}
	})
}

func TestALinkThatWaitsForADescriptionForLongIsGivenUpMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		go w.bring(f, frame(1, 18))
		time.Sleep(holdTime + time.Millisecond)
		synctest.Wait()
		if state := w.links.List()[0]; state.Up || state.Waits != 18 || !strings.Contains(state.Why, "version 18") || !strings.Contains(f.Err().Error(), "version 18") {
			t.Errorf("%+v, %v", state, f.Err())
		}
		w.describe(two, 18)
		w.links.Stir()
		f = w.up() // at once
		w.bring(f, frame(1, 18))
		w.next().done(nil)
		if n := acked(f); n != 1 {
			t.Errorf("acknowledged up to %d", n)
		}
	})
}

func TestANeighbourThatIsAwayIsTriedAgainAtItsURLsInTurnAndAtOnceWhenTheNetworkChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.up().lose(errors.New("gone"))
		w.set(func() { w.refuse = errors.New("connection refused") })
		began := time.Now()
		time.Sleep(time.Minute)
		tried := w.tried()
		if len(tried) < 6 || len(tried) > 40 || !slices.Contains(tried, "ws://d2b/ws") || tried[1] == tried[2] {
			t.Errorf("in %s: %q", time.Since(began), tried)
		}
		if n := strings.Count(w.log.String(), "connection refused"); n != 1 {
			t.Errorf("the same trouble is logged %d times", n)
		}
		w.set(func() { w.refuse = nil })
		w.describe(two, 18)
		w.links.Stir()
		w.up()
		if state := w.links.List()[0]; !state.Up {
			t.Errorf("%+v", state)
		}
	})
}

func TestALinkThatWasRefusedForLongComesUpSecondsAfterItIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.Random = func() float64 { return 0.999 } })
		w.set(func() { w.refuse = errors.New("BAD_TOKEN") })
		time.Sleep(time.Hour)
		w.set(func() { w.refuse = nil })
		time.Sleep(4 * time.Second)
		w.up()
	})
}

func TestANodeThatIsNotToHaveALinkGivesItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		w.set(func() { w.mine = false })
		w.links.Stir()
		synctest.Wait()
		time.Sleep(time.Minute)
		if state := w.links.List()[0]; f.Err() == nil || state.Up || state.Mine || len(w.tried()) != 1 {
			t.Errorf("%v, %+v", f.Err(), state)
		}
		w.set(func() { w.mine = true })
		w.links.Stir()
		w.up()
	})
}

func TestADomainThatIsNoNeighbourAnyMoreHasNoLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		f := w.up()
		w.describe(alone, 18)
		w.links.Stir()
		synctest.Wait()
		if f.Err() == nil || len(w.links.List()) != 0 {
			t.Errorf("%v, %+v", f.Err(), w.links.List())
		}
		w.describe(two, 19)
		w.links.Stir()
		w.up()
	})
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
