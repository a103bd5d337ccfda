package nodetest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// plainApp is the demo app without a master user, so that nothing is in the
// mailboxes but what a test puts there.
const plainApp = "apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]\n"

// roomyApp is plainApp with mailboxes that no workload fills.
const roomyApp = plainApp + "limits: {mailboxMessages: 10000000, mailboxBytes: 64GiB, minDiskFree: 64MiB}\n"

const mib = 1 << 20

// startWith starts a server with a settings file.
func startWith(t *testing.T, settings string, args ...string) *Server {
	t.Helper()
	return Start(t, append(args, "--config", Settings(t, settings))...)
}

// numbered is the content of message i of a series: at least size bytes.
func numbered(series string, i, size int) string {
	text := fmt.Sprintf("%s %d ", series, i)
	return text + strings.Repeat("x", max(0, size-len(text)))
}

// number reads a content made by numbered; i is -1 when it is none. It does not
// parse the frame, which may be long.
func number(f Frame) (series string, i int) {
	_, content, _ := strings.Cut(f.Raw, `"content":"`)
	series, rest, _ := strings.Cut(content, " ")
	digits, _, found := strings.Cut(rest, " ")
	i, err := strconv.Atoi(digits)
	if err != nil || !found {
		return "", -1
	}
	return series, i
}

// post sends the messages first to last-1 of a series, RELIABLE, with a
// reference each, and returns when all are stored. The peer must have asked for
// receipts; what else came to it meanwhile is still to be read.
func post(t *testing.T, p *Peer, to, series string, first, last, size int) {
	t.Helper()
	for i := first; i < last; i++ {
		p.Message(to, numbered(series, i, size), fmt.Sprintf(`"reference":"%s %d"`, series, i))
	}
	awaitStored(t, p, series, first, last)
}

// awaitStored waits for the receipts of a series, which come in order.
func awaitStored(t *testing.T, p *Peer, series string, first, last int) {
	t.Helper()
	var others []Frame
	for i := first; i < last; {
		f := p.Next()
		if f.Type == "MESSAGE_CONFIRMATION" || f.Type == "MESSAGE" {
			others = append(others, f)
			continue
		}
		if f.Type != "MESSAGE_STORED" || f.Field("reference") != fmt.Sprint(series, " ", i) {
			t.Fatalf("got %s, want the receipt of %s %d", f.Raw, series, i)
		}
		i++
	}
	p.unread(others)
}

// wantSeries fails unless the frames are the messages first to last-1 of a
// series, in order.
func wantSeries(t *testing.T, what string, frames []Frame, series string, first, last int) {
	t.Helper()
	if len(frames) != last-first {
		t.Errorf("%s: %d frames, want %d", what, len(frames), last-first)
	}
	for k, f := range frames {
		if s, i := number(f); f.Type != "MESSAGE" || s != series || i != first+k {
			t.Fatalf("%s: frame %d is %.120s, want message %d of %s", what, k, f.Raw, first+k, series)
		}
	}
}

// take returns the next n frames.
func take(p *Peer, n int) []Frame {
	p.t.Helper()
	frames := make([]Frame, n)
	for i := range frames {
		frames[i] = p.Next()
	}
	return frames
}

// wantConfirmed fails unless the next frames are the confirmations of first to
// last-1 of a series, in order.
func wantConfirmed(t *testing.T, p *Peer, series string, first, last int) {
	t.Helper()
	for i := first; i < last; i++ {
		if f := p.Expect("MESSAGE_CONFIRMATION"); f.Field("reference") != fmt.Sprint(series, " ", i) {
			t.Fatalf("got %s, want the confirmation of %s %d", f.Raw, series, i)
		}
	}
}

// round sends a RELIABLE message from the peer to itself, and returns every
// frame that came before it: whatever the keeper had for the peer until then.
func round(p *Peer) []Frame {
	p.t.Helper()
	self := fmt.Sprintf("round %p", p)
	p.Message(p.user, self, `"confirmationEnabled":false`)
	var before []Frame
	for {
		f := p.Next()
		if f.Type == "MESSAGE" && f.Field("content") == self {
			return before
		}
		before = append(before, f)
	}
}

// wantNothing fails if the keeper has, or had, anything for the peer.
func wantNothing(t *testing.T, what string, p *Peer) {
	t.Helper()
	if frames := round(p); len(frames) > 0 {
		t.Errorf("%s got %d frames, the first %.200s", what, len(frames), frames[0].Raw)
	}
}

// awaitSessions waits until the keeper knows n sessions.
func awaitSessions(t *testing.T, s *Server, n int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("the keeper has %d sessions", n), func() bool {
		return s.Metric("switchboard_mailbox_sessions") == float64(n)
	})
}

// awaitWaiting waits until n messages are in the mailboxes, all together.
func awaitWaiting(t *testing.T, s *Server, n int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%d messages are in the mailboxes", n), func() bool {
		return s.Metric("switchboard_mailbox_messages") == float64(n)
	})
}

// ready says whether the server says that it is.
func ready(s *Server) bool {
	s.t.Helper()
	status, _ := s.Get("/readyz")
	return status == 200
}

// awaitMetric waits until a metric is at least least.
func awaitMetric(t *testing.T, s *Server, name string, least float64) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%s is at least %v", name, least), func() bool { return s.Metric(name) >= least })
}

// closesMetric is the metric that counts the connections that the server ended
// with a close code; 1006 are those without one.
func closesMetric(code int) string {
	return fmt.Sprintf("switchboard_socket_closes_total{code=\"%d\"}", code)
}

// unread puts frames back, to be returned by Next before all others.
func (p *Peer) unread(frames []Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames = append(frames, p.frames...)
}

// numberFromEnvironment returns a number that whoever runs the test may set.
func numberFromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// durationFromEnvironment is the same for a duration.
func durationFromEnvironment(t *testing.T, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// restOfProducers is how long a producer rests after a message or a few in the
// workloads of several nodes, where each message costs many times what it does on one.
// FAULT_REST sets it: the shorter, the more is under way when something fails.
func restOfProducers(t *testing.T) time.Duration {
	t.Helper()
	return durationFromEnvironment(t, "FAULT_REST", 30*time.Millisecond)
}
