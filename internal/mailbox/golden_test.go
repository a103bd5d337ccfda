package mailbox

import (
	"crypto/rand"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

var writeGolden = flag.Bool("write-golden", false, "write the golden log of the current format, if it is not there")

// A log that any earlier version wrote can be read: each folder of testdata
// holds one, batch by batch, and what has to be found in it. They are written
// once, when a format is new, and never again.
func TestLogsOfEarlierVersionsAreRead(t *testing.T) {
	current := filepath.Join("testdata", fmt.Sprintf("log-v%d", batchVersion))
	for folder, batches := range map[string][][]byte{current: goldenBatches(), current + "-roads": goldenRoads()} {
		if _, err := os.Stat(folder); os.IsNotExist(err) && *writeGolden {
			for i, batch := range batches {
				writeFile(t, filepath.Join(folder, fmt.Sprintf("%06d.batch", i+1)), batch)
			}
			writeFile(t, filepath.Join(folder, "state.txt"), []byte(replayed(t, folder)))
		}
	}
	folders, err := filepath.Glob("testdata/log-v*")
	if err != nil || !slices.Contains(folders, current) {
		t.Fatalf("there is no golden log of the current format: %v %v", folders, err)
	}
	for _, folder := range folders {
		want, err := os.ReadFile(filepath.Join(folder, "state.txt"))
		if err != nil {
			t.Fatal(err)
		}
		if got := replayed(t, folder); got != string(want) {
			t.Errorf("%s holds\n%s\nwant\n%s", folder, got, want)
		}
	}
}

// goldenBatches is a log with every kind of record: messages to one and to
// many, with and without reference and expiry, copied forward, proved, expired
// and evicted ones, sessions open and closed, takeovers, and a trimmed head.
func goldenBatches() [][]byte {
	id := func(n byte) (id wire.ID) {
		id, _ = wire.ParseID("0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7000")
		id[15] = n
		return id
	}
	to := func(users ...string) (list [][]byte) {
		for _, u := range users {
			list = append(list, []byte(u))
		}
		return list
	}
	message := func(b []byte, ord uint64, flags messageFlags, from string, expires uint32, reference string, users ...string) []byte {
		b, _ = appendMessage(b, &messageRecord{
			ord: ord, id: id(byte(ord)), expires: expires, flags: flags, from: []byte(from), to: to(users...),
			reference: []byte(reference), frame: fmt.Appendf(nil, `{"type":"MESSAGE","data":{"from":"%s","content":%d}}`, from, ord),
		})
		return b
	}
	one := appendTakeover(newBatch(nil), id(200))
	one = appendOpened(one, sessionRecord{id(101), "ANZ-1", "ANZ-0", ""})
	one = appendOpened(one, sessionRecord{id(102), "ANZ-2", "", ""})
	one = message(one, 1, flagConfirm, "ANZ-1", 1_900_000_000, `"r1"`, "ANZ-2")
	one = message(one, 2, flagGroup, "ANZ-1", 0, "", "ANZ-2", "ANZ-3", "OTHER_app-9223372036854775807")
	one = message(one, 3, flagNotice|flagPresence, "ANZ-1", 1_900_000_000, "", "ANZ-0")
	sealBatch(one, 1, 4)
	two := appendGone(newBatch(nil), goneProved, "ANZ-2", []uint64{1, 2})
	two = appendGone(two, goneEvicted, "ANZ-0", []uint64{3})
	two = message(two, 4, flagNotice, "ANZ-2", 1_900_000_000, "", "ANZ-1")
	two = message(two, 5, 0, "ANZ-1", 1_800_000_000, `"r5"`, "ANZ-3")
	two = appendClosed(two, id(101))
	sealBatch(two, 1, 6)
	three := message(newBatch(nil), 2, flagGroup, "ANZ-1", 0, "", "ANZ-3")
	three = message(three, 2, flagGroup, "ANZ-1", 0, "", "OTHER_app-9223372036854775807")
	three = appendOpened(three, sessionRecord{id(102), "ANZ-2", "", ""})
	three = appendGone(three, goneExpired, "ANZ-3", []uint64{5})
	three = message(three, 6, 0, "ANZ-2", 1_900_000_000, `"six"`, "ANZ-3")
	sealBatch(three, 2, 7)
	return [][]byte{one, two, three, func() []byte { b := newBatch(nil); sealBatch(b, 2, 7); return b }()}
}

// goldenRoads is a log with what roads add to it: places that were taken, of users
// and of a link, copied forward and passed, and messages that went another way.
func goldenRoads() [][]byte {
	id := func(n byte) (id wire.ID) {
		id, _ = wire.ParseID("0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7000")
		id[15] = n
		return id
	}
	message := func(b []byte, ord uint64, to string) []byte {
		b, _ = appendMessage(b, &messageRecord{
			ord: ord, id: id(byte(ord)), expires: 1_900_000_000, from: []byte("ANZ-7"), to: [][]byte{[]byte(to)}, frame: fmt.Appendf(nil, `{"n":%d}`, ord),
		})
		return b
	}
	users := &road{name: "domain-02/a", at: 1_700_000_000, low: 5}
	through := &road{name: "domain-02/a domain3-1", at: 1_700_000_001, low: 5}
	one := appendTakeover(newBatch(nil), id(200))
	one = message(appendRoad(one, users, &taken{place: 5, print: 1}), 1, "ANZ-2")
	one = message(appendRoad(one, users, &taken{place: 900, print: 2}), 2, "ANZ-2")
	one = message(appendRoad(one, through, &taken{place: 900, print: 3}), 3, "domain3-1")
	sealBatch(one, 1, 4)
	users.low, users.at = 900, 1_700_000_002
	two := message(appendRoad(newBatch(nil), users, &taken{place: 901, print: 4}), 4, "ANZ-3")
	two = appendRoad(two, users, &taken{place: 900, print: 2}) // copied forward
	two = message(appendGone(two, goneMoved, "domain3-1", []uint64{3}), 5, "domain4-1")
	two = appendRoad(two, through, &taken{place: 1000})
	sealBatch(two, 1, 6)
	return [][]byte{one, two}
}

// replayed reads a golden log as a keeper does and says what it found.
func replayed(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.batch"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no batches in %s: %v", folder, err)
	}
	slices.Sort(files)
	var batches [][]byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, b)
	}
	last := uint64(len(batches))
	trim, ord, err := openBatch(batches[last-1])
	if err != nil {
		t.Fatal(err)
	}
	c := newCore(wire.ID{}, Limits{Age: time.Hour, Messages: 100, Bytes: 1 << 20}, rand.Reader, defaultTuning())
	for seq := trim; seq <= last; seq++ {
		if err := c.replay(seq, batches[seq-1]); err != nil {
			t.Fatal(err)
		}
	}
	c.takeOver(last, ord)
	var out strings.Builder
	fmt.Fprintf(&out, "next %d, from batch %d to %d\n", c.journal.nextOrd, trim, last)
	users := make([]*user, 0, len(c.users))
	for _, u := range c.users {
		users = append(users, u)
	}
	slices.SortFunc(users, func(a, b *user) int { return strings.Compare(string(a.id), string(b.id)) })
	for _, u := range users {
		for i := range u.entries.list {
			e := &u.entries.list[i]
			if e.dead() {
				continue
			}
			m, err := messageAt(batches[e.seq-1], e.off)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s waits for %d in batch %d: id %s, from %s, flags %d, expires %d, reference %s, %s\n",
				u.id, e.ord, e.seq, m.id, m.from, e.flags, e.expires, m.reference, m.frame)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.roads)) {
		r := c.roads[name]
		fmt.Fprintf(&out, "road %s from %d on, last at %d: %+v\n", name, r.low, r.at, r.taken)
	}
	for id, s := range c.stale {
		fmt.Fprintf(&out, "session %s of %s is open since batch %d, master %q\n", id, s.user, s.seq, s.tellMaster)
	}
	return out.String()
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A session says in the log which node holds it; where there is only one node, its
// record is as it always was.
func TestOpenedRecordsNameTheNode(t *testing.T) {
	for _, r := range []sessionRecord{{wire.ID{1}, "ANZ-1", "ANZ-0", "n1"}, {wire.ID{1}, "ANZ-1", "", ""}} {
		var got sessionRecord
		size := 0
		if err := eachRecord(appendOpened(newBatch(nil), r), func(_ recordKind, _ int, body []byte) (err error) {
			got, err = parseOpened(body)
			size = len(body)
			return err
		}); err != nil || got != r {
			t.Errorf("%+v is read as %+v: %v", r, got, err)
		}
		if r.node == "" && size != len(r.id)+bytesLen(r.user)+bytesLen(r.tellMaster) {
			t.Errorf("the record of a session without a node has %d bytes", size)
		}
	}
}

