package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stream is one row of the table of streams: what is stored, under which
// subject, by whom, and for how long.
type Stream struct {
	Name    string // <n> stands for a number, <name> for a table's name
	Subject string
	Holds   string
	Writer  string
	Kept    string
}

// Streams returns the table of all streams that Switchboard has. docs/streams.md
// shows the same.
func Streams() []Stream {
	return []Stream{
		{
			Name:    "SB_LOG_<n>",
			Subject: "sb.log.<n>",
			Holds:   "the log of shard n: one message is one batch of the keeper's records",
			Writer:  "the shard's keeper alone, with the expected last sequence",
			Kept:    "until the keeper purges the head",
		},
		{
			Name:    "SB_TABLE_<name>",
			Subject: "sb.table.<name>.<key>",
			Holds:   "a table: one message is one row under its key, an empty one a row that is gone",
			Writer:  "every node; a new row with the expected sequence of its subject",
			Kept:    "the last message of each key; an empty one for a day",
		},
		{
			Name:    "SB_WEBHOOKS",
			Subject: "sb.webhooks.<app>.<name>",
			Holds:   "the history of webhooks: one message is one batch of events that were delivered or given up",
			Writer:  "the webhook's own goroutine, with the expected last sequence of its subject",
			Kept:    "for limits.webhookHistory, and up to limits.webhookHistoryBytes; then the oldest go",
		},
		{
			Name:    "SB_JOURNAL",
			Subject: "sb.journal.<n>",
			Holds:   "the journal of shard n's devices: one message is one batch of events, each one line of JSON",
			Writer:  "the shard's keeper, with the expected last sequence of its subject",
			Kept:    "for journal.keep, and up to journal.bytes; then the oldest go",
		},
		{
			Name:    "SB_STATES",
			Subject: "sb.states.<n>.<kind>.<chunk>",
			Holds:   "checkpoints of what is folded from the journal of shard n: one message is one part of one kind",
			Writer:  "the shard's keeper, with the expected last sequence of its subject",
			Kept:    "the last message of each part",
		},
		{
			Name:    "SB_MATCHES",
			Subject: "sb.matches.<n>",
			Holds:   "the live matches of the pools of shard n: one message is one batch of what began and ended",
			Writer:  "the shard's keeper, with the expected last sequence of its subject",
			Kept:    "until the keeper purges the head: what is live is copied forward",
		},
		{
			Name:    "SB_POSITIONS",
			Subject: "sb.positions.<n>",
			Holds:   "where the users of shard n are: one message is one batch of what changed in a second",
			Writer:  "the shard's keeper, with the expected last sequence of its subject",
			Kept:    "for nearby.ttl; then it goes",
		},
	}
}

// layout is how the streams of one bus are named and made.
type layout struct {
	prefix   string // begins every subject, and in capitals the name of every stream
	replicas int    // of every stream
	shared   bool   // by several nodes: what a table stores is told to all at once, beside the stream
}

// alone is the layout of a server on its own.
var alone = layout{prefix: defaultPrefix, replicas: 1}

const defaultPrefix = "sb"

// subject is the subject of this layout in place of one with the default prefix.
func (l layout) subject(s string) string {
	return l.prefix + strings.TrimPrefix(s, defaultPrefix)
}

// stream is the name of this layout in place of one with the default prefix.
func (l layout) stream(s string) string {
	return strings.ToUpper(l.prefix) + strings.TrimPrefix(s, strings.ToUpper(defaultPrefix))
}

// duplicates is the shortest window that the server allows. No message carries
// an ID to be compared, so it costs nothing.
const duplicates = 100 * time.Millisecond

// log is the stream of a shard's log.
func (l layout) log(shard int) jetstream.StreamConfig {
	return l.kept(Streams()[0], "<n>", fmt.Sprint(shard))
}

