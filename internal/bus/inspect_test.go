package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const damageSize = 1000

// stored makes a folder with a log of last batches in one file, and returns
// where the file is and what it holds. index says whether the server left its
// index behind, as after a clean stop.
func stored(t *testing.T, last uint64, index bool) (dir, file string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	b := open(t, dir)
	fill(t, shardLog(t, b, 0), 0, last, damageSize)
	shut(t, b)
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", "SB_LOG_0", "msgs")
	if !index {
		if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(msgs, "1.blk")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return dir, file, content
}

// offsets returns where the records of a file begin, and its end.
func offsets(content []byte) []int {
	at := []int{0}
	for n := 0; n < len(content); {
		n += int(binary.LittleEndian.Uint32(content[n:]) &^ headersBit)
		at = append(at, n)
	}
	return at
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(content []byte, at int) []byte {
	content = slices.Clone(content)
	content[at] ^= 4
	return content
}

func TestAFlippedBitIsFoundBeforeTheServerCutsTheLogOff(t *testing.T) {
	t.Parallel()
	for _, index := range []bool{true, false} {
		dir, file, content := stored(t, 20, index)
		at := offsets(content)
		for name, where := range map[string]int{
			"length":           at[7],
			"length, too long": at[7] + 2,
			"sequence":         at[7] + 4,
			"subject length":   at[7] + 20,
			"subject":          at[7] + 23,
			"message":          at[7] + 500,
			"checksum":         at[8] - 1,
			"first":            200,
			"last but one":     at[19] - 300,
		} {
			bad := flip(content, where)
			write(t, file, bad)
			_, err := Open(t.Context(), Options{Folder: filepath.Join(dir, "jetstream"), Logger: slog.New(slog.DiscardHandler)})
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: got %v", name, err)
			}
			if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, bad) {
				t.Fatalf("%s: the file was changed, %v", name, err)
			}
		}
		write(t, file, content)
		b := open(t, dir)
		wantLog(t, shardLog(t, b, 0), 1, 20, damageSize)
		shut(t, b)
	}
}

func TestATornEndIsWhatACrashLeaves(t *testing.T) {
	t.Parallel()
	dir, file, content := stored(t, 20, false)
	at := offsets(content)
	zeros := slices.Clone(content)
	clear(zeros[at[19]+100:])
	for name, torn := range map[string][]byte{
		"one byte":          content[:at[19]+1],
		"half a head":       content[:at[19]+11],
		"half a message":    content[:at[19]+500],
		"all but a byte":    content[:len(content)-1],
		"a hole in the end": zeros,
		"nothing":           content[:at[19]],
	} {
		write(t, file, torn)
		// The server's index went with the crash, too.
		if err := os.Remove(filepath.Join(filepath.Dir(file), "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		b := open(t, dir)
		l := shardLog(t, b, 0)
		t.Log(name)
		wantLog(t, l, 1, 19, damageSize)
		fill(t, l, 19, 22, damageSize)
		wantLog(t, l, 1, 22, damageSize)
		shut(t, b)
	}
}

func TestDamageInAFileThatIsNotTheLastIsNoTornEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	fill(t, shardLog(t, b, 0), 0, 3, 6<<20)
	shut(t, b)
	file := filepath.Join(b.streamsDir(), "SB_LOG_0", "msgs", "1.blk")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, content[:len(content)-10])
	_, err = Open(t.Context(), b.opts)
	wantErr(t, err, ErrDamaged)
	write(t, file, content)
	wantLog(t, shardLog(t, open(t, dir), 0), 1, 3, 6<<20)
}

func TestALostDescriptionIsNotAnEmptyStream(t *testing.T) {
	t.Parallel()
	dir, file, content := stored(t, 20, true)
	meta := filepath.Join(filepath.Dir(filepath.Dir(file)), "meta.inf")
	description, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"flipped": flip(description, 30), "empty": nil} {
		write(t, meta, bad)
		_, err = Open(t.Context(), Options{Folder: filepath.Join(dir, "jetstream"), Logger: slog.New(slog.DiscardHandler)})
		wantErr(t, err, ErrDamaged)
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, content) {
			t.Fatalf("%s: the log was changed, %v", name, err)
		}
	}
	write(t, meta, description)
	wantLog(t, shardLog(t, open(t, dir), 0), 1, 20, damageSize)
}

func TestADamagedIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir, file, _ := stored(t, 20, true)
	index := filepath.Join(filepath.Dir(file), "index.db")
	content, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	write(t, index, flip(content, len(content)/2))
	wantLog(t, shardLog(t, open(t, dir), 0), 1, 20, damageSize)
}