// What is damaged, cut short or of another version is an error that says so.
func TestDamagedBatchesAreRefused(t *testing.T) {
	good := goldenBatches()[0]
	if _, _, err := openBatch(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if _, _, err := openBatch(bad); err == nil {
			t.Fatalf("a flipped bit in byte %d was not noticed", i)
		}
		if _, _, err := openBatch(good[:i]); err == nil {
			t.Fatalf("a batch that was cut off at %d was not noticed", i)
		}
	}
	newer := slices.Clone(good)
	newer[0] = batchVersion + 1
	if _, _, err := openBatch(newer); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("a newer format was answered with %v", err)
	}
	unknown, _ := appendRecord(newBatch(nil), 99, 0, func(b []byte) []byte { return b })
	sealBatch(unknown, 1, 1)
	c := newCore(wire.ID{}, Limits{}, rand.Reader, defaultTuning())
	if err := c.replay(1, unknown); err == nil || !strings.Contains(err.Error(), "kind 99") {
		t.Fatalf("an unknown record was answered with %v", err)
	}
}

// Whatever bytes a batch has, with a good checksum or not: an error, no panic.
func FuzzBatch(f *testing.F) {
	for _, b := range goldenBatches() {
		f.Add(b)
	}
	newer := appendOpened(newBatch(nil), sessionRecord{wire.ID{1}, "ANZ-1", "ANZ-0", "node"})
	newer = appendSource(newer, &source{name: "shard/2", last: 7, at: 1_700_000_000})
	var b pending
	b.buf = newer
	c := newCore(wire.ID{}, Limits{}, rand.Reader, defaultTuning())
	c.journal.segs = []segment{{}}
	p := &producer{producerName: producerName{"ANZ-1", "phone"}}
	p.set(9)
	c.appendProducer(&b, p)
	b.buf = appendRoad(b.buf, &road{name: "domain-02/a", low: 3}, &taken{place: 4, print: 5})
	f.Add(b.buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= batchHeader {
			sealBatch(b, 1, 1)
		}
		c := newCore(wire.ID{}, Limits{}, rand.Reader, defaultTuning())
		if err := c.replay(1, b); err == nil {
			c.takeOver(1, 1)
		}
	})
}
