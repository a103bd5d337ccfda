package nodetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Federation is several domains, of one node each, and the meta server that
// describes them. The app is that of the demo; its numbers live a thousand in each
// domain, and what is beyond in the last.
type Federation struct {
	Domains []*Server // domain-01 and so on
	Meta    *Meta

	t     testing.TB
	addrs []string // where clients connect
	urls  []string // what is described
}

// Meta is a running meta server.
type Meta struct {
	Addr string
	File string // that it serves

	t    testing.TB
	data string
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	out strings.Builder
}

// FederationOptions say what a federation is like.
type FederationOptions struct {
	Domains int
	Links   string // as domainLinks has it; empty: a row
	Master  string // masterUserId; empty: none
	// More are settings of domain i besides its name and the meta server.
	More func(i int) string
	// Via returns where others reach domain i, which listens at an address; nil: there.
	Via func(i int, address string) string
}

// StartFederation starts the meta server and all domains, and waits until all links
// are up. They end with the test.
func StartFederation(t testing.TB, o FederationOptions) *Federation {
	t.Helper()
	Alone(t, ReasonOwn)
	f := &Federation{t: t}
	for i := range o.Domains {
		f.addrs = append(f.addrs, freeAddress(t))
		f.urls = append(f.urls, f.addrs[i])
		if o.Via != nil {
			f.urls[i] = o.Via(i, f.addrs[i])
		}
	}
	if o.Links == "" {
		for i := 1; i < o.Domains; i++ {
			o.Links += fmt.Sprintf("\n  - {n1: %s, n2: %s}", domainName(i-1), domainName(i))
		}
	}
	f.Meta = &Meta{t: t, Addr: freeAddress(t), File: filepath.Join(t.TempDir(), "network.yaml"), data: filepath.Join(t.TempDir(), "meta")}
	f.Describe(o.Links, o.Master, "")
	f.Meta.Start()
	t.Cleanup(f.Meta.Kill)
	for i := range o.Domains {
		text := fmt.Sprintf("domain: %s\nmeta: http://%s\n", domainName(i), f.Meta.Addr)
		if o.More != nil {
			text += o.More(i)
		}
		s := &Server{
			t: t, path: Binary(t), Addr: f.addrs[i], Admin: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"),
			Args: []string{"--config", Settings(t, text)},
		}
		s.Start()
		t.Cleanup(s.Kill)
		f.Domains = append(f.Domains, s)
	}
	return f
}

func domainName(i int) string { return fmt.Sprintf("domain-%02d", i+1) }

// Describe has the meta server serve another description: links as domainLinks has
// them, and more at the end.
func (f *Federation) Describe(links, master, more string) {
	f.t.Helper()
	var b strings.Builder
	b.WriteString("domains:\n")
	for i, url := range f.urls {
		fmt.Fprintf(&b, "  - {name: %s, urls: [\"ws://%s\"]}\n", domainName(i), url)
	}
	b.WriteString("domainLinks:" + links + "\nclientApps:\n  - appName: ANZ\n    appId: app-id-343\n    authEnabled: false\n")
	if master != "" {
		fmt.Fprintf(&b, "    masterUserId: %s\n", master)
	}
	b.WriteString("    userDistributions:\n")
	for i := range f.urls {
		to := ""
		if i < len(f.urls)-1 {
			to = fmt.Sprintf(", to: %d", 1000*(i+1)-1)
		}
		fmt.Fprintf(&b, "      - {domainName: %s, from: %d%s}\n", domainName(i), 1000*i, to)
	}
	b.WriteString(more)
	next := f.Meta.File + ".new"
	if err := os.WriteFile(next, []byte(b.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.Meta.File); err != nil {
		f.t.Fatal(err)
	}
}

// User returns a user who lives in domain i.
func (f *Federation) User(i, number int) string { return fmt.Sprintf("ANZ-%d", 1000*i+number) }

// SignIn signs a user in where he lives.
func (f *Federation) SignIn(i, number int, options string) *Peer {
	f.t.Helper()
	return SignIn(f.t, f.Domains[i], f.User(i, number), options)
}

// LinksUp waits until all links of all domains that run are up, both ways, but for
// those to domains that do not run.
func (f *Federation) LinksUp() {
	f.t.Helper()
	Eventually(f.t, "all links are up", func() bool {
		for i, s := range f.Domains {
			if !s.running() {
				continue
			}
			for _, n := range f.Look(i).Neighbours {
				var at int
				if _, err := fmt.Sscanf(n.Domain, "domain-%d", &at); err != nil || !f.Domains[at-1].running() {
					continue
				}
				if n.Receiving.State != "up" || n.Sending.State != "up" {
					return false
				}
			}
		}
		return true
	})
}

func (s *Server) running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// DomainView is what a domain says of the network.
type DomainView struct {
	Domain     string
	Version    int64
	Source     struct{ Trouble, Kind string }
	Neighbours []struct {
		Domain             string
		Receiving, Sending struct{ State, Why string }
		RoundTripMs        float64
		Waiting            struct{ Messages, Bytes int }
	}
	Domains []struct {
		Domain, Next string
		Path         []string
		Cost         int
	}
}

// Look asks domain i for its view of the network.
func (f *Federation) Look(i int) (v DomainView) {
	f.t.Helper()
	f.Domains[i].Ask("/v1/domains", &v)
	return v
}

// Neighbour returns the number of messages that wait in domain i for another one.
func (f *Federation) Waiting(i, other int) int {
	f.t.Helper()
	for _, n := range f.Look(i).Neighbours {
		if n.Domain == domainName(other) {
			return n.Waiting.Messages
		}
	}
	f.t.Fatalf("%s is no neighbour of %s", domainName(other), domainName(i))
	return 0
}

// Ask makes a call of the HTTP interface by the control socket, which takes no key.
func (s *Server) Ask(path string, answer any) {
	s.t.Helper()
	a := s.CallControl("GET", path, "")
	if err := json.Unmarshal([]byte(a.Body), answer); err != nil || a.Status != http.StatusOK {
		s.t.Fatalf("%s: %d %s: %v", path, a.Status, a.Body, err)
	}
}

// Start runs the meta server, and waits until it serves.
func (m *Meta) Start() {
	m.t.Helper()
	m.cmd = exec.Command(Binary(m.t), "meta", "--config", m.File, "--listen", m.Addr, "--data", m.data, "--every", "100ms")
	m.cmd.Env = append(environment(), "GORACE="+raceOptions)
	pipe, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd.Stderr = m.cmd.Stdout
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			m.mu.Lock()
			m.out.WriteString(lines.Text() + "\n")
			m.mu.Unlock()
		}
		_ = m.cmd.Wait() // that it was killed is no news
	}()
	Eventually(m.t, "the meta server answers", func() bool {
		res, err := http.Get("http://" + m.Addr + "/healthz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// Kill ends the meta server at once.
func (m *Meta) Kill() {
	_ = m.cmd.Process.Kill() // it may have ended
	<-m.done
}

// Output returns what the meta server printed.
func (m *Meta) Output() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.String()
}
