package nearby

import (
	"context"
	"sync"
	"time"
)

// flushEvery is how far two rounds of telling sessions are apart.
const flushEvery = 5 * time.Millisecond

// sight is what the sessions of this node see: the world around a desk.
type sight struct {
	room *Room
	wake chan struct{}

	mu   sync.Mutex // guards what follows; outlets are called with it
	desk *desk
}

func newSight(r *Room) *sight {
	return &sight{room: r, wake: make(chan struct{}, 1), desk: newDesk(r.opts.Limits, r.opts.Shards)}
}

// do has the desk do something, and what comes of it done.
func (s *sight) do(f func(d *desk, now time.Time)) {
	s.mu.Lock()
	f(s.desk, s.room.opts.Now())
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run asks keepers and tells sessions, until ctx ends.
func (s *sight) run(ctx context.Context) {
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for ctx.Err() == nil {
		began := s.room.opts.Now()
		next := s.round(began)
		if !next.IsZero() {
			alarm.Reset(max(flushEvery, next.Sub(began)))
		}
		select {
		case <-ctx.Done():
			return
		case <-alarm.C:
		case <-s.wake:
			alarm.Reset(max(0, flushEvery-s.room.opts.Now().Sub(began))) // what comes meanwhile is told together
			select {
			case <-ctx.Done():
				return
			case <-alarm.C:
			}
		}
	}
}

// round does what is due, and returns when there is more.
func (s *sight) round(now time.Time) time.Time {
	s.mu.Lock()
	list, next := s.desk.requests(now)
	if at := s.desk.flush(now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
		next = at
	}
	s.mu.Unlock()
	for _, a := range list {
		s.room.owners.Request(a.Shard, a.Request, func(reply []byte, err error) {
			s.do(func(d *desk, now time.Time) { d.done(now, a.Shard, reply, err) })
		})
	}
	return next
}

// Session is one that watches parts of the map, which end with it. Its methods may be
// called from any goroutine, but not by its Outlet.
type Session struct {
	sight  *sight
	viewer *viewer
}

// Open makes a session that sees users of an app.
func (r *Room) Open(app string, o Outlet) *Session {
	r.sight.mu.Lock()
	defer r.sight.mu.Unlock()
	return &Session{r.sight, r.sight.desk.open(app, o)}
}

// Watch has the session look at a part of the map, in place of what it looked at under
// this ID. The Outlet's Answer follows; the error is a *Refusal.
func (s *Session) Watch(id string, v View, reference []byte) (err error) {
	s.do(func(d *desk, now time.Time) { err = d.watch(now, s.viewer, id, v, reference) })
	return err
}

// Unwatch has it look away. The error is a *Refusal with NOT_FOUND.
func (s *Session) Unwatch(id string) (err error) {
	s.do(func(d *desk, _ time.Time) { err = d.unwatch(s.viewer, id) })
	return err
}

// Close ends all that it watches. Its Outlet is told nothing more.
func (s *Session) Close() {
	s.do(func(d *desk, _ time.Time) { d.close(s.viewer) })
}

// do does something about its watches, and counts them.
func (s *Session) do(f func(d *desk, now time.Time)) {
	s.sight.do(func(d *desk, now time.Time) {
		before := len(s.viewer.watches)
		f(d, now)
		s.sight.room.metrics.watches.Add(int64(len(s.viewer.watches) - before))
	})
}

// Told takes what a node told this one. The message is not kept.
func (r *Room) Told(from string, message []byte) {
	r.sight.do(func(d *desk, _ time.Time) {
		if err := d.heard(message); err != nil {
			r.opts.Logger.Warn("a node says of positions what this one does not understand", "node", from, "err", err)
		}
	})
}

// Moved says that another node keeps a shard, or that the conversation with its keeper
// began anew; also for the first one, and when it is this node.
func (r *Room) Moved(shard int) { r.sight.do(func(d *desk, _ time.Time) { d.moved(shard) }) }

// Run asks keepers of what sessions watch, and tells sessions, until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	r.sight.run(ctx)
	r.metrics.unregister()
	return nil
}
