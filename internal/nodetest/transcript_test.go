package nodetest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Transcripts are conversations as a client of the protocol has them, kept as
// text: what is sent, and what must come back, to the byte. A line is
//
//	NAME connects             a new connection
//	NAME > FRAME              NAME sends FRAME
//	NAME < FRAME              the next frame that NAME gets; <id> stands for any
//	                          ID, <text> for the text of any string
//	NAME leaves               NAME closes its connection, and the server knows it
//	NAME is closed with CODE  the server closes it
//	NAME has heard all        the server has sent NAME nothing more
//	server is killed          SIGKILL, and started again on the same data
//	# …                       for the reader
//
// Those in old/ are of clients that know no extension: they must pass for ever.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/transcripts/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "testdata/transcripts/"), ".txt")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, file, string(text))
		})
	}
}

func play(t *testing.T, file, text string) {
	s := Start(t)
	peers := make(map[string]*Peer)
	present := make(map[string]bool) // who is signed in
	for n, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		where := fmt.Sprintf("%s:%d: %s", file, n+1, line)
		name, rest, _ := strings.Cut(line, " ")
		verb, arg, _ := strings.Cut(rest, " ")
		switch {
		case line == "server is killed":
			settle(t, s)
			s.Kill()
			clear(present)
			s.Start()
		case rest == "connects":
			peers[name] = Dial(t, s)
		case verb == ">":
			peers[name].Send(arg)
		case verb == "<":
			f, err := peers[name].TryNext()
			if err != nil {
				t.Fatalf("%s\n%v", where, err)
			}
			if !matches(arg, f.Raw) {
				t.Fatalf("%s\ngot %s", where, f.Raw)
			}
			if f.Field("isAuthenticated") == "true" {
				present[name] = true
			}
		case rest == "leaves":
			peers[name].Close()
			delete(present, name)
			awaitSessions(t, s, len(present))
		case strings.HasPrefix(rest, "is closed with "):
			delete(present, name)
			if code := peers[name].CloseCode(); strconv.Itoa(code) != strings.TrimPrefix(rest, "is closed with ") {
				t.Fatalf("%s\ngot close code %d", where, code)
			}
		case rest == "has heard all":
			if more := peers[name].Barrier(); len(more) > 0 {
				t.Fatalf("%s\ngot %s", where, more[0].Raw)
			}
		default:
			t.Fatalf("%s\nis not a line of a transcript", where)
		}
	}
}

// settle waits until what the server has heard so far is on disk: a proof that
// is not may be lost with the process. The log is written in order, so a receipt
// speaks for all before it.
func settle(t *testing.T, s *Server) {
	t.Helper()
	p := SignIn(t, s, "ANZ-99999998", `{"receipts":true}`)
	p.Message("ANZ-99999999", "now", `"reference":"now","confirmationEnabled":false`)
	p.Expect("MESSAGE_STORED")
	p.Abort()
}

// matches compares a frame with what a transcript says, byte for byte but for
// its wildcards.
func matches(want, got string) bool {
	pattern := regexp.QuoteMeta(want)
	pattern = strings.ReplaceAll(pattern, "<id>", "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
	pattern = strings.ReplaceAll(pattern, "<text>", `(?:[^"\\]|\\.)+`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(got)
}
