package stats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// server is several nodes, whose links may be cut. A link hands over at once.
type server struct {
	t *testing.T

	mu    sync.Mutex
	nodes map[string]*running
	cut   map[string]bool
}

// way returns the node that hears what one says to another, nil for none.
func (s *server) way(from, to string) *running {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut[from] || s.cut[to] {
		return nil
	}
	return s.nodes[to]
}

// isCut cuts a node off, or joins it again.
func (s *server) isCut(id string, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut[id] = cut
}

// remove forgets a node that has ended.
func (s *server) remove(n *running) {
	n.end()
	<-n.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, n.id)
}

// running is a node of a server with the sampler that reads it.
type running struct {
	*node
	*Sampler
	id     string
	end    context.CancelFunc
	ended  chan error
	server *server
}

// Send implements Nodes.
func (n *running) Send(to string, parts ...[]byte) bool {
	other := n.server.way(n.id, to)
	if other == nil {
		return false
	}
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	go other.PeerReceive(n.id, body)
	return true
}

func (s *server) start(id string) *running {
	s.t.Helper()
	n := &running{node: newNode(), id: id, ended: make(chan error, 1), server: s}
	var err error
	if n.Sampler, err = New(Options{Metrics: n.node, Now: time.Now, Log: slog.New(slog.DiscardHandler), Nodes: n, Register: n.node}); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	others := slices.Collect(maps.Values(s.nodes))
	s.nodes[id] = n
	s.mu.Unlock()
	for _, other := range others {
		other.PeerUp(id)
		n.PeerUp(other.id)
	}
	synctest.Wait() // a node is ready after that
	ctx, cancel := context.WithCancel(context.Background())
	n.end = cancel
	go func() { n.ended <- n.Run(ctx) }()
	return n
}

// kill has a node end without a word.
func (s *server) kill(n *running) {
	s.isCut(n.id, true)
	s.remove(n)
}

// settle lets every node hear what all have counted.
func (s *server) settle() {
	time.Sleep(2500 * time.Millisecond)
	synctest.Wait()
}

func servers(t *testing.T, f func(t *testing.T, s *server)) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, nodes: make(map[string]*running), cut: make(map[string]bool)}
		f(t, s)
		for _, n := range s.nodes {
			n.end()
			<-n.ended
		}
		synctest.Wait()
	})
}

// shows fails the test unless the newest sample of each node says so.
func (s *server) shows(what string, nodes, sessions, proved uint64) {
	s.t.Helper()
	for id, n := range s.nodes {
		c := n.Latest()
		if c.Nodes != nodes || c.Sessions != sessions || c.Messages.Proved != proved {
			s.t.Errorf("%s: %s shows %d nodes, %d sessions, %d proved; not %d, %d, %d", what, id, c.Nodes, c.Sessions, c.Messages.Proved, nodes, sessions, proved)
		}
	}
}

func TestEveryNodeShowsAll(t *testing.T) {
	servers(t, func(t *testing.T, s *server) {
		a, b, c := s.start("a"), s.start("b"), s.start("c")
		for i, n := range []*running{a, b, c} {
			n.sessions.Set(float64(i + 1))
			n.proved.Add(float64(10 * (i + 1)))
			n.refused.WithLabelValues("DELIVER_FAILED", "MAILBOX_FULL").Add(float64(i + 1))
		}
		c.sync.Observe(.0035) // only one keeps what is stored
		s.settle()
		s.shows("three nodes", 3, 6, 60)
		for id, n := range s.nodes {
			at := n.Latest()
			if at.Refused.Socket["MAILBOX_FULL"] != 6 || at.Log.Syncs != 1 || at.Log.Sync.P50 < .002 {
				t.Errorf("%s shows refused %v, log %+v", id, at.Refused.Socket, at.Log)
			}
		}
		if a.Sampler.Sessions() != 1 || b.Sampler.Sessions() != 2 {
			t.Error("what a node has by itself is not what it says to the members")
		}
		s.kill(c)
		s.settle()
		s.shows("one that is dead, which nobody knows yet", 3, 6, 60)
		a.PeerGone("c")
		b.PeerGone("c")
		s.settle()
		s.shows("one that is dead", 2, 3, 60)
		anew := s.start("c2")
		anew.proved.Add(4)
		anew.sessions.Set(5)
		a.proved.Add(1)
		s.settle()
		for id, proved := range map[string]uint64{"a": 65, "b": 65, "c2": 5} { // since it began
			if got := s.nodes[id].Latest(); got.Messages.Proved != proved || got.Nodes != 3 || got.Sessions != 8 {
				t.Errorf("one begins anew: %s shows %d proved, %d sessions", id, got.Messages.Proved, got.Sessions)
			}
		}
	})
}

func TestANodeThatIsSilentCountsNoMoreAndIsNotCountedTwiceWhenItIsBack(t *testing.T) {
	servers(t, func(t *testing.T, s *server) {
		a, b := s.start("a"), s.start("b")
		a.sessions.Set(1)
		b.sessions.Set(2)
		b.proved.Add(7)
		s.settle()
		s.shows("both", 2, 3, 7)
		s.isCut("b", true)
		b.proved.Add(1)
		time.Sleep((missed + 2) * Every)
		synctest.Wait()
		if c := a.Latest(); c.Nodes != 1 || c.Sessions != 1 || c.Messages.Proved != 7 {
			t.Errorf("with the other one silent: %+v", c.Counts)
		}
		a.PeerGone("b")
		s.isCut("b", false)
		a.PeerUp("b")
		b.PeerUp("a")
		s.settle()
		s.shows("both again", 2, 3, 8)
	})
}

