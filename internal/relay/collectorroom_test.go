package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestACollectorNamesTheLimitThatIsReachedAndSaysWhenFilesAreTakenAgain(t *testing.T) {
	c := startCollector(t, func(s *CollectorSettings) { s.Limits.SpoolFiles, s.Limits.FileBytes = 1, 10 })
	send := func(name, content string) answered {
		return put(t, c, []string{"/" + name + " HTTP/1.1", "Host: 127.0.0.1"}, content)
	}
	wantAnswer(t, "too large", send("large", "12345678901"), 413, "TOO_LARGE: the file is too large: it has 11 bytes, and 10 is the most (limits.file)")
	wantAnswer(t, "first", send("a", "1"), 200, "success")
	wantAnswer(t, "second", send("b", "2"), 503, "FULL: the spool is full: ")
	if told := c.heard.lines("level=WARN", "files are refused", "(limits.files)"); len(told) != 1 {
		t.Errorf("told is %q", c.heard.lines())
	}
	if err := os.Remove(filepath.Join(c.settings.Spool, "a")); err != nil {
		t.Fatal(err)
	}
	soon(t, "it takes files again", func() bool { return send("b", "2").status == 200 })
	if told := c.heard.lines("level=INFO", "files are taken again"); len(told) != 1 {
		t.Errorf("told is %q", c.heard.lines())
	}
	// A limit that nothing can keep is told before the first file comes.
	c.change(func(s *CollectorSettings) { s.Limits.SpoolFiles, s.Limits.FreeBytes = 0, mostBytes })
	soon(t, "it warns", func() bool { return len(c.heard.lines("level=WARN", "less room than limits.free")) == 1 })
	soon(t, "it says so", func() bool {
		got := send("c", "3")
		return got.status == 503 && strings.HasSuffix(strings.TrimSpace(got.body), "that are to stay free (limits.free)")
	})
}
