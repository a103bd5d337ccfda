package nodetest

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
)

// Answer is what a call of the HTTP interface was answered with.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Code returns the code of problem details; empty for another answer.
func (a Answer) Code() string {
	if a.Header.Get("Content-Type") != "application/problem+json" {
		return ""
	}
	return a.Field("code")
}

// Field returns a member of the answer as text: a string as it is, anything else
// as JSON; empty when there is none.
func (a Answer) Field(name string) string {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(a.Body), &members) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(members[name], &text) == nil {
		return text
	}
	return string(members[name])
}

// Call makes a call of the HTTP interface with an API key, which may be empty, and
// a body, which may be empty or is JSON. header are further headers, a name and a
// value each.
func (s *Server) Call(method, path, key, body string, header ...string) Answer {
	s.t.Helper()
	return s.call(http.DefaultClient, "http://"+s.Addr, method, path, key, body, header)
}

// CallControl makes a call at the control socket.
func (s *Server) CallControl(method, path, body string, header ...string) Answer {
	s.t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Data, "control.sock"))
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return s.call(client, "http://switchboard", method, path, "", body, header)
}

func (s *Server) call(client *http.Client, base, method, path, key, body string, header []string) Answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.Output())
	}
	defer res.Body.Close()
	text, err := readAnswer(res)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: text}
}

// NewKey makes an API key as the operator; wish is JSON, such as
// {"app":"ANZ","scopes":["users:read"]}.
func (s *Server) NewKey(wish string) (id, key string) {
	s.t.Helper()
	a := s.CallControl("POST", "/v1/keys", wish)
	if a.Status != http.StatusCreated {
		s.t.Fatalf("make a key: %d %s", a.Status, a.Body)
	}
	id, key = a.Field("id"), a.Field("key")
	if nodes := s.Nodes(); len(nodes) > 1 { // the others hear of it a moment later
		for _, n := range nodes {
			if slices.Equal(n.roles, []string{"processor"}) {
				continue // nobody calls it
			}
			Eventually(s.t, "every node knows the key", func() bool {
				return n.Call("GET", "/v1/whoami", key, "").Status != http.StatusUnauthorized
			})
		}
	}
	return id, key
}

// readAnswer reads an answer; of a stream, which has no end, what comes first.
func readAnswer(res *http.Response) (string, error) {
	if res.Header.Get("Content-Type") != "text/event-stream" {
		text, err := io.ReadAll(res.Body)
		return string(text), err
	}
	text := make([]byte, 64<<10)
	n, err := res.Body.Read(text)
	if n > 0 {
		err = nil
	}
	return string(text[:n]), err
}
