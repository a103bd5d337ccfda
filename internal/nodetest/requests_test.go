package nodetest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/api"
)

// docs/requests.http runs as printed, but for the server's address and the key.
// "# answers 201" stands before a request for the status that it is answered with.

// printedRequest is one request of the file.
type printedRequest struct {
	title, name  string // name: under which later ones refer to its answer
	answers      int
	method, path string // the path with its query, behind {{url}}
	header       []string
	body         string
}

func printedRequests(t *testing.T) (list []printedRequest) {
	t.Helper()
	text, err := os.ReadFile("../../docs/requests.http")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split("\n"+string(text), "\n### ")[1:] {
		title, rest, _ := strings.Cut(block, "\n")
		r := printedRequest{title: title}
		head, body, _ := strings.Cut(rest, "\n\n")
		for line := range strings.Lines(head) {
			line = strings.TrimSpace(line)
			if status, ok := strings.CutPrefix(line, "# answers "); ok {
				r.answers, _ = strconv.Atoi(status)
			} else if name, ok := strings.CutPrefix(line, "# @name "); ok {
				r.name = name
			} else if strings.HasPrefix(line, "#") || line == "" {
				continue
			} else if method, target, ok := strings.Cut(line, " {{url}}"); ok {
				r.method, r.path = method, target
			} else if name, value, ok := strings.Cut(line, ": "); ok {
				r.header = append(r.header, name, value)
			} else {
				t.Fatalf("%s: what is %q?", title, line)
			}
		}
		r.body = strings.TrimSpace(body)
		if r.answers == 0 || r.method == "" {
			t.Fatalf("%s: does not say what it answers, or asks nothing of {{url}}", title)
		}
		list = append(list, r)
	}
	return list
}

// fits says whether a path, without its query, is one of a call.
func fits(c api.Call, method, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	pattern := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(c.Path, `[^/]+`)
	return method == c.Method && regexp.MustCompile("^"+pattern+"$").MatchString(path)
}

func TestThePrintedRequestsRunInOrderAndLeaveNoCallOut(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonDemo) // which has accounts, and nobody to take out of a cluster
	s := Start(t)
	runPrinted(t, s)
	if t.Failed() {
		return
	}
	runPrinted(t, s) // and again, though not ten minutes have passed
}

// runPrinted runs the requests of the file, of which none may be answered from
// memory: that would be of somebody else's run.
func runPrinted(t *testing.T, s *Server) {
	t.Helper()
	SignIn(t, s, "ANZ-123224", "") // the demo's user, whom the requests may be about
	answers := map[string]Answer{}
	fill := func(text string) string {
		return regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllStringFunc(text, func(v string) string {
			v = strings.Trim(v, "{}")
			name, path, ok := strings.Cut(v, ".response.body.$.")
			switch value := answers[name].at(path); {
			case v == "key":
				return s.Key
			case v == "$guid":
				return rand.Text() // as good as a UUID, and another one each time
			case v == "session" || v == "event":
				return firstEvent(t, answers["events"], v)
			case ok && value != "":
				return value
			}
			t.Fatalf("nothing has said what {{%s}} is", v)
			return ""
		})
	}
	missing := api.Calls(api.Rooms{})
	for _, r := range printedRequests(t) {
		header := make([]string, len(r.header))
		for i, h := range r.header {
			header[i] = fill(h)
		}
		path := fill(r.path)
		a := s.ask(r.method, path, fill(r.body), header)
		if a.Status != r.answers {
			t.Errorf("%s: %s %s answers %d %s, it says %d", r.title, r.method, path, a.Status, a.Body, r.answers)
		}
		if a.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: %s %s is answered from memory", r.title, r.method, path)
		}
		answers[r.name] = a
		known := false
		for i := len(missing) - 1; i >= 0; i-- {
			if fits(missing[i], r.method, path) {
				missing = append(missing[:i:i], missing[i+1:]...)
			}
		}
		for _, c := range api.Calls(api.Rooms{}) {
			known = known || fits(c, r.method, path)
		}
		if !known {
			t.Errorf("%s: there is no call %s %s", r.title, r.method, path)
		}
	}
	for _, c := range missing {
		t.Errorf("docs/requests.http lacks %s %s", c.Method, c.Path)
	}
}

// at returns what stands at a path such as sessions[0].id in an answer.
func (a Answer) at(path string) string {
	part := Answer{Body: a.Body}
	for _, step := range strings.FieldsFunc(path, func(c rune) bool { return c == '.' || c == '[' || c == ']' }) {
		text := part.Field(step)
		if n, err := strconv.Atoi(step); err == nil {
			var list []json.RawMessage
			if json.Unmarshal([]byte(part.Body), &list) != nil || n >= len(list) {
				return ""
			}
			text = string(list[n])
		}
		part.Body = text
	}
	return part.Body
}

// firstEvent returns what a person would copy from the first event of an answer:
// its ID, or the session's secret in it.
func firstEvent(t *testing.T, a Answer, what string) string {
	t.Helper()
	e, err := NewEventReader(strings.NewReader(a.Body)).Next()
	if err != nil {
		t.Fatalf("the first event of %q: %v", a.Body, err)
	}
	if what == "event" {
		return e.ID
	}
	var f Frame
	if err := json.Unmarshal([]byte(e.Data), &f); err != nil {
		t.Fatal(err)
	}
	return f.Field("session")
}

// ask makes a request with just these headers. Of an answer that is a stream only
// the beginning is taken.
func (s *Server) ask(method, path, body string, header []string) Answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.Addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := readAnswer(res)
	if err != nil {
		s.t.Fatal(err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: text}
}
