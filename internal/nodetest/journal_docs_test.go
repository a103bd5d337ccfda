package nodetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	readers         = "nats: {listen: 127.0.0.1:0, password: a password of readers}\n"
	readersSettings = plainApp + readers
)

// readersURL is where a node lets readers in, with their name and password.
func readersURL(t *testing.T, s *Server) string {
	t.Helper()
	_, rest, ok := strings.Cut(s.Output(), "nats://")
	addr, _, _ := strings.Cut(rest, ",")
	if !ok {
		t.Fatalf("the node does not say where readers connect:\n%s", s.Output())
	}
	return "nats://reader:a%20password%20of%20readers@" + addr
}

func TestTheDocumentedProgramReadsTheJournalOfTheEmbeddedEngine(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	s := startWith(t, readersSettings)
	source := filepath.Join("testdata", "readjournal", "main.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/journal.md")
	if err != nil || !bytes.Contains(doc, append([]byte("```go\n"), append(text, "```\n"...)...)) {
		t.Errorf("docs/journal.md does not have the program of %s: %v", source, err)
	}
	program, err := buildProgram("readjournal", "./"+source)
	if err != nil {
		t.Fatal(err)
	}
	_, key := s.NewKey(`{"app":"ANZ","scopes":["journal:write"]}`)
	write := func(amount string) {
		wantAnswer(t, "write", s.Call("POST", "/device/event", key, `{"deviceId":"sensor 7","eventType":"bytesSent","amount":`+amount+`}`), 201, "")
	}
	write("4")
	cmd := exec.Command(program, readersURL(t, s))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for _, want := range []string{"sensor 7 bytesSent 4", "sensor 7 bytesSent 5"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("it prints %q, not %q", lines.Text(), want)
		}
		write("5")
	}
}

func TestEveryLineOfTheStreamIsAsTheSchemaSays(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	s := startWith(t, readersSettings)
	_, key := s.NewKey(`{"admin":true}`)
	a := s.Call("POST", "/v1/journal", key, `{"events":[{"type":"bytesSent","device":"ü \" <&>","amount":0},{"type":"matched","device":"a","at":"1970-01-01T00:00:01Z","id":"x"}]}`)
	wantAnswer(t, "write", a, 201, "")
	wantSchema(t, linesRead(t, readersURL(t, s), 2))
}

// wantSchema fails unless lines of the journal are as the schema says.
func wantSchema(t *testing.T, lines []string) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/journal.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// linesRead reads so many events as a client of NATS.
func linesRead(t *testing.T, url string, want int) (list []string) {
	t.Helper()
	readLines(t, url, func(line string) bool {
		list = append(list, line)
		return len(list) < want
	})
	return list
}

// readLines reads events as a client of NATS, with the rest of the last batch, until more
// says that it is enough.
func readLines(t *testing.T, url string, more func(line string) bool) {
	t.Helper()
	c, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(t.Context(), "SB_JOURNAL", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	read, going := 0, true
	for began := time.Now(); going; {
		m, err := consumer.Next(jetstream.FetchMaxWait(Patience))
		if errors.Is(err, nats.ErrNoResponders) && time.Since(began) < Patience {
			continue // a leader is being elected
		}
		if err != nil {
			t.Fatalf("after %d events: %v", read, err)
		}
		for line := range bytes.Lines(m.Data()) {
			read, going = read+1, more(string(line))
		}
	}
}

func TestReadersOfAnyNodeGetTheEventsOfAll(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	c := StartCluster(t, 3, func(_ int, s *NodeSettings) { s.More = readersSettings })
	key := ground{t, c, 0}.adminKey()
	for i := range 30 {
		body := fmt.Sprintf(`{"deviceId":"device-%d","eventType":"bytesSent","amount":%d}`, i, i)
		wantAnswer(t, "write", c.Nodes[i%3].Call("POST", "/device/event", key, body), 201, "")
	}
	first := linesRead(t, readersURL(t, c.Nodes[0]), 30)
	for _, n := range c.Nodes[1:] {
		if list := linesRead(t, readersURL(t, n), 30); !slices.Equal(list, first) {
			t.Errorf("one reads %q\nanother %q", first, list)
		}
	}
}

func TestTheJournalOnANATSOfOnesOwnIsReadThere(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	n := StartNATS(t)
	s := startWith(t, plainApp+fmt.Sprintf("nats: {url: %q, systemUrl: %q}\n", n.URL, n.System))
	_, key := s.NewKey(`{"app":"ANZ","scopes":["journal:write"]}`)
	wantAnswer(t, "write", s.Call("POST", "/device/event", key, `{"deviceId":"a","eventType":"bytesSent","amount":4}`), 201, "")
	if list := linesRead(t, n.URL, 1); !strings.Contains(list[0], `"type":"bytesSent","device":"a","app":"ANZ","amount":4}`) {
		t.Errorf("it reads %q", list)
	}
}