// table is the stream of a table. Only messages that say so have a time to
// live: those of rows that are gone.
func (l layout) table(name string) jetstream.StreamConfig {
	c := l.kept(Streams()[1], "<name>", name)
	subject := strings.ReplaceAll(c.Subjects[0], "<key>", "*")
	c.Subjects = []string{subject}
	if l.shared {
		c.RePublish = &jetstream.RePublish{Source: subject, Destination: l.told(name) + "{{wildcard(1)}}"}
	}
	c.MaxMsgsPerSubject = 1
	c.AllowMsgTTL = true
	return c
}

// told begins the subjects on which the server says what it has stored in a
// table; then comes the key.
func (l layout) told(name string) string { return l.subject("sb.told.") + name + "." }

// trailPrefix begins the subjects of the webhooks' history.
const trailPrefix = "sb.webhooks."

// trail is the stream of the webhooks' history.
func (l layout) trail(t TrailLimits) jetstream.StreamConfig {
	c := l.kept(Streams()[2], "<app>", "*")
	c.Subjects = []string{strings.ReplaceAll(c.Subjects[0], "<name>", "*")}
	c.Discard = jetstream.DiscardOld
	c.MaxAge, c.MaxBytes = t.Age, t.Bytes
	return c
}

const (
	// eventsPrefix begins the subjects of the journal; then comes the shard.
	eventsPrefix = "sb.journal."
	// eventsTold begins those on which the server says what it has stored of it.
	eventsTold = "sb.told.journal."
	// partsPrefix begins the subjects of checkpoints.
	partsPrefix = "sb.states."
	// mostConsumers is how many may read the journal by consumers of their own.
	mostConsumers = 256
)

// events is the stream of the journal. Whoever waits for more hears on another subject
// that more is stored.
func (l layout) events(limits EventLimits) jetstream.StreamConfig {
	c := l.kept(Streams()[3], "<n>", "*")
	c.Discard = jetstream.DiscardOld
	c.MaxAge, c.MaxBytes = limits.Age, limits.Bytes
	c.MaxConsumers = mostConsumers
	c.RePublish = &jetstream.RePublish{Source: c.Subjects[0], Destination: l.subject(eventsTold) + "{{wildcard(1)}}", HeadersOnly: true}
	return c
}

// parts is the stream of checkpoints.
func (l layout) parts() jetstream.StreamConfig {
	c := l.kept(Streams()[4], "<n>", "*")
	c.Subjects = []string{l.subject(partsPrefix) + "*.*.*"}
	c.MaxMsgsPerSubject = 1
	return c
}

// matchesPrefix begins the subjects of matches; then comes the shard.
const matchesPrefix = "sb.matches."

// matches is the stream of matches.
func (l layout) matches() jetstream.StreamConfig { return l.kept(Streams()[5], "<n>", "*") }

// positionsPrefix begins the subjects of positions; then comes the shard.
const positionsPrefix = "sb.positions."

// positions is the stream of positions.
func (l layout) positions(age time.Duration) jetstream.StreamConfig {
	c := l.kept(Streams()[6], "<n>", "*")
	c.Discard = jetstream.DiscardOld
	c.MaxAge = age
	return c
}

// kept is the stream of a row, in which what stands for its kind is replaced:
// nothing in it goes by itself.
func (l layout) kept(row Stream, kind, one string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              strings.ReplaceAll(l.stream(row.Name), kind, one),
		Subjects:          []string{strings.ReplaceAll(l.subject(row.Subject), kind, one)},
		Description:       "Switchboard: " + row.Holds,
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		Replicas:          l.replicas,
		Duplicates:        duplicates,
		AllowDirect:       true,
		MaxConsumers:      -1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
	}
}

// ensure makes sure that the stream is there as want says: created when it
// never was, updated where it differs and may be updated, refused otherwise.
func (b *Bus) ensure(ctx context.Context, e *engine, want jetstream.StreamConfig) error {
	err := e.patiently(ctx, func(ctx context.Context) error { return b.ensureOnce(ctx, e, want) })
	if errors.Is(err, errTwice) {
		err = e.patiently(ctx, func(ctx context.Context) error { return b.ensureOnce(ctx, e, want) })
	}
	return err
}

