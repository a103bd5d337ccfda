package relay

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func numbered(n int) (id fileID) {
	binary.BigEndian.PutUint64(id.file[8:], uint64(n))
	return id
}

func reopen(t *testing.T, path string, wantCut bool) *ledger {
	t.Helper()
	l, cut, err := openLedger(path)
	if err != nil || cut > 0 != wantCut {
		t.Fatalf("cut %d, %v", cut, err)
	}
	t.Cleanup(func() { _ = l.file.close() })
	return l
}

func save(t *testing.T, l *ledger) {
	t.Helper()
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
}

func TestALedgerRemembersMoreCollectorsThanAMaskHasBits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := reopen(t, path, false)
	var lanes []laneID
	for i := range 2*pageSlots + 3 {
		lanes = append(lanes, identifyLane("next", string(rune('a'+i))))
	}
	for i, lane := range lanes {
		if slot := l.slot(lane); slot != i {
			t.Fatalf("slot %d is %d", i, slot)
		}
	}
	for _, slot := range []int{0, pageSlots - 1, pageSlots, 2*pageSlots + 2} {
		l.add(numbered(1), slot)
	}
	l.add(numbered(2), 5)
	l.gone(numbered(2))
	save(t, l)
	l.add(numbered(3), 7)
	save(t, l) // appended

	l = reopen(t, path, false)
	for i, lane := range lanes {
		slot := l.slot(lane)
		want := slot == 0 || slot == pageSlots-1 || slot == pageSlots || slot == 2*pageSlots+2
		if slot != i || l.has(numbered(1), slot) != want || l.has(numbered(2), slot) || l.has(numbered(3), slot) != (slot == 7) {
			t.Errorf("collector %d has slot %d, and file 1: %v", i, slot, l.has(numbered(1), slot))
		}
	}
	l.gone(numbered(1))
	if l.size() != 1 {
		t.Errorf("%d masks are left", l.size())
	}
}