func TestADamagedLastBatchIsFoundAfterACleanStop(t *testing.T) {
	t.Parallel()
	dir, file, content := stored(t, 20, true)
	last := offsets(content)[19]
	for name, bad := range map[string][]byte{
		"message":  flip(content, last+500),
		"checksum": flip(content, len(content)-1),
		"length":   flip(content, last),
		"cut":      content[:last+100],
		"gone":     content[:last],
		"empty":    nil,
	} {
		write(t, file, bad)
		_, err := Open(t.Context(), Options{Folder: filepath.Join(dir, "jetstream"), Logger: testLogger(t)})
		if name == "empty" && err == nil {
			t.Fatal("an empty file was taken")
		}
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: got %v", name, err)
		}
	}
	// What docs/operations.md tells an operator to do.
	write(t, file, flip(content, last+500))
	if err := os.Remove(filepath.Join(filepath.Dir(file), "index.db")); err != nil {
		t.Fatal(err)
	}
	wantLog(t, shardLog(t, open(t, dir), 0), 1, 19, damageSize)
}

// A crash may fall into the making of a stream. The server would not serve what
// it left behind, and not make it anew.
func TestAnUnfinishedStreamIsMadeAnew(t *testing.T) {
	t.Parallel()
	_, file, _ := stored(t, 1, true)
	description, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(file)), "meta.inf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string][]byte{
		"folders":           {},
		"an empty file":     {"msgs/1.blk": nil},
		"half a file":       {"msgs/1.blk": nil, "meta.inf.tmp": description[:20]},
		"without its sum":   {"msgs/1.blk": nil, "meta.inf": description},
		"with an empty sum": {"msgs/1.blk": nil, "meta.inf": description, "meta.sum": nil},
	} {
		dir := t.TempDir()
		stream := filepath.Join(dir, "jetstream", "$G", "streams", "SB_LOG_0")
		if err := os.MkdirAll(filepath.Join(stream, "msgs"), 0o700); err != nil {
			t.Fatal(err)
		}
		for file, content := range files {
			write(t, filepath.Join(stream, file), content)
		}
		t.Log(name)
		b := open(t, dir)
		fill(t, shardLog(t, b, 0), 0, 5, 100)
		shut(t, b)
		wantLog(t, shardLog(t, open(t, dir), 0), 1, 5, 100)
	}
}

// The server makes a file to see whether it can, and removes it. Killed in
// between, it would never start again.
func TestTheServersProbeLeftByAKillDoesNoHarm(t *testing.T) {
	t.Parallel()
	dir, _, _ := stored(t, 5, true)
	probe := filepath.Join(dir, "jetstream", "_test_1913004789")
	write(t, probe, nil)
	wantLog(t, shardLog(t, open(t, dir), 0), 1, 5, damageSize)
	if _, err := os.Stat(probe); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the probe is still there: %v", err)
	}
}

// This is why the bus inspects: should it fail one day, the server has learnt
// to keep what follows damage.
func TestTheServerAloneLosesWhatFollowsDamage(t *testing.T) {
	t.Parallel()
	dir, file, content := stored(t, 20, false)
	write(t, file, flip(content, offsets(content)[7]+500))
	b := &Bus{layout: alone, opts: Options{Folder: filepath.Join(dir, "jetstream"), Logger: testLogger(t)}, logs: make(map[int]*Log)}
	if err := b.opts.check(); err != nil {
		t.Fatal(err)
	}
	e, err := startEngine(t.Context(), &b.opts)
	if err != nil {
		t.Fatal(err)
	}
	b.current.Store(e)
	t.Cleanup(func() { shut(t, b) })
	l := shardLog(t, b, 0)
	wantLog(t, l, 1, 7, damageSize)

	// The same, had it happened while the process ran.
	l.stored.Store(20)
	_, _, _, err = l.Bounds(t.Context())
	wantErr(t, err, ErrDamaged)
}

// What docs/operations.md tells an operator to do with a damaged last file.
func TestADamagedEndCanBeCutOffByHand(t *testing.T) {
	t.Parallel()
	for _, index := range []bool{true, false} {
		dir, file, content := stored(t, 20, index)
		write(t, file, flip(content, offsets(content)[7]+500))
		_, err := Open(t.Context(), Options{Folder: filepath.Join(dir, "jetstream"), Logger: testLogger(t)})
		if want := fmt.Sprintf("byte %d, after sequence 7:", offsets(content)[7]); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%v does not say %q", err, want)
		}
		if err := os.Truncate(file, int64(offsets(content)[7])); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(filepath.Dir(file), "index.db")); err != nil && index {
			t.Fatal(err)
		}
		b := open(t, dir)
		l := shardLog(t, b, 0)
		wantLog(t, l, 1, 7, damageSize)
		fill(t, l, 7, 9, damageSize)
		shut(t, b)
		wantLog(t, shardLog(t, open(t, dir), 0), 1, 9, damageSize)
	}
}

func TestInspectionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir, _, _ := stored(t, 20, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, inspectStore(ctx, filepath.Join(dir, "jetstream", "$G", "streams"), false, nil), context.Canceled)
}
