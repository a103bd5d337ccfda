package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/members"
)

// stage is what the start of the node waits for, in a sentence that changes.
type stage struct{ at atomic.Pointer[waiting] }

type waiting struct{ what, why string }

// is says what is waited for from now on.
func (s *stage) is(what string) { s.because(what, "") }

// because says so, and why it takes time: that is for operators only, since it may name
// what strangers are not to know, such as where a meta server is.
func (s *stage) because(what, why string) { s.at.Store(&waiting{what, why}) }

// String returns the sentence as operators see it.
func (s *stage) String() string { return s.text(true) }

// text returns it as operators or anybody may see it.
func (s *stage) text(operator bool) string {
	at := s.at.Load()
	switch {
	case at == nil:
		return "it has just begun"
	case operator && at.why != "":
		return at.what + ": " + at.why
	}
	return at.what
}

// beginning is the cluster as a node shows it that is starting: itself, until it
// knows others.
type beginning struct{ *node }

// Self implements api.Cluster.
func (b beginning) Self() string { return b.id }

// List implements api.Cluster.
func (b beginning) List() []members.Member {
	if room := b.room.Load(); room != nil {
		return room.List()
	}
	m := b.self()
	m.Status, m.Since, m.Reason = members.Joining, b.since, b.stage.String()
	return []members.Member{m}
}

// Watch implements api.Cluster. Nobody watches a node that is starting.
func (b beginning) Watch(f func([]members.Member)) (stop func()) {
	f(b.List())
	return func() {}
}

// Copies implements api.Cluster. Nobody knows yet.
func (b beginning) Copies(context.Context) *api.Copies { return nil }

// Remove implements api.Cluster. No call comes as far as this while a node is starting.
func (b beginning) Remove(context.Context, string) error { return errors.New("the node is starting") }

// counted is a log whose reading at the start can be followed.
type counted struct {
	mailbox.Log
	stage *stage
}

// saidEvery is after how many batches it is said how far the reading is: some
// milliseconds of it.
const saidEvery = 256

// Replay implements mailbox.Log.
func (c counted) Replay(ctx context.Context, first, last uint64, f func(seq uint64, batch []byte) error) error {
	return c.Log.Replay(ctx, first, last, func(seq uint64, batch []byte) error {
		if (seq-first)%saidEvery == 0 {
			c.stage.is(fmt.Sprintf("reading the message log: %d of %d batches", seq-first, last-first+1))
		}
		return f(seq, batch)
	})
}
