package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// journal takes the embedded server's log lines: warnings and worse at their
// level, the rest as DEBUG. It remembers why a start failed, and rings a bell
// on every error line.
type journal struct {
	log  *slog.Logger
	bell func()
	now  func() time.Time

	mu    sync.Mutex
	fatal string               // the first fatal line
	said  map[string]time.Time // when each sentence about a refusal was last written
}

const journalLine = "the embedded NATS server reports"

func (j *journal) Noticef(format string, v ...any) { j.write(slog.LevelDebug, format, v) }
func (j *journal) Debugf(format string, v ...any)  { j.write(slog.LevelDebug, format, v) }
func (j *journal) Tracef(format string, v ...any)  { j.write(slog.LevelDebug, format, v) }
func (j *journal) Warnf(format string, v ...any)   { j.write(slog.LevelWarn, format, v) }

func (j *journal) Errorf(format string, v ...any) {
	j.write(slog.LevelError, format, v)
	j.bell()
}

// Fatalf is called when the server gives up its start. It does not end the
// process: Open returns the line as its error.
func (j *journal) Fatalf(format string, v ...any) {
	j.write(slog.LevelError, format, v)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fatal == "" {
		j.fatal = fmt.Sprintf(format, v...)
	}
}

// failure returns the first fatal line; empty for none.
func (j *journal) failure() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fatal
}

func (j *journal) write(level slog.Level, format string, v []any) {
	if level <= slog.LevelDebug && !j.log.Enabled(context.Background(), level) && !strings.Contains(format, "closed") {
		return
	}
	line := fmt.Sprintf(format, v...)
	if strings.HasPrefix(line, "Metalayer blocking snapshot") {
		level = slog.LevelDebug // it says so however short it was
	}
	if why := refusal(line); why != "" {
		j.refused(why, line)
		return
	}
	j.log.Log(context.Background(), level, journalLine, "line", line)
}

// refusal makes a sentence of a line that says that two servers do not get
// together; empty for others.
func refusal(line string) string {
	has := func(words string) bool { return strings.Contains(line, words) }
	switch {
	case has("Route Error") && has("cluster name"):
		return "another server refuses this one: its cluster has another name"
	case has("Route Error") && has("Authorization Violation"):
		return "another server refuses this one: its cluster secret or its version differs; its log says which"
	case has("Rejecting connection, cluster name"):
		return "a server was refused: its cluster has another name"
	case has("Router connection closed: Cluster Name Conflict"):
		return "a connection to another server was closed: the names of the clusters differ"
	case has("duplicate name"):
		return "a server was refused: it has the same name in the cluster as another one"
	case has("Error trying to connect to route"):
		return "another server of the cluster is not reached"
	case has("TLS route handshake error"):
		return "a connection between servers failed: the certificates of the cluster do not go together"
	}
	return ""
}

// refusedEvery is how often a refusal of one kind is written: servers try again
// every second.
const refusedEvery = 30 * time.Second

func (j *journal) refused(why, line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	if last, ok := j.said[why]; ok && now.Sub(last) < refusedEvery {
		return
	}
	if j.said == nil {
		j.said = make(map[string]time.Time)
	}
	j.said[why] = now
	j.log.Warn(why, "line", line)
}
