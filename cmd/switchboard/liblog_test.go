package main

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
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

func TestALineThatRepeatsIsLeftOutAndCounted(t *testing.T) {
	var out bytes.Buffer
	h := newLogger(&out, "json", slog.LevelDebug).Handler()
	minute := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	say := func(h slog.Handler, level slog.Level, message string, at time.Time) {
		if err := h.Handle(t.Context(), slog.NewRecord(at, level, message, 0)); err != nil {
			t.Fatal(err)
		}
	}
	lines := func(of string) int { return strings.Count(out.String(), of) }
	for range 1000 {
		say(h, slog.LevelError, "a call failed", minute)
		say(h.WithAttrs([]slog.Attr{slog.String("app", "A")}), slog.LevelError, "a call failed", minute)
		say(h, slog.LevelDebug, "a frame", minute)
	}
	say(h, slog.LevelInfo, "stopped", minute)
	if got := []int{lines(`"a call failed"}`) + lines(`"msg":"a call failed","app":"A"}`), lines("left out for a while"), lines("a frame"), lines("stopped")}; !slices.Equal(got, []int{101, 1, 1000, 1}) {
		t.Errorf("got %v", got) // the one that says so names it
	}
	say(h, slog.LevelError, "a call failed", minute.Add(time.Minute))
	if !strings.HasSuffix(out.String(), `"msg":"a call failed","leftOut":1900}`+"\n") {
		t.Errorf("then %s", out.String()[out.Len()-200:])
	}
}
