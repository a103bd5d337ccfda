package lifecycle

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answers says hello to whoever connects, until the listener is closed.
func answers(t *testing.T, l net.Listener) (ended chan struct{}) {
	t.Helper()
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	return ended
}

func listenControl(t *testing.T, dir string) net.Listener {
	t.Helper()
	l, err := ListenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTheControlSocketIsItsOwnersOnlyAndGoesWhenItIsClosed(t *testing.T) {
	dir := t.TempDir()
	l := listenControl(t, dir)
	ended := answers(t, l)
	info, err := os.Stat(ControlPath(dir))
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("%v, %v", info, err)
	}
	c, err := DialControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(c); err != nil || string(said) != "hello" {
		t.Errorf("%q, %v", said, err)
	}
	if err := errors.Join(c.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	<-ended
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := DialControl(dir); err == nil || !strings.Contains(err.Error(), "no node runs on the data folder "+dir) {
		t.Errorf("got %v", err)
	}
}

func TestASocketThatAKillLeftBehindIsReplaced(t *testing.T) {
	dir := t.TempDir()
	stale := listenControl(t, dir).(*control)
	if err := stale.Listener.Close(); err != nil { // and so its file stays
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, makingName, "s"), 0o700); err != nil { // it was making another one
		t.Fatal(err)
	}
	if _, err := DialControl(dir); err == nil || !strings.Contains(err.Error(), "no node runs on the data folder") {
		t.Errorf("got %v", err)
	}
	l := listenControl(t, dir)
	ended := answers(t, l)
	c, err := DialControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestAPathThatIsTooLongIsToldApart(t *testing.T) {
	dir := t.TempDir()
	room := maxSocketPath - len(ControlPath(dir)) - 1
	if room < 1 {
		t.Fatalf("the folder for tests has too long a name: %s", dir)
	}
	fits := filepath.Join(dir, strings.Repeat("d", room))
	long := filepath.Join(dir, strings.Repeat("d", room+1))
	for _, d := range []string{fits, long} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := listenControl(t, fits).Close(); err != nil {
		t.Error(err)
	}
	if _, err := ListenControl(long); !errors.Is(err, ErrPathTooLong) {
		t.Errorf("got %v", err)
	}
	if _, err := DialControl(long); !errors.Is(err, ErrPathTooLong) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(long); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAFolderThatCannotHoldASocketIsAnError(t *testing.T) {
	if _, err := ListenControl(filepath.Join(t.TempDir(), "none")); err == nil || errors.Is(err, ErrPathTooLong) {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(ControlPath(dir), "x"), 0o700); err != nil { // a folder in its place
		t.Fatal(err)
	}
	if l, err := ListenControl(dir); err == nil {
		t.Errorf("listens at %v", l.Addr())
	}
}

// A cleaner of old files is no reason for a node to stop with an error.
func TestASocketThatSomebodyRemovedIsClosedAllTheSame(t *testing.T) {
	dir := t.TempDir()
	l := listenControl(t, dir)
	if err := os.Remove(ControlPath(dir)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
