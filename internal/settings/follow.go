package settings

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"time"
)

// maxLine is the longest line of a stream, in bytes. A meta server's has less than 200.
const maxLine = 4 << 10

// leastPause is the least time from one fetch to the next, whatever a meta server's
// stream tells.
const leastPause = 50 * time.Millisecond

// errSilent is why a stream was given up.
var errSilent = errors.New("the stream is silent")

// Run follows the meta server, if there is one, until ctx ends; it returns nil then.
func (b *Book) Run(ctx context.Context) error {
	if b.source.URL == "" {
		<-ctx.Done()
		return nil
	}
	defer b.client.CloseIdleConnections()
	for failures := 0; ctx.Err() == nil; {
		if b.follow(ctx) {
			failures = 0
		}
		failures++
		b.wait(ctx, b.delay(failures))
	}
	return nil
}

// follow asks for settings, then has the meta server tell of changes until its stream
// ends. It was of use if anything came after the first event: the end of such a stream is
// no trouble.
func (b *Book) follow(ctx context.Context) (useful bool) {
	if !b.refresh(ctx) {
		return false
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(b.o.Timeout, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, t := b.ask(ctx, "events", "text/event-stream", "")
	if t != nil {
		b.streamFailed(ctx, t)
		return false
	}
	defer resp.Body.Close()
	defer b.follows(false)
	in := bufio.NewReaderSize(resp.Body, maxLine)
	for events := 0; ; {
		named, err := nextEvent(in)
		if err != nil {
			if events == 0 {
				b.streamFailed(ctx, newTrouble(kindStream, "the meta server's stream of changes says nothing: something in between may not let it through"))
			}
			return events > 1
		}
		if events > 0 {
			silence.Reset(b.o.Silence)
		}
		if named == "" && events > 0 {
			events++ // it lives
		}
		if named != "settings" {
			continue
		}
		events++
		b.follows(true)
		b.clear(partStream)
		if !b.refresh(ctx) {
			return events > 1
		}
		b.wait(ctx, leastPause)
		silence.Reset(b.o.Silence)
	}
}

// streamFailed notes a trouble with a stream, unless it ends with the node.
func (b *Book) streamFailed(ctx context.Context, t *Trouble) {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSilent) {
		return
	}
	t.Kind = kindStream
	b.raise(partStream, *t)
}

func (b *Book) follows(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.following = is
	b.metrics.following.Set(0)
	if is {
		b.metrics.following.Set(1)
	}
}

// refresh asks the meta server, and takes what is new. It says whether there was an answer.
func (b *Book) refresh(ctx context.Context) bool {
	b.taking.Lock()
	defer b.taking.Unlock()
	before := b.offered
	if t := b.fetch(ctx); t != nil {
		if ctx.Err() == nil {
			b.raise(partFetch, *t)
		}
		return false
	}
	b.clear(partFetch)
	if b.offered != before {
		b.noteMeta()
	}
	switch {
	case b.offered == before:
	case b.good == nil || b.offered.Commit != b.good.Commit:
		b.takeOffer()
	default:
		b.clear(partCommit) // it went back to what is in force
	}
	b.mu.Lock()
	if b.held.commit == b.offered.Commit {
		b.held.confirmed = b.o.Now()
	}
	b.mu.Unlock()
	if b.unsaved {
		b.save()
	}
	return true
}

// noteMeta notes what the meta server says of its own troubles.
func (b *Book) noteMeta() {
	of := b.offered.Trouble
	if of == nil {
		b.clear(partMeta)
		return
	}
	t := Trouble{Kind: kindRepository}
	for _, text := range of.Problems[:min(len(of.Problems), mostSaid)] {
		if of.Place != "" {
			text = of.Place + ": " + text
		}
		t.Text = append(t.Text, text)
	}
	b.raise(partMeta, t)
}

// nextEvent returns the name of the next event; empty for a comment and what else is there.
func nextEvent(in *bufio.Reader) (named string, err error) {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return named, nil
		}
		if name, is := bytes.CutPrefix(line, []byte("event:")); is {
			named = string(bytes.TrimSpace(name))
		}
	}
}

// wait returns after a while, or when ctx ends.
func (b *Book) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// delay is the pause after so many failures.
func (b *Book) delay(failures int) time.Duration {
	d := b.o.RetryMax
	if shift := failures - 1; shift < 20 {
		d = min(b.o.Retry<<shift, b.o.RetryMax)
	}
	return d - time.Duration(b.o.Chance()*float64(d)/4)
}
