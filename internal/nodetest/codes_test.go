//go:build linux

package nodetest

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every frame, every error code and every close code of docs/protocol.md comes
// from the real binary at least once, or it stands below why none can.

// unreached are codes that no test here has the binary produce.
var unreached = map[string]struct {
	why  string
	file string // of the unit test that covers it, from the root of the checkout
	test string
}{
	"server FORWARD":                 {"only the link to another domain gets it", "internal/delivery/forward_test.go", "TestMessagesReachUsersOfOtherDomains"},
	"DELIVER_FAILED NO_ROUTE":        {"it takes a network in which a number lives nowhere", "internal/delivery/forward_test.go", "TestNobodyKnowsTheWay"},
	"DELIVER_FAILED TOO_MANY_HOPS":   {"it takes eleven links in a row", "internal/delivery/forward_test.go", "TestAMessageCrossesTenLinksAtMost"},
	"AUTH_CLIENT_REPLY WRONG_DOMAIN": {"it takes another domain", "internal/nodetest/federation_test.go", "TestAUserIsToldWhereHeLives"},
	"AUTH_CLIENT_REPLY BUSY":         {"it takes 10 000 connections that wait for one hook", "internal/apps/hook_test.go", "TestWaitingForATurnEndsWithTheAttemptAndIsLimited"},
	"AUTH_CLIENT_REPLY STORE_DOWN":   {"it takes a database that goes", "internal/nodetest/accounts_db_test.go", "TestWhileTheDatabaseIsGoneAllElseIsServedAndThenAccountsToo"},
	"GENERAL_ERROR STORE_DOWN":       {"it takes a database that goes", "internal/nodetest/rooms_test.go", "TestTheDatabaseGoesWhileARoomIsTalkedIn"},
	"GENERAL_ERROR STORE_FULL":       {"it takes a disk that is full, on which nothing else is", "internal/chat/edges_test.go", "TestADatabaseThatIsGoneIsSaidAndComesBack"},
	"close 1008":                     {why: "no rule of today's server ends a session with it"},
	"close 1011":                     {"it takes a fault in the server", "internal/socket/protocol_test.go", "TestPanicEndsOneSessionOnly"},
}

// codeBook notes what came from the server. Its keys are "client TYPE" for what
// a client sent, "server TYPE", "KIND CODE", and "close CODE".
type codeBook struct {
	t    *testing.T
	seen map[string]bool
}

// send sends a frame.
func (b *codeBook) send(p *Peer, frame string) {
	b.t.Helper()
	var f Frame
	if err := json.Unmarshal([]byte(frame), &f); err == nil {
		b.seen["client "+f.Type] = true
	}
	p.Send(frame)
}

// next returns the next frame.
func (b *codeBook) next(p *Peer) Frame {
	b.t.Helper()
	f := p.Next()
	b.note(f)
	return f
}

func (b *codeBook) note(f Frame) {
	b.seen["server "+f.Type] = true
	if code := f.Field("code"); code != "" {
		b.seen[f.Type+" "+code] = true
	}
}

// want fails unless the next frame has this summary, see badFrame.want.
func (b *codeBook) want(p *Peer, want string) Frame {
	b.t.Helper()
	f := b.next(p)
	if got := summary(f); got != want {
		b.t.Fatalf("got %s, want %s", f.Raw, want)
	}
	return f
}

// closed fails unless the server closes the connection with a code.
func (b *codeBook) closed(p *Peer, code int) {
	b.t.Helper()
	if got := p.CloseCode(); got != code {
		b.t.Fatalf("close code %d, want %d", got, code)
	}
	b.seen["close "+strconv.Itoa(code)] = true
}

// scenario makes the server send what it lists.
type scenario struct {
	name     string
	produces []string
	run      func(t *testing.T, b *codeBook)
}

func TestEveryCodeOfTheProtocolIsProduced(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	listed := listedCodes(t)
	produced := make(map[string]bool)
	for _, c := range slices.Concat(frameScenarios(), errorScenarios(), signInScenarios(), closeScenarios(), storeScenarios(), roomScenarios(), matchScenarios(), nearbyScenarios()) {
		for _, key := range c.produces {
			produced[key] = true // or its own test fails
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := &codeBook{t: t, seen: make(map[string]bool)}
			c.run(t, b)
			for _, key := range c.produces {
				if !b.seen[key] {
					t.Errorf("%s was not produced", key)
				}
			}
			for key := range b.seen {
				if !listed[key] && !strings.HasPrefix(key, "client ") {
					t.Errorf("%s does not stand in docs/protocol.md", key)
				}
			}
		})
	}
	for _, key := range slices.Sorted(maps.Keys(listed)) {
		_, not := unreached[key]
		switch {
		case !produced[key] && !not:
			t.Errorf("docs/protocol.md lists %s, which no scenario produces", key)
		case produced[key] && not:
			t.Errorf("%s is produced: it does not belong among those that are not", key)
		}
	}
	for key, u := range unreached {
		if !listed[key] {
			t.Errorf("docs/protocol.md does not list %s", key)
		}
		wantUnitTest(t, u.file, u.test)
	}
	t.Logf("%d listed, %d produced, %d not reached", len(listed), len(produced), len(unreached))
}

// wantUnitTest fails unless the file has the test.
func wantUnitTest(t *testing.T, file, name string) {
	t.Helper()
	if file == "" {
		return
	}
	b, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Error(err)
	} else if !strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") {
		t.Errorf("%s has no %s", file, name)
	}
}

// listedCodes reads the keys of docs/protocol.md: see codeBook.
func listedCodes(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]bool)
	section, from := "", ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "## "):
			section = strings.TrimPrefix(line, "## ")
		case line == "From the client:":
			from = "client "
		case line == "From the server:":
			from = "server "
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) < 3 {
			continue
		}
		first, second := code(cells[0]), code(cells[1])
		switch section {
		case "Frames":
			if first != "type" && first != "---" {
				keys[from+first] = true
			}
		case "Errors":
			if first != "kind" && first != "---" {
				keys[first+" "+second] = true
			}
		case "Close codes":
			if _, err := strconv.Atoi(first); err == nil {
				keys["close "+first] = true
			}
		}
	}
	if len(keys) < 60 {
		t.Fatalf("docs/protocol.md was read wrongly: only %d frames and codes", len(keys))
	}
	return keys
}

// code is a cell of a table without the quotes of code.
func code(cell string) string { return strings.Trim(strings.TrimSpace(cell), "`") }
