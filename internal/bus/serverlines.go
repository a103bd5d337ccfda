package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// serverLines takes the embedded server's log lines: warnings and worse at their
// level, the rest as DEBUG. It remembers why a start failed, and rings a bell
// on every error line; those about clients from outside are warnings at most, now and then.
type serverLines struct {
	log     *slog.Logger
	bell    func()
	differs func(address string) // another server may be of another cluster

	mu    sync.Mutex
	fatal string // the first fatal line

	said throttle // of sentences about refusals, and of lines by what they are about
	ends sudden
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
	// mostOfLine is how many bytes of one of the server's lines are logged: what a stranger
	// says may be in it.
	mostOfLine = 500
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

const (
	journalLine = "the embedded NATS server reports"
	// clientMark is in the name of a client's connection, which is in its lines.
	clientMark = " - cid:"
	// routeCreated is in the server's line about a connection to another one that begins.
	routeCreated = "Route connection created"
	endsAtOnce   = "another server ends connections of this one at once: it may refuse this one, and says why in its log; with cluster.tls on one all need it, each with a certificate that the other's CA has signed and that has not expired"
)

func (j *serverLines) Noticef(format string, v ...any) { j.write(slog.LevelDebug, format, v) }
func (j *serverLines) Debugf(format string, v ...any)  { j.write(slog.LevelDebug, format, v) }
func (j *serverLines) Tracef(format string, v ...any)  { j.write(slog.LevelDebug, format, v) }
func (j *serverLines) Warnf(format string, v ...any)   { j.write(slog.LevelWarn, format, v) }

func (j *serverLines) Errorf(format string, v ...any) {
	if fromOutside(format) {
		j.write(slog.LevelWarn, format, v)
		return
	}
	j.write(slog.LevelError, format, v)
	j.bell()
}

// fromOutside says whether a line is about a client's connection over the network, so one
// of a reader. The server has such lines for what a client may not do, or does wrong: of
// the server itself they say nothing.
func fromOutside(line string) bool { return remote(line) != "" && strings.Contains(line, clientMark) }

// Fatalf is called when the server gives up its start. It does not end the
// process: Open returns the line as its error.
func (j *serverLines) Fatalf(format string, v ...any) {
	j.write(slog.LevelError, format, v)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fatal == "" {
		j.fatal = fmt.Sprintf(format, v...)
	}
}

// failure returns the first fatal line; empty for none.
func (j *serverLines) failure() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fatal
}

func (j *serverLines) write(level slog.Level, format string, v []any) {
	if level <= slog.LevelDebug && !j.log.Enabled(context.Background(), level) && !strings.Contains(format, "closed") && !strings.Contains(format, routeCreated) {
		return
	}
	line := fmt.Sprintf(format, v...)
	if j.ends.again(line, j.said.now()) && j.said.may(endsAtOnce+remote(line)) {
		j.log.Warn(endsAtOnce, "line", short(line, mostOfLine))
	}
	if usual(line) {
		level = slog.LevelDebug
	}
	if address, is := strings.CutSuffix(line, " - Router connection closed: Cluster Name Conflict"); is {
		address, _, _ = strings.Cut(address, " ")
		j.differs(address)
		return
	}
	if why := refusal(line); why != "" {
		if j.said.may(why + remote(line)) {
			j.log.Warn(why, "line", short(line, mostOfLine))
		}
		return
	}
	about := format
	if fromOutside(line) {
		about = clientMark // whatever it is: a client would find ever more to be said
	}
	if level > slog.LevelDebug && !j.said.may(about+remote(line)) {
		level = slog.LevelDebug
	}
	j.log.Log(context.Background(), level, journalLine, "line", short(line, mostOfLine))
}

// refusal makes a sentence of a line that says that two servers do not get
// together; empty for others.
func refusal(line string) string {
	has := func(words string) bool { return strings.Contains(line, words) }
	switch {
	case has("Rejecting connection, cluster name") && looks(line):
		return ""
	case has("Route Error") && has("cluster name"):
		return "another server refuses this one: its cluster has another name"
	case has("Route Error") && has("Authorization Violation"):
		return "another server refuses this one: its cluster secret or its version differs, or it is of another cluster of that name; its log says which"
	case has("Rejecting connection, cluster name"):
		return "a server was refused: its cluster has another name"
	case has("duplicate name"):
		return "a server was refused: it has the same name in the cluster as another one"
	case has("Error trying to connect to route"):
		return "another server of the cluster is not reached"
	case has("TLS route handshake error") && has("first record does not look like a TLS handshake"):
		return "a connection between servers failed: this one has cluster.tls and the other one has not; all need it, or none"
	case has("rid:") && strings.HasSuffix(line, "- authentication error"):
		return "a server was refused: it did not sign in as one does without cluster.tls, which this one has not; if the other one has it, all need it"
	case has("TLS route handshake error") && has("certificate has expired"):
		return "a connection between servers failed: the other one's certificate has expired, or is not valid yet"
	case has("TLS route handshake error") && has("remote error: tls:"):
		return "a connection between servers failed: the other one does not take this one's certificate, which has expired or is of another CA; its log says which"
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
		"cluster name from remote server conflicts",   // so that has been said
		"- Error flushing: ",                          // the connection has broken, which is nothing yet
		"authentication error - User \"" + userPrefix, // the gate says why
	} {
		if strings.Contains(line, words) {
			return true
		}
	}
	return strings.Contains(line, "Rejecting connection, cluster name") && looks(line)
}

// looks says whether a line about two clusters whose names differ is about one, of which a
// server looks for its ID: what it is told, its search says.
func looks(line string) bool {
	quoted := strings.Split(line, `"`)
	if len(quoted) < 4 {
		return false
	}
	one, other := quoted[1], quoted[3]
	return one[:strings.LastIndex(one, ".")+1] == other[:strings.LastIndex(other, ".")+1]
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

// sudden notices a server that ends connection after connection at once, without a
// word, as one does that expects TLS. One or some at the same time mean nothing: where
// two servers call each other, one of the connections goes.
type sudden struct {
	mu    sync.Mutex
	began map[string]time.Time // connections by the beginnings of their lines
	ended map[string][]time.Time
}

const (
	suddenly     = time.Second // how long such a connection lives at most
	suddenApart  = 500 * time.Millisecond
	suddenEnds   = 6 // how many of them, that far apart, are no chance, and longer than a server looks for its cluster
	suddenWithin = 15 * time.Second
)

// again takes in a line, and says whether it is about one more such end.
func (s *sudden) again(line string, now time.Time) bool {
	of, created := strings.CutSuffix(line, " - "+routeCreated)
	of, reason, closed := strings.Cut(of, " - Router connection closed: ")
	if !created && !closed {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began == nil || len(s.began) > mostSaid || len(s.ended) > mostSaid {
		s.began, s.ended = make(map[string]time.Time), make(map[string][]time.Time)
	}
	if created {
		s.began[of] = now
		return false
	}
	began, known := s.began[of]
	delete(s.began, of)
	byOther := slices.Contains([]string{"Client Closed", "Read Error", "Write Error"}, reason)
	address, _, _ := strings.Cut(of, " ")
	if !known || !byOther || now.Sub(began) > suddenly {
		return false
	}
	ends := s.ended[address]
	if n := len(ends); n > 0 && now.Sub(ends[n-1]) < suddenApart {
		return false
	}
	ends = append(ends, now)
	if len(ends) > suddenEnds {
		ends = ends[1:]
	}
	s.ended[address] = ends
	return len(ends) == suddenEnds && now.Sub(ends[0]) < suddenWithin
}
