package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
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

	mu    sync.Mutex
	fatal string // the first fatal line

	said throttle // of sentences about refusals, and of lines by what they are about
}

// throttle lets each thing be said now and then. Its zero value needs now.
type throttle struct {
	now func() time.Time

	mu   sync.Mutex
	said map[string]time.Time
}

const (
	// sayAgain is after what time a thing is said again: what does not go together
	// tries again every second.
	sayAgain = 30 * time.Second
	// mostSaid bounds how many things are remembered.
	mostSaid = 1000
)

// may says whether a thing is to be said now.
func (t *throttle) may(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if last, ok := t.said[what]; ok && now.Sub(last) < sayAgain {
		return false
	}
	if t.said == nil || len(t.said) == mostSaid {
		t.said = make(map[string]time.Time)
	}
	t.said[what] = now
	return true
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
	if usual(line) {
		level = slog.LevelDebug
	}
	if why := refusal(line); why != "" {
		if j.said.may(why + remote(line)) {
			j.log.Warn(why, "line", line)
		}
		return
	}
	if level > slog.LevelDebug && !j.said.may(format+remote(line)) {
		level = slog.LevelDebug
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
	case has("Error flushing") && has("rid:"):
		return "another server ended the connection at once: it may refuse this one, and says why in its log; with cluster.tls each needs a certificate that the other's CA has signed"
	case has("TLS route handshake error"):
		return "a connection between servers failed: the certificates of the cluster do not go together"
	}
	return ""
}

// usual says whether a line that the server takes for a warning belongs to a start in
// good order, or to a node that comes or goes, of which others have more to say.
func usual(line string) bool {
	for _, words := range []string{
		"Metalayer blocking snapshot", // it says so however short it was
		"Waiting for routing to be established", "JetStream has not established contact with a meta leader", "JetStream is not current with the meta leader",
		"Falling behind", "TTL state is outdated",
		"authentication error - User \"" + userPrefix, // the gate says why
	} {
		if strings.Contains(line, words) {
			return true
		}
	}
	return false
}

// remote is the address, without a port, with which a line about a connection begins;
// empty for others.
func remote(line string) string {
	address, _, _ := strings.Cut(line, " ")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}
