package nodetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Federation is several domains, of one node each, and the meta server that
// describes them. The app is that of the demo.
type Federation struct {
	Domains []*Server // domain-01 and so on
	Meta    *Meta
	Network Network // as it was described last

	t testing.TB
}

// Network is a description of all domains.
type Network struct {
	URLs   [][]string // of each domain
	Links  []string   // as "1-2" or "1-2 cost 3"
	Starts []int      // where the numbers of each domain begin; the last one has all that follow
	Master string     // masterUserId; empty: none
	Apps   string     // further apps, as they stand in the file
}

// Meta is a running meta server.
type Meta struct {
	Addr string
	File string // that it serves; empty: none

	t    testing.TB
	args []string // further arguments
	data string
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	out strings.Builder
}

// FederationOptions say what a federation is like.
type FederationOptions struct {
	Domains int
	Links   []string // as Network has them; nil: a row
	Master  string
	// More are settings of domain i besides its name and the meta server.
	More func(i int) string
	// Meta is where domain i has its description from; nil or empty: the meta server.
	Meta func(i int) string
	// Later are domains that are not started.
	Later []int
	// MetaAt is where the meta server listens; empty: somewhere on loopback.
	MetaAt string
}

// StartFederation starts the meta server and the domains. They end with the test.
// Numbers live a thousand in each domain.
func StartFederation(t testing.TB, o FederationOptions) *Federation {
	t.Helper()
	Alone(t, ReasonOwn)
	f := &Federation{t: t, Network: Network{Links: o.Links, Master: o.Master}}
	if o.MetaAt == "" {
		o.MetaAt = freeAddress(t)
	}
	f.Meta = &Meta{t: t, Addr: o.MetaAt, File: filepath.Join(t.TempDir(), "network.yaml"), data: filepath.Join(t.TempDir(), "meta")}
	for i := range o.Domains {
		text := "domain: " + domainName(i) + "\n"
		from := "http://" + f.Meta.Addr
		if o.Meta != nil && o.Meta(i) != "" {
			from = o.Meta(i)
		}
		text += "meta: " + from + "\n"
		if o.More != nil {
			text += o.More(i)
		}
		s := &Server{
			t: t, path: Binary(t), Addr: freeAddress(t), Admin: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"),
			Args: []string{"--config", Settings(t, text)},
		}
		f.Domains = append(f.Domains, s)
		f.Network.URLs = append(f.Network.URLs, []string{"ws://" + s.Addr})
		f.Network.Starts = append(f.Network.Starts, 1000*i)
		if o.Links == nil && i > 0 {
			f.Network.Links = append(f.Network.Links, fmt.Sprintf("%d-%d", i, i+1))
		}
	}
	f.Describe(func(*Network) {})
	f.Meta.Start()
	t.Cleanup(f.Meta.Kill)
	for i, s := range f.Domains {
		if !slices.Contains(o.Later, i) {
			s.Start()
		}
		t.Cleanup(func() {
			if s.cmd != nil {
				s.Kill()
			}
		})
	}
	return f
}

func domainName(i int) string { return fmt.Sprintf("domain-%02d", i+1) }

// Describe has the meta server serve another description.
func (f *Federation) Describe(change func(*Network)) {
	f.t.Helper()
	change(&f.Network)
	next := f.Meta.File + ".new"
	if err := os.WriteFile(next, []byte(f.Network.text()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.Meta.File); err != nil {
		f.t.Fatal(err)
	}
}

// Relocate has the meta server say that domain i is dialled at another address, and
// waits until it does: a domain that starts then knows no other.
func (f *Federation) Relocate(i int, addr string) {
	f.t.Helper()
	f.Describe(func(n *Network) { n.URLs[i] = []string{"ws://" + addr} })
	Eventually(f.t, "the meta server says where "+domainName(i)+" is", func() bool {
		_, body := get(f.t, "http://"+f.Meta.Addr+"/domains")
		return strings.Contains(body, addr)
	})
}

// text is the description as YAML.
func (n *Network) text() string {
	var b strings.Builder
	b.WriteString("domains:\n")
	for i, urls := range n.URLs {
		fmt.Fprintf(&b, "  - {name: %s, urls: [%s]}\n", domainName(i), quoted(urls))
	}
	b.WriteString("domainLinks:\n")
	for _, l := range n.Links {
		var n1, n2, cost int
		if c, _ := fmt.Sscanf(l, "%d-%d cost %d", &n1, &n2, &cost); c < 3 {
			cost = 1
		}
		fmt.Fprintf(&b, "  - {n1: %s, n2: %s, cost: %d}\n", domainName(n1-1), domainName(n2-1), cost)
	}
	b.WriteString("clientApps:\n  - appName: ANZ\n    appId: app-id-343\n    authEnabled: false\n")
	if n.Master != "" {
		fmt.Fprintf(&b, "    masterUserId: %s\n", n.Master)
	}
	b.WriteString("    userDistributions:\n")
	for i, start := range n.Starts {
		to := ""
		if i+1 < len(n.Starts) {
			to = fmt.Sprintf(", to: %d", n.Starts[i+1]-1)
		}
		fmt.Fprintf(&b, "      - {domainName: %s, from: %d%s}\n", domainName(i), start, to)
	}
	b.WriteString(n.Apps)
	return b.String()
}

// Settled waits until all domains that run have the description that was served last.
func (f *Federation) Settled(before int64) {
	f.t.Helper()
	Eventually(f.t, "all domains have the new description", func() bool {
		for i, s := range f.Domains {
			if s.running() && f.Look(i).Version <= before {
				return false
			}
		}
		return true
	})
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
	if s.done == nil {
		return false
	}
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
	Links []struct {
		N1, N2 string
		Cost   int
	}
}

// Look asks domain i for its view of the network.
func (f *Federation) Look(i int) (v DomainView) {
	f.t.Helper()
	f.Domains[i].Ask("/v1/domains", &v)
	return v
}

// Waiting returns the number of messages that wait in domain i for another one.
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
	words := append([]string{"meta", "--listen", m.Addr, "--data", m.data}, m.args...)
	if m.File != "" {
		words = append(words, "--config", m.File, "--every", "100ms")
	}
	m.cmd = exec.Command(Binary(m.t), words...)
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