func TestATornEndOfALedgerIsCut(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "ledger")
	l := reopen(t, whole, false)
	slot := l.slot(identifyLane("next", "a"))
	for i := range 3 {
		l.add(numbered(i), slot)
		save(t, l)
	}
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for length := range len(text) {
		torn := filepath.Join(t.TempDir(), "ledger")
		if err := os.WriteFile(torn, text[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		l, _, err := openLedger(torn)
		if err != nil {
			t.Fatalf("after %d bytes: %v", length, err)
		}
		known := max((length-len(ledgerMagic))/recordSize-1, 0)
		if l.size() != known {
			t.Errorf("after %d bytes it knows %d files, not %d", length, l.size(), known)
		}
		l.add(numbered(77), l.slot(identifyLane("next", "a")))
		save(t, l)
		_ = l.file.close() // it was saved
		if l = reopen(t, torn, false); l.size() != known+1 {
			t.Errorf("after %d bytes and a save it knows %d files", length, l.size())
		}
	}
	text[len(ledgerMagic)+recordSize+7] ^= 1 // in the middle: what follows is not trusted
	if err := os.WriteFile(whole, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if l := reopen(t, whole, true); l.size() != 0 {
		t.Errorf("it knows %d files", l.size())
	}
	if err := os.WriteFile(whole, make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openLedger(whole); err == nil {
		t.Error("another file is taken for a ledger")
	}
}

func TestALedgerOfOneHundredThousandFilesIsSmallAndIsWrittenAnewWhenMostAreGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := reopen(t, path, false)
	slot := l.slot(identifyLane("next", "a"))
	const files = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range files {
		l.add(numbered(i), slot)
		if i%10_000 == 0 {
			save(t, l)
		}
	}
	save(t, l)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / files; each > 80 {
		t.Errorf("a file takes %d bytes of memory", each)
	}
	for i := range files {
		l.gone(numbered(i))
	}
	save(t, l)
	if info, err := os.Stat(path); err != nil || info.Size() > 3*recordSize {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestALedgerThatCannotBeWrittenIsWrittenWhenItCan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	path := filepath.Join(dir, "ledger")
	l := reopen(t, path, false)
	slot := l.slot(identifyLane("next", "a"))
	l.add(numbered(1), slot)
	if err := l.save(); err == nil {
		t.Fatal("it is written where there is no folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	save(t, l)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.add(numbered(2), slot) // into another folder of that name
	save(t, l)
	if l = reopen(t, path, false); l.size() != 2 {
		t.Errorf("it knows %d files", l.size())
	}
}

func TestALedgerForgetsFilesThatNoPassMeetsAnyMore(t *testing.T) {
	l := reopen(t, filepath.Join(t.TempDir(), "ledger"), false)
	slot := l.slot(identifyLane("next", "a"))
	l.add(numbered(1), slot)
	l.add(numbered(2), slot)
	for period := 1; period < 600; period++ { // longer than the byte counts
		l.at(time.Duration(period) * seenPeriod)
		l.saw(numbered(1))
		forgot := l.sweep()
		if want := period == unseenLimit; forgot != map[bool]int{true: 1}[want] {
			t.Fatalf("in period %d it forgot %d", period, forgot)
		}
	}
	if !l.has(numbered(1), slot) || l.has(numbered(2), slot) {
		t.Error("it forgot the wrong one")
	}
}

func TestALedgerKnowsAFileOfWhichOnlyTheModeOrTheNamesChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := reopen(t, path, false)
	a, far := l.slot(identifyLane("next", "a")), pageSlots
	for i := range pageSlots {
		l.slot(identifyLane("next", string(rune('b'+i))))
	}
	before, after, written := numbered(1), numbered(1), numbered(1)
	after.changed, written.changed = 1, 2
	one, two := `"0000000000000001…"`, `"0000000000000002…"`
	for _, slot := range []int{a, far} {
		l.arrived(before, one)
		l.add(before, slot)
	}
	save(t, l)
	l = reopen(t, path, false)
	if l.has(after, a) || l.doubts(before) || !l.doubts(after) {
		t.Error("it does not know what changed")
	}
	l.carry(after, one)
	save(t, l)
	l = reopen(t, path, false)
	if !l.has(after, a) || !l.has(after, far) || l.has(after, 1) || l.doubts(after) {
		t.Error("it does not know who has the file")
	}
	// Other content, with the time set back: nobody has that.
	l.arrived(written, two)
	l.add(written, 1)
	if l.has(written, a) || !l.has(written, 1) || len(l.arriving) > 0 {
		t.Error("it takes other content for the same")
	}
	l.carry(after, one)
	if l.size() > 1 || l.has(after, far) != true {
		t.Error("it takes the same for other content")
	}
	l.carry(before, two)
	if l.size() > 0 {
		t.Error("it knows who has what was written over")
	}
}

func TestTheSlotOfACollectorThatIsKnownNoMoreIsAnothersWithoutItsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := reopen(t, path, false)
	lane := func(n int) laneID { return identifyLane("next", fmt.Sprint(n)) }
	known := map[laneID]bool{}
	for n := range leastSlots {
		if l.slot(lane(n)); n%100 == 0 {
			known[lane(n)] = true
		}
		l.add(numbered(n), n)
		l.add(numbered(-1), n)
	}
	if l.crowded(len(known)) || l.crowded(leastSlots) {
		t.Error("it is crowded too soon")
	}
	if l.slot(lane(leastSlots)); !l.crowded(len(known)) || l.crowded(leastSlots) {
		t.Error("it is not crowded when it should be, or is when all are known")
	}
	save(t, l)
	l.add(numbered(1), 1) // is not written any more
	l.free(known)
	if l.owned(lane(1), 1) || !l.owned(lane(100), 100) {
		t.Error("it does not know who has a slot")
	}
	check := func(others int) {
		t.Helper()
		for n := range leastSlots {
			kept := known[lane(n)]
			if l.has(numbered(n), n) != kept || l.has(numbered(-1), n) != kept || kept && l.slot(lane(n)) != n {
				t.Fatalf("of collector %d, known %v, it has %v and %v", n, kept, l.has(numbered(n), n), l.has(numbered(-1), n))
			}
		}
		for n := range others {
			if slot := l.slot(lane(-1 - n)); known[lane(slot)] || slot >= leastSlots {
				t.Fatalf("another collector has slot %d", slot)
			}
		}
	}
	check(10)
	save(t, l)
	check(20)
	save(t, l) // appended
	l = reopen(t, path, false)
	check(30)
	if len(l.slots) != len(known)+30 {
		t.Errorf("%d slots are had", len(l.slots))
	}
}
