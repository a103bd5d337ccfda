package nodetest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// What a program does to the mounted disk reaches it as what it is: a write, a
// sync of a file or of a folder, a write that is synced by itself.
func TestTheFaultyDiskSeesSyncs(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	const mark = "some text"
	for _, c := range []struct{ name, script, left string }{
		{"nothing synced", "printf '%s' > a", ""},
		{"file synced", "printf '%s' > a; sync a", ""},
		{"folder synced", "printf '%s' > a; sync .", "/a 0"},
		{"both synced", "printf '%s' > a; sync a; sync .", "/a 9"},
		{"data synced", "printf '%s' > a; sync -d a; sync .", "/a 9"},
		{"written with O_DSYNC", "printf '%s' | dd of=a oflag=dsync status=none; sync .", "/a 9"},
		{"written with O_SYNC", "printf '%s' | dd of=a oflag=sync status=none; sync .", "/a 9"},
		{"appended and not synced", "printf '%s' > a; sync a; sync .; echo more >> a", "/a 9"},
		{"renamed and not synced", "printf '%s' > a; sync a; sync .; mv a b", "/a 9"},
		{"renamed and synced", "printf '%s' > a; sync a; sync .; mv a b; sync .", "/b 9"},
		{"moved to another folder, which is synced", "mkdir x y; sync .; printf '%s' > x/a; sync x/a; mv -n x/a y/b; sync y", "/y/b 9"},
		{"moved to another folder, not synced", "mkdir x y; sync .; printf '%s' > x/a; sync x/a; sync x; mv -n x/a y/b", "/x/a 9"},
		{"removed and not synced", "printf '%s' > a; sync a; sync .; rm a", "/a 9"},
		{"cut short and synced", "printf '%s' > a; truncate -s 4 a; sync a; sync .", "/a 4"},
		{"in a folder", "mkdir x; printf '%s' > x/a; sync x/a; sync x; sync .", "/x/a 9"},
		{"in a folder whose name is not synced", "mkdir x; printf '%s' > x/a; sync x/a; sync x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t, faultfs.Strict)
			shell := exec.Command("sh", "-ec", "cd "+d.dir+"; "+strings.ReplaceAll(c.script, "%s", mark))
			if out, err := shell.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := strings.Join(d.PowerCut(nil, faultfs.Nothing).Listing(), " "); got != c.left {
				t.Errorf("left is %q, want %q", got, c.left)
			}
		})
	}
}

func TestTheFaultyDiskIsFullWhenItIsTold(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	d := newDisk(t, faultfs.Strict)
	write := func(name string) (out string, err error) {
		text, err := exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(d.dir, name), "bs=1k", "count=100", "status=none").CombinedOutput()
		return string(text), err
	}
	for i, lies := range []bool{false, true} {
		d.Fill(lies)
		if out, err := write(fmt.Sprint("a", i)); err == nil || !strings.Contains(out, "No space left") {
			t.Errorf("full, lies=%v: %v %s", lies, err, out)
		}
		if free := freeBytes(t, d.dir); lies != (free > mib) {
			t.Errorf("full, lies=%v: it says that %d bytes are free", lies, free)
		}
		d.Room()
		if out, err := write(fmt.Sprint("a", i)); err != nil {
			t.Errorf("with room: %v %s", err, out)
		}
	}
}