// errTwice says that another node made the stream in the same moment.
var errTwice = errors.New("another node has made it")

func (b *Bus) ensureOnce(ctx context.Context, e *engine, want jetstream.StreamConfig) error {
	stream, err := e.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if err := b.create(ctx, e, want); err != nil {
			return fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("look for stream %s: %w", want.Name, err)
	}
	have := stream.CachedInfo().Config
	if diff := fixedDifference(have, want); diff != "" {
		return fmt.Errorf("stream %s %s; that cannot be changed once it holds messages. It was not made by this program: move the folder of the message store away, or correct the stream", want.Name, diff)
	}
	if err := led(stream.CachedInfo().Cluster); err != nil {
		return fmt.Errorf("look for stream %s: %w", want.Name, err)
	}
	switch c := b.opts.Cluster; {
	case c != nil && c.NoStore:
		want.Replicas = have.Replicas // those that keep streams know how many they are
	case c != nil && c.Grow:
		want.Replicas = max(want.Replicas, have.Replicas) // another server, or this one, knew of more
	}
	if diff := difference(have, want); diff == "" {
		return nil
	}
	want.Metadata = have.Metadata // the server's own notes
	err = b.update(ctx, e, want)
	for tooFewServers(err) && 2*have.Replicas <= want.Replicas && pause(ctx, e) == nil {
		// Of one server it is to become several: what is stored from now on is to be
		// with a majority of them, so they are waited for.
		err = b.update(ctx, e, want)
	}
	if tooFewServers(err) && 2*have.Replicas > want.Replicas {
		e.lacks(want)
		want.Replicas = have.Replicas
		if difference(have, want) == "" {
			return nil
		}
		err = b.update(ctx, e, want)
	}
	if err != nil {
		return fmt.Errorf("update stream %s, whose %s: %w", want.Name, difference(have, want), err)
	}
	return nil
}

func (b *Bus) update(ctx context.Context, e *engine, want jetstream.StreamConfig) error {
	_, err := e.js.UpdateStream(ctx, want)
	return err
}

// create makes a stream, and the folders that it lies in survive a power cut.
// While there are fewer servers than it is to have replicas, it has fewer, but no
// fewer than make a majority: the others come when the servers do. A server that keeps
// nothing may not know how many do, so what it makes may begin with one.
func (b *Bus) create(ctx context.Context, e *engine, want jetstream.StreamConfig) error {
	if err := b.room(MaxBatch); err != nil {
		return err // the server would not say why it cannot
	}
	all := want
	_, err := e.js.CreateStream(ctx, want)
	least := all.Replicas/2 + 1
	if c := b.opts.Cluster; c != nil && c.NoStore {
		least = 1
	}
	for b.opts.shared() && tooFewServers(err) && want.Replicas > least {
		want.Replicas--
		_, err = e.js.CreateStream(ctx, want)
	}
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.ErrorCode == codeNameInUse {
		return errTwice
	}
	if refused != nil && refused.ErrorCode == codeNoStorage && want.MaxBytes > 0 {
		return fmt.Errorf("the NATS server has no room for the %d bytes that it may come to: raise its max_file_store, which is three quarters of the free disk by itself, or lower the setting: %w", want.MaxBytes, err)
	}
	if err != nil {
		return err
	}
	if want.Replicas < all.Replicas {
		e.lacks(all)
	}
	if b.opts.shared() {
		return nil // its files may be elsewhere; the others have it
	}
	// The server syncs files, not the folders that it makes for them.
	for dir, n := filepath.Join(b.streamsDir(), want.Name, "msgs"), 0; n < 6; dir, n = filepath.Dir(dir), n+1 {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// tooFewServers says whether there are not as many servers as a stream is to have
// replicas.
func tooFewServers(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.ErrorCode == codeNoPeers
}

// lacks notes that a stream has fewer replicas than it should.
func (e *engine) lacks(want jetstream.StreamConfig) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lacking == nil {
		e.lacking = make(map[string]jetstream.StreamConfig)
	}
	if _, known := e.lacking[want.Name]; !known {
		e.opts.Logger.Warn("a stream has fewer replicas than it should: there are not enough servers yet", "stream", want.Name, "want", want.Replicas)
	}
	e.lacking[want.Name] = want
}

// tendEvery is how soon streams get their replicas when a server has come: until
// then fewer may be missing.
const tendEvery = 250 * time.Millisecond

// Lacking returns the streams that this process made with fewer replicas than they
// should have, because servers were missing, and that do not have them yet.
func (b *Bus) Lacking() []string {
	e, err := b.engine()
	if err != nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.lacking))
}

