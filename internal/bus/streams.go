package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	}
}

// duplicates is the shortest window that the server allows. No message carries
// an ID to be compared, so it costs nothing.
const duplicates = 100 * time.Millisecond

// logStream is the stream of a shard's log.
func logStream(shard int) jetstream.StreamConfig {
	return kept(Streams()[0], "<n>", fmt.Sprint(shard))
}

// tableStream is the stream of a table. Only messages that say so have a time to
// live: those of rows that are gone.
func tableStream(name string) jetstream.StreamConfig {
	c := kept(Streams()[1], "<name>", name)
	c.Subjects = []string{strings.ReplaceAll(c.Subjects[0], "<key>", "*")}
	c.MaxMsgsPerSubject = 1
	c.AllowMsgTTL = true
	return c
}

// trailPrefix begins the subjects of the webhooks' history.
const trailPrefix = "sb.webhooks."

// trailStream is the stream of the webhooks' history, the only one of which
// something goes by itself.
func trailStream(l TrailLimits) jetstream.StreamConfig {
	c := kept(Streams()[2], "<app>", "*")
	c.Subjects = []string{strings.ReplaceAll(c.Subjects[0], "<name>", "*")}
	c.Discard = jetstream.DiscardOld
	c.MaxAge, c.MaxBytes = l.Age, l.Bytes
	return c
}

// kept is the stream of a row, in which what stands for its kind is replaced:
// nothing in it goes by itself.
func kept(row Stream, kind, one string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              strings.ReplaceAll(row.Name, kind, one),
		Subjects:          []string{strings.ReplaceAll(row.Subject, kind, one)},
		Description:       "Switchboard: " + row.Holds,
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		Replicas:          1,
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
	if diff := difference(have, want); diff == "" {
		return nil
	}
	want.Metadata = have.Metadata // the server's own notes
	if _, err := e.js.UpdateStream(ctx, want); err != nil {
		return fmt.Errorf("update stream %s, whose %s: %w", want.Name, difference(have, want), err)
	}
	return nil
}

// create makes a stream, and the folders that it lies in survive a power cut.
func (b *Bus) create(ctx context.Context, e *engine, want jetstream.StreamConfig) error {
	if err := b.room(MaxBatch); err != nil {
		return err // the server would not say why it cannot
	}
	if _, err := e.js.CreateStream(ctx, want); err != nil {
		return err
	}
	// The server syncs files, not the folders that it makes for them.
	for dir, n := filepath.Join(b.streamsDir(), want.Name, "msgs"), 0; n < 6; dir, n = filepath.Dir(dir), n+1 {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
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
