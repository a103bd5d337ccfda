package lifecycle

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsReplacedWholeAndForItsOwnerOnly(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"one, which is longer", "two", ""} {
		// What a process left that was killed is in nobody's way.
		if err := os.WriteFile(name+".new", []byte("half of something much longer than all of them"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceFile(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != content {
			t.Errorf("there is %q, %v", got, err)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if _, err := os.Lstat(name + ".new"); err == nil {
		t.Error("something is left behind")
	}
}

func TestAFileThatCannotBeReplacedStays(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := ReplaceFile(name, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(name, []byte("new")); err == nil {
		t.Error("it says that it did")
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "old" {
		t.Errorf("there is %q, %v", got, err)
	}
}