// tend gives streams the replicas that they lack, when servers have come, until
// the engine stops.
func (e *engine) tend() {
	defer e.wg.Done()
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.quit:
			return
		case <-tick.C:
			e.tendOnce()
		}
	}
}

func (e *engine) tendOnce() {
	e.mu.Lock()
	lacking := maps.Clone(e.lacking)
	e.mu.Unlock()
	for name, want := range lacking {
		if e.raise(name, want.Replicas) != nil {
			continue // it is tried again
		}
		e.opts.Logger.Info("a stream has all its replicas now", "stream", name, "replicas", want.Replicas)
		e.mu.Lock()
		delete(e.lacking, name)
		e.mu.Unlock()
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// setting is one setting of a stream, as it is and as it should be.
type setting struct {
	name       string
	have, want any
}

// firstDifference says which setting differs first; empty for none.
func firstDifference(settings []setting) string {
	for _, s := range settings {
		have, want := fmt.Sprint(s.have), fmt.Sprint(s.want)
		if have != want {
			return fmt.Sprintf("has %s %s instead of %s", s.name, have, want)
		}
	}
	return ""
}

// fixedDifference compares what no update changes, or what may have cost
// messages already.
func fixedDifference(have, want jetstream.StreamConfig) string {
	return firstDifference([]setting{
		{"storage", have.Storage, want.Storage},
		{"retention", have.Retention, want.Retention},
		{"mirror", have.Mirror != nil, want.Mirror != nil},
		{"sources", len(have.Sources), len(want.Sources)},
		{"sealed", have.Sealed, want.Sealed},
		{"deny_delete", have.DenyDelete, want.DenyDelete},
		{"deny_purge", have.DenyPurge, want.DenyPurge},
		{"compression", have.Compression, want.Compression},
		{"persist_mode", have.PersistMode, want.PersistMode},
		{"allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL},
		{"allow_msg_counter", have.AllowMsgCounter, want.AllowMsgCounter},
		{"allow_msg_schedules", have.AllowMsgSchedules, want.AllowMsgSchedules},
		{"subject_transform", have.SubjectTransform != nil, want.SubjectTransform != nil},
	})
}

// difference compares what an update can change.
func difference(have, want jetstream.StreamConfig) string {
	return firstDifference([]setting{
		{"subjects", have.Subjects, want.Subjects},
		{"description", have.Description, want.Description},
		{"discard", have.Discard, want.Discard},
		{"num_replicas", have.Replicas, want.Replicas},
		{"duplicate_window", have.Duplicates, want.Duplicates},
		{"allow_direct", have.AllowDirect, want.AllowDirect},
		{"no_ack", have.NoAck, want.NoAck},
		{"max_age", have.MaxAge, want.MaxAge},
		{"max_consumers", have.MaxConsumers, want.MaxConsumers},
		{"max_msgs", have.MaxMsgs, want.MaxMsgs},
		{"max_bytes", have.MaxBytes, want.MaxBytes},
		{"max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject},
		{"max_msg_size", have.MaxMsgSize, want.MaxMsgSize},
		{"allow_rollup_hdrs", have.AllowRollup, want.AllowRollup},
		{"republish", have.RePublish != nil, want.RePublish != nil},
		{"allow_atomic", have.AllowAtomicPublish, want.AllowAtomicPublish},
		{"allow_batched", have.AllowBatchPublish, want.AllowBatchPublish},
	})
}
