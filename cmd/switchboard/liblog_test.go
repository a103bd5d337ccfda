package main

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"strings"
	"testing"
)

func TestLinesOfLibrariesAreLoggedAsOurs(t *testing.T) {
	for level, want := range map[slog.Level]bool{slog.LevelDebug: true, slog.LevelInfo: false} {
		var out bytes.Buffer
		restore := takeLibraries(newLogger(&out, "json", level))
		stdlog.Print("unsolicited")
		restore()
		if got := strings.Contains(out.String(), `"level":"DEBUG","msg":"unsolicited"`); got != want || !got && out.Len() > 0 {
			t.Errorf("at level %v the log has %q", level, out.String())
		}
	}
}