// The rate of the first seconds would be that of years otherwise.
func TestANodeThatComesLaterCountsFromThere(t *testing.T) {
	servers(t, func(t *testing.T, s *server) {
		a := s.start("a")
		a.proved.Add(1_000_000)
		a.sync.Observe(.0005)
		s.settle()
		b := s.start("b")
		s.settle()
		list, _ := b.After(0, Kept)
		for _, one := range list {
			if one.Messages.Proved != 0 || one.Log.Syncs != 0 {
				t.Errorf("sample %d: %d proved, %d synced", one.Number, one.Messages.Proved, one.Log.Syncs)
			}
		}
		a.proved.Add(3)
		s.settle()
		if n := b.Latest().Messages.Proved; n != 3 {
			t.Errorf("%d proved", n)
		}
	})
}

func TestWhatANodeCountedLastIsToldWhenItStops(t *testing.T) {
	servers(t, func(t *testing.T, s *server) {
		a, b := s.start("a"), s.start("b")
		s.settle()
		b.proved.Add(9)
		s.remove(b)
		a.PeerDown("b")
		synctest.Wait()
		a.PeerGone("b")
		s.settle()
		s.shows("one has stopped", 1, 0, 9)
	})
}

func TestReportsThatCannotBeReadAreCounted(t *testing.T) {
	servers(t, func(t *testing.T, s *server) {
		a := s.start("a")
		a.PeerReceive("b", []byte("nonsense"))
		if n := testutil.ToFloat64(a.unread); n != 1 {
			t.Errorf("%v are counted", n)
		}
		s.settle()
		s.shows("nonsense", 1, 0, 0)
	})
}

// keeping are the metrics of the keepers that a node has at the moment.
type keeping struct {
	prometheus.Gatherer
	of map[int]*keeper
}

type keeper struct {
	*prometheus.Registry
	proved  prometheus.Counter
	waiting prometheus.Gauge
	sync    prometheus.Histogram
}

func (k *keeping) keep(shard int) *keeper {
	n := &keeper{
		Registry: prometheus.NewRegistry(),
		proved:   prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_reliable_proved_total", Help: "."}),
		waiting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "switchboard_mailbox_messages", Help: "."}),
		sync:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "switchboard_log_sync_seconds", Help: ".", Buckets: []float64{.001, .002, .004}}),
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"shard": fmt.Sprint(shard)}, n).MustRegister(n.proved, n.waiting, n.sync)
	k.of[shard] = n
	return n
}

func (k *keeping) Gather() ([]*dto.MetricFamily, error) {
	var all prometheus.Gatherers
	for _, n := range k.of {
		all = append(all, n)
	}
	return all.Gather()
}

// nobody hears anything.
type nobody struct{}

func (nobody) Send(string, ...[]byte) bool { return false }

func TestTotalsStayWhenAShardMoves(t *testing.T) {
	k := &keeping{of: make(map[int]*keeper)}
	at := time.Unix(1000, 0)
	s, err := New(Options{Metrics: k, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler), Nodes: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	look := func(what string, proved, waiting, syncs uint64) {
		t.Helper()
		at = at.Add(time.Second)
		if err := s.sample(); err != nil {
			t.Fatal(err)
		}
		if c := s.Latest(); c.Messages.Proved != proved || c.Mailboxes.Messages != waiting || c.Log.Syncs != syncs {
			t.Errorf("%s: proved %d, waiting %d, syncs %d; not %d, %d, %d", what, c.Messages.Proved, c.Mailboxes.Messages, c.Log.Syncs, proved, waiting, syncs)
		}
	}
	one, two := k.keep(1), k.keep(2)
	one.proved.Add(10)
	one.waiting.Set(3)
	one.sync.Observe(.0005)
	two.proved.Add(5)
	two.waiting.Set(4)
	two.sync.Observe(.003)
	look("two shards", 15, 7, 2)
	delete(k.of, 1)
	two.proved.Add(1)
	look("one has gone", 16, 4, 2)
	again := k.keep(1)
	again.proved.Add(12) // more than when it went
	again.waiting.Set(1)
	look("it has come back", 28, 5, 2)
	anew := k.keep(2)
	anew.proved.Add(2)
	look("the other one began anew", 30, 1, 2)
}

// A node alone sends nothing, and takes nothing apart.
func TestANodeAloneIsTheSumOfItself(t *testing.T) {
	n := newNode()
	n.proved.Add(2)
	s := newSampler(t, n)
	if c := s.Latest(); c.Nodes != 1 || c.Messages.Proved != 2 || s.keepers.parts != nil || s.up != nil {
		t.Errorf("%+v", c.Counts)
	}
	if err := errors.Join(s.sample(), s.sample()); err != nil {
		t.Fatal(err)
	}
	s.LetGo()
	s.LetGo()
	if err := s.sample(); err != nil || s.Latest().Number != 4 {
		t.Errorf("after watchers were let go: %v, number %d", err, s.Latest().Number)
	}
}
