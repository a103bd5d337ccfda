package nodetest

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Bad input is answered as docs/protocol.md says, and costs nobody else
// anything: the tests in the files badinput_*_test.go send it through the real
// binary while two neighbours talk, and in the end the process must be as
// healthy as before.

// badSettings leaves the demo app as it is, and allows a frame that holds more
// receivers than a group message may have.
const badSettings = "limits: {frame: 256KiB, signInFrame: 256KiB}\n"

// badFrameLimit is limits.frame in badSettings.
const badFrameLimit = 256 << 10

// mallory sends the bad input. Each case has a user of its own in the place of
// this one, so that none hears of another: see own.
const mallory = "ANZ-666"

// own puts the user of case i into a text that speaks of mallory, also where the
// name of the app is escaped.
func own(i int, text string) string {
	return strings.ReplaceAll(text, strings.TrimPrefix(mallory, "ANZ"), fmt.Sprint("-", 1000+i))
}

// ownAll is own for each of the texts.
func ownAll(i int, texts []string) []string {
	list := make([]string, len(texts))
	for k, text := range texts {
		list[k] = own(i, text)
	}
	return list
}

// badFrame is a frame that a client sends, and what must come back.
type badFrame struct {
	name string
	send string
	// want is what the server must answer, in order: "TYPE CODE REFERENCE" (the
	// last as it stands on the wire, and absent if it is), or a whole frame as in
	// a transcript if it begins with a brace. None: nothing comes.
	want []string
}

// summary is a frame as badFrame.want has it.
func summary(f Frame) string {
	words := []string{f.Type}
	if code := f.Field("code"); code != "" {
		words = append(words, code)
	}
	if len(f.Reference) > 0 {
		words = append(words, string(f.Reference))
	}
	return strings.Join(words, " ")
}

// wantFrames compares what came with what badFrame.want says.
func wantFrames(t *testing.T, want []string, got []Frame) {
	t.Helper()
	for i, f := range got {
		switch {
		case i >= len(want):
			t.Errorf("got also %.300s", f.Raw)
		case strings.HasPrefix(want[i], "{"):
			if !matches(want[i], f.Raw) {
				t.Errorf("got  %.300s\nwant %.300s", f.Raw, want[i])
			}
		case summary(f) != want[i]:
			t.Errorf("got  %.300s\nwant %.300s", f.Raw, want[i])
		}
		if reason := f.Field("reason"); len(reason) > 400 {
			t.Errorf("the reason has %d bytes: %.100s", len(reason), reason)
		}
	}
	for _, w := range want[min(len(got), len(want)):] {
		t.Errorf("nothing came, want %.300s", w)
	}
}

// health is how a process was before bad input.
type health struct {
	t          *testing.T
	s          *Server
	goroutines int
	peak       int64
}

// measure notes how the process is now. It must have nothing to do but to serve
// the sessions that it will have in the end.
func measure(t *testing.T, s *Server) *health {
	t.Helper()
	return &health{t: t, s: s, goroutines: goroutines(t, s), peak: peakMemory(t, s)}
}

// judge fails unless the process has given back what bad input took, and never
// took more than most bytes for it. Those who sent it must have left.
func (h *health) judge(most int64) {
	h.t.Helper()
	now := 0
	Eventually(h.t, "the process has as many goroutines as before, or nearly", func() bool {
		now = goroutines(h.t, h.s)
		return now <= h.goroutines+10
	})
	grown := peakMemory(h.t, h.s) - h.peak
	if raceEnabled {
		most *= 4 // what the race detector remembers of each word
	}
	if grown > most {
		h.t.Errorf("the process took up to %d MiB more for it, that is more than %d", grown>>20, most>>20)
	}
	if n := h.s.Metric("switchboard_socket_panics_total"); n > 0 {
		h.t.Errorf("%v sessions ended by a fault in the server", n)
	}
	for _, word := range []string{"panic", "DATA RACE", "fatal error"} {
		if out := h.s.Output(); strings.Contains(out, word) {
			h.t.Errorf("the process said %q:\n%s", word, out)
		}
	}
	if status, body := h.s.Get("/readyz"); status != 200 {
		h.t.Errorf("/readyz answers %d %s", status, body)
	}
	h.t.Logf("goroutines: %d before, %d after; memory at its peak: %d MiB more than before", h.goroutines, now, grown>>20)
}

func goroutines(t *testing.T, s *Server) (n int) {
	t.Helper()
	_, body := s.Get("/debug/pprof/goroutine?debug=1")
	if _, err := fmt.Sscanf(body, "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("the profile of goroutines begins with %.80q", body)
	}
	return n
}

// peakMemory is the most that the process ever had resident, in bytes.
func peakMemory(t *testing.T, s *Server) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no VmHWM in /proc status")
	return 0
}

// awaitLeft waits until only n connections are left.
func awaitLeft(t *testing.T, s *Server, n int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("the server has %d connections", n), func() bool {
		return s.Metric("switchboard_socket_connections") == float64(n)
	})
}

func TestBadInputCostsNobodyElseAnything(t *testing.T) {
	Alone(t, ReasonMemory)
	collectOften(t)
	s := Start(t, "--config", Settings(t, badSettings))
	n := startNeighbours(t, s)
	h := measure(t, s)
	cases := 0
	for _, table := range []struct {
		name string
		run  func(*testing.T, *Server) int
	}{
		{"frames", badFrames},
		{"sign-ins", badSignIns},
		{"websocket", badBytes},
		{"floods", floods},
		{"handshakes", badHandshakes},
	} {
		t.Run(table.name, func(t *testing.T) { cases += table.run(t, s) })
	}
	t.Logf("%d cases", cases)
	n.judge()
	awaitLeft(t, s, 2)
	h.judge(128 << 20)
}

// badFrames sends each bad frame on a session of its own, which must go on.
func badFrames(t *testing.T, s *Server) int {
	cases := allBadFrames()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := SignIn(t, s, own(i, mallory), "")
			defer p.Close()
			p.Send(own(i, c.send))
			wantFrames(t, ownAll(i, c.want), round(p))
		})
	}
	return len(cases)
}

func allBadFrames() []badFrame {
	var all []badFrame
	for _, list := range [][]badFrame{
		notJSON(), badNumbers(), badStrings(), tooDeep(), givenTwice(), badEnvelopes(), badReceivers(), badMessages(),
		badGroups(), badRequests(),
	} {
		all = append(all, list...)
	}
	return all
}

// frameTable makes cases that all have the same answer.
func frameTable(want string, cases [][2]string) []badFrame {
	list := make([]badFrame, len(cases))
	for i, c := range cases {
		list[i] = badFrame{name: c[0], send: c[1]}
		if want != "" {
			list[i].want = []string{want}
		}
	}
	return list
}

// toSelf is a MESSAGE from mallory to itself; content is raw JSON.
func toSelf(content string) string {
	return `{"type":"MESSAGE","reference":"r","confirmationEnabled":false,"data":{"to":"` + mallory + `","content":` + content + `}}`
}

// fromSelf is what becomes of it.
func fromSelf(content string) string {
	return `{"type":"MESSAGE","data":{"from":"` + mallory + `","content":` + content + `},"reference":"r"}`
}

// passes are contents that look bad, and arrive byte for byte.
func passes(cases [][2]string) []badFrame {
	list := make([]badFrame, len(cases))
	for i, c := range cases {
		list[i] = badFrame{c[0], toSelf(c[1]), []string{fromSelf(c[1])}}
	}
	return list
}
