package bus

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestTheTableOfStreamsIsWhatTheDocumentationSays(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []Stream
	for line := range strings.Lines(string(doc)) {
		if !strings.HasPrefix(line, "| `SB_") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| \n"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		if len(cells) != 5 {
			t.Fatalf("the row has %d cells: %s", len(cells), line)
		}
		documented = append(documented, Stream{Name: cells[0], Subject: cells[1], Holds: cells[2], Writer: cells[3], Kept: cells[4]})
	}
	built := Streams()
	if len(documented) != len(built) {
		t.Fatalf("docs/streams.md has %d streams, there are %d", len(documented), len(built))
	}
	for i := range built {
		if documented[i] != built[i] {
			t.Errorf("docs/streams.md says\n%+v, it is\n%+v", documented[i], built[i])
		}
	}
}

// made makes a stream behind the bus's back and returns the bus.
func made(t *testing.T, change func(*jetstream.StreamConfig)) *Bus {
	t.Helper()
	b := open(t, t.TempDir())
	config := alone.log(0)
	change(&config)
	e, err := b.engine()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return b
}

func config(t *testing.T, b *Bus) jetstream.StreamConfig {
	t.Helper()
	e, err := b.engine()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := e.js.Stream(t.Context(), "SB_LOG_0")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Config
}

func TestAStreamOfItsOwnIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	shardLog(t, b, 0)
	have, want := config(t, b), alone.log(0)
	if diff := fixedDifference(have, want) + difference(have, want); diff != "" {
		t.Fatalf("the stream %s", diff)
	}
	if have.Duplicates != 100*time.Millisecond || have.DenyDelete || !have.AllowDirect {
		t.Fatalf("%+v", have)
	}
}

func TestWhatMayBeUpdatedIsUpdated(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"discard":     func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"window":      func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute },
		"direct":      func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"age":         func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"bytes":       func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"messages":    func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"size":        func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"subjects":    func(c *jetstream.StreamConfig) { c.Subjects = []string{"sb.log.0", "other"} },
		"description": func(c *jetstream.StreamConfig) { c.Description = "" },
		"rollup":      func(c *jetstream.StreamConfig) { c.AllowRollup = true },
	} {
		b := made(t, change)
		fill(t, shardLog(t, b, 0), 0, 20, 100)
		wantLog(t, shardLog(t, b, 0), 1, 20, 100)
		have, want := config(t, b), alone.log(0)
		if diff := fixedDifference(have, want) + difference(have, want); diff != "" {
			t.Errorf("%s: the stream still %s", name, diff)
		}
		shut(t, b)
	}
}

func TestWhatMayNotBeUpdatedIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"has storage Memory instead of File":        func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"has retention WorkQueue instead of Limits": func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"has deny_delete true instead of false":     func(c *jetstream.StreamConfig) { c.DenyDelete = true },
		"has deny_purge true instead of false":      func(c *jetstream.StreamConfig) { c.DenyPurge = true },
		"has compression S2 instead of None":        func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression },
		"has subject_transform true instead of false": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "x.>"}
		},
	} {
		b := made(t, change)
		before := config(t, b)
		_, err := b.Log(t.Context(), 0)
		if err == nil || !strings.Contains(err.Error(), "stream SB_LOG_0 "+want+";") {
			t.Fatalf("want %q, got %v", want, err)
		}
		if after := config(t, b); fixedDifference(before, after)+difference(before, after) != "" {
			t.Errorf("%s: it was changed", want)
		}
		shut(t, b)
	}
}
