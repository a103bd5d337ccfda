package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/api"
)

func TestTheLogSaysHowToTakeOutANodeThatHasBeenGoneForMinutes(t *testing.T) {
	var said bytes.Buffer
	n := &node{log: slog.New(slog.NewTextHandler(&said, nil)), copies: &copies{}}
	now := time.Now()
	node3 := []api.Gone{{Name: "node3"}}
	for _, step := range []struct {
		after time.Duration
		gone  []api.Gone
		said  int
	}{
		{0, node3, 0}, {goneAfter - 1, node3, 0}, {1, nil, 0}, // it was started again
		{1, node3, 0}, {goneAfter, node3, 1}, {goneAgain - 1, node3, 1}, {1, node3, 2}, {1, nil, 2},
	} {
		now = now.Add(step.after)
		n.warnOfGone(now, step.gone)
		if lines := strings.Count(said.String(), "\n"); lines != step.said {
			t.Fatalf("%+v: %s", step, said.String())
		}
	}
	if !strings.Contains(said.String(), "switchboard cluster remove") || !strings.Contains(said.String(), "node=node3 for=3m") {
		t.Error(said.String())
	}
}
