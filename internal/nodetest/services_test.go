package nodetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// instancesOf returns the names of a service's instances, as a node lists them.
func instancesOf(s *Server, service string) string {
	s.t.Helper()
	a := s.CallControl("GET", "/v1/services", "")
	var all struct {
		Services []struct {
			Name      string
			Instances []struct{ Instance string }
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &all); err != nil || a.Status != 200 {
		s.t.Fatalf("services: %d %s", a.Status, a.Body)
	}
	var names []string
	for _, one := range all.Services {
		for _, i := range one.Instances {
			if one.Name == service {
				names = append(names, i.Instance)
			}
		}
	}
	return strings.Join(names, " ")
}

// awaitInstances waits until nodes list these instances of a service.
func awaitInstances(t *testing.T, service, want string, nodes ...*Server) {
	t.Helper()
	for i, n := range nodes {
		Eventually(t, fmt.Sprintf("node %d lists %q of %s", i+1, want, service), func() bool { return instancesOf(n, service) == want })
	}
}

// watchServices follows the stream of a node, and returns what says what was told last of a
// service: the names of its instances. It ends with the test.
func watchServices(t *testing.T, s *Server, key string) (told func(service string) string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/v1/services/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	var mu sync.Mutex
	known := map[string]string{}
	type service struct {
		Name      string
		Instances []struct{ Instance string }
	}
	note := func(one service) {
		var names []string
		for _, i := range one.Instances {
			names = append(names, i.Instance)
		}
		mu.Lock()
		defer mu.Unlock()
		known[one.Name] = strings.Join(names, " ")
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for in := NewEventReader(res.Body); ; {
			e, err := in.Next()
			if err != nil {
				return
			}
			var one service
			if e.Event == "service" && json.Unmarshal([]byte(e.Data), &one) == nil {
				note(one)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = res.Body.Close()
		reading.Wait()
	})
	return func(service string) string {
		mu.Lock()
		defer mu.Unlock()
		return known[service]
	}
}

// registering is a running `switchboard register`.
type registering struct {
	*exec.Cmd
	said   func() string
	stdin  func() // ends the standard input of its command
	reaped sync.Once
}

// registers starts `switchboard register` with a command, and ends both with the test.
func registers(t *testing.T, args ...string) *registering {
	t.Helper()
	r := &registering{Cmd: exec.Command(Binary(t), append([]string{"register"}, args...)...)}
	r.Env = environment()
	in, err := r.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "said")) // a pipe would be open as long as the command is
	if err != nil {
		t.Fatal(err)
	}
	r.Stdout, r.Stderr = out, out
	r.said = func() string {
		text, _ := os.ReadFile(out.Name())
		return string(text)
	}
	r.stdin = func() { _ = in.Close() }
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Process.Kill()
		r.stdin()
		r.reaped.Do(func() { _ = r.Wait() })
		_ = out.Close()
	})
	return r
}

// ends waits for its end, and returns the exit code.
func (r *registering) ends(t *testing.T) int {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.reaped.Do(func() { _ = r.Wait() })
	}()
	select {
	case <-done:
	case <-time.After(Patience):
		_ = r.Process.Kill()
		<-done
		t.Fatalf("register did not end\n%s", r.said())
	}
	return r.ProcessState.ExitCode()
}

// open listens at an address until the test ends.
func open(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
	})
}

func TestEveryNodeKnowsTheServicesAndForgetsWhatIsNotRenewed(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	c := StartCluster(t, 3, func(_ int, s *NodeSettings) {
		s.More += "\ngateway: {routes: [{path: /work/, service: work, auth: none}]}\n"
	})
	_, key := c.Nodes[0].NewKey(`{"app":"ANZ","scopes":["services:read","services:write:orders","services:write:work","services:write:bills"]}`)
	for _, n := range c.Nodes[1:] {
		Eventually(t, "every node knows the key", func() bool { return n.Call("GET", "/v1/services", key, "").Status == 200 })
	}
	var told []func(string) string
	for _, n := range c.Nodes {
		told = append(told, watchServices(t, n, key))
	}
	everybody := func(service, want string, nodes ...int) {
		t.Helper()
		for _, i := range nodes {
			awaitInstances(t, service, want, c.Nodes[i])
			Eventually(t, fmt.Sprintf("the stream of node %d says %q of %s", i+1, want, service), func() bool { return told[i](service) == want })
		}
	}
	everybody("switchboard", "n1 n2 n3", 0, 1, 2)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(node int, name, url string, ttl int) {
		t.Helper()
		if a := c.Nodes[node].Call("PUT", "/v1/services/"+name, key, fmt.Sprintf(`{"url":%q,"ttl":%d}`, url, ttl)); a.Status > 201 {
			t.Fatal(a.Status, a.Body)
		}
	}
	if a := c.Nodes[1].Call("PUT", "/v1/services/payments/evil", key, `{"url":"http://10.0.0.7:8080"}`); a.Code() != "SCOPE_MISSING" {
		t.Error("a key for two services registers a third:", a.Status, a.Body)
	}
	put(0, "orders/a", "http://10.0.0.7:8080", 3600)
	put(1, "orders/b", "http://10.0.0.7:8080", 2) // never renewed
	first, process := startInstance(t, "work", "w1")
	second, _ := startInstance(t, "work", "w2")
	put(0, "work/w1", first.url, 3600)
	put(0, "work/w2", second.url, 3600)
	everybody("work", "w1 w2", 0, 1, 2)
	asked := askAlong(t, c.Nodes[1:])
	everybody("orders", "a", 0, 1, 2)
	addr := freeAddress(t)
	open(t, addr)
	r := registers(t, "--name", "bills", "--url", "http://"+addr, "--instance", "b1", "--ttl", "2s", "--server", "http://"+c.Nodes[2].Addr, "--key-file", keyFile, "--", "cat")
	everybody("bills", "b1", 0, 1, 2)
	both := freeAddress(t)
	open(t, both)
	stays := registers(t, "--name", "bills", "--url", "http://"+both, "--instance", "b2", "--ttl", "3s",
		"--server", "http://"+c.Nodes[0].Addr, "--server", "http://"+c.Nodes[1].Addr, "--key-file", keyFile, "--", "cat")
	everybody("bills", "b1 b2", 0, 1, 2)
	if err := r.Process.Kill(); err != nil { // its command goes on, of which nobody knows
		t.Fatal(err)
	}
	everybody("bills", "b2", 0, 1, 2)
	signal(t, syscall.SIGKILL, []*os.Process{process})
	c.Nodes[0].Kill() // which it was registered at
	everybody("switchboard", "n2 n3", 1, 2)
	seen := asked()
	t.Log("with an instance and a node killed: ", seen)
	for method, n := range seen { // whoever of the two is gone
		if !strings.HasSuffix(method, " 200") {
			t.Errorf("%d clients got %s", n, method)
		}
	}
	everybody("orders", "a", 1, 2)
	Eventually(t, "another node is told when one is away", func() bool { return strings.Contains(stays.said(), "is registered again") })
	everybody("bills", "b2", 1, 2)
	stays.stdin()
	if code := stays.ends(t); code != 0 {
		t.Error(code, stays.said())
	}
	everybody("bills", "", 1, 2)
	if a := c.Nodes[1].Call("DELETE", "/v1/services/orders/a", key, ""); a.Status != 200 {
		t.Error(a.Status, a.Body)
	}
	everybody("orders", "", 1, 2)
}

// askAlong has clients ask the gateways of nodes, now and then, for what may be repeated.
// What it returns ends that, and says what they got.
func askAlong(t *testing.T, nodes []*Server) func() map[string]int {
	t.Helper()
	l := &loadOf{seen: map[string]int{}}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { stop(); all.Wait() })
	for i, n := range []*Server{nodes[0], nodes[1], nodes[0], nodes[1]} {
		method, body := []string{"GET", "PUT"}[i/2], []string{"", "small"}[i/2]
		all.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				if a := n.Call(method, "/work/1", "", body); a.Status != 200 || a.Body != "ok w" {
					l.note(method, fmt.Sprint(a.Status, " ", a.Body))
				} else {
					l.note(method, a.Status)
				}
				<-pace.C
			}
		})
	}
	return func() map[string]int {
		until := l.total() + 40
		Eventually(t, "requests go on", func() bool { return l.total() >= until })
		stop()
		all.Wait()
		return l.take()
	}
}

func TestAnInstanceIsRegisteredForAsLongAsItsCommandRuns(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	s := StartIn(t, filepath.Join(t.TempDir(), "d"))
	addr := freeAddress(t)
	r := registers(t, "--name", "orders", "--url", "http://"+addr+"/base", "--instance", "o1", "--weight", "3", "--meta", "health=/up", "--meta", "zone=a=b", "--ttl", "3s",
		"--data", s.Data, "--", "sh", "-c", `trap 'echo asked; exit 7' TERM; echo begun; while :; do sleep 0.02; done`)
	Eventually(t, "the command runs", func() bool { return strings.Contains(r.said(), "begun") })
	if got := instancesOf(s, "orders"); got != "" {
		t.Errorf("%q is registered, and takes no connections", got)
	}
	open(t, addr)
	awaitInstances(t, "orders", "o1", s)
	const want = `"url":"http://%s/base","weight":3,"meta":{"health":"/up","zone":"a=b"},"ttl":3,`
	if a := s.CallControl("GET", "/v1/services/orders", ""); !strings.Contains(a.Body, fmt.Sprintf(want, addr)) {
		t.Error(a.Body)
	}
	s.Kill()
	Eventually(t, "it says that the node is away", func() bool {
		return strings.Contains(r.said(), "o1 of orders is not registered, and will be tried again: no node runs")
	})
	s.Start()
	Eventually(t, "it says that all is well again", func() bool { return strings.Contains(r.said(), "is registered again") })
	awaitInstances(t, "orders", "o1", s)
	if n := strings.Count(r.said(), "no node runs"); n != 1 {
		t.Errorf("it says %d times that the node is away:\n%s", n, r.said())
	}
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := r.ends(t); code != 7 || !strings.HasSuffix(r.said(), "asked\n") {
		t.Errorf("exit code %d\n%s", code, r.said())
	}
	if got := instancesOf(s, "orders"); got != "" {
		t.Errorf("%q is still registered", got)
	}

	// A command that ends by itself, or by a signal.
	for code, command := range map[int][]string{0: {"true"}, 3: {"sh", "-c", "exit 3"}, 128 + 9: {"sh", "-c", "kill -9 $$"}} {
		r := registers(t, slices.Concat([]string{"--name", "orders", "--url", "http://" + addr, "--data", s.Data, "--"}, command)...)
		if got := r.ends(t); got != code {
			t.Errorf("%v: exit code %d\n%s", command, got, r.said())
		}
	}
	// One that was never registered takes no leave.
	never := registers(t, "--name", "orders", "--url", "http://"+addr, "--data", filepath.Join(s.Data, "none"), "--", "cat")
	Eventually(t, "it says that there is no node", func() bool {
		return strings.Contains(never.said(), "is not registered, and will be tried again: no node runs")
	})
	never.stdin()
	if code := never.ends(t); code != 0 || strings.Contains(never.said(), "leave") {
		t.Errorf("exit code %d\n%s", code, never.said())
	}
	if got := instancesOf(s, "orders"); got != "" {
		t.Errorf("%q is still registered", got)
	}
}

func TestStaticInstancesFollowTheirFileAndNobodyRegistersNonsense(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	file := filepath.Join(t.TempDir(), "services.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("services: {orders: [{instance: one, url: 'http://h:1'}]}")
	settings := Settings(t, demoApps+"registry: {file: "+file+", instances: 3}\n")
	s := StartIn(t, filepath.Join(t.TempDir(), "d"), "--config", settings)
	awaitInstances(t, "orders", "one", s)
	write("services:\n  orders:\n    - {instance: one, url: 'ftp://h'}\n    - {instance: two, weight: 1000, url: 'http://h'}\n")
	s.Signal(syscall.SIGHUP)
	for _, line := range []string{file + ":3: services.orders[0].url: must be an address", file + ":4: services.orders[1].weight: must be a whole number"} {
		Eventually(t, "it says "+line, func() bool { return strings.Contains(s.Output(), line) })
	}
	if got := instancesOf(s, "orders"); got != "one" {
		t.Errorf("a bad file changes the list: %q", got)
	}
	write("services: {orders: [{instance: one, url: 'http://h:1'}, {instance: two, url: 'http://h:2'}]}")
	s.Signal(syscall.SIGHUP)
	awaitInstances(t, "orders", "one two", s)
	Eventually(t, "it says what has changed", func() bool {
		return strings.Contains(s.Output(), `"the static instances of services have changed" services=[orders]`)
	})

	_, key := s.NewKey(`{"app":"ANZ","scopes":["services:read","services:write"]}`)
	for _, bad := range []struct {
		path, body string
		status     int
	}{
		{"orders/one", `{"url":"http://h:1"}`, 409}, {"switchboard/x", `{"url":"http://h:1"}`, 400}, {"stream/x", `{"url":"http://h:1"}`, 400},
		{"a/%3Cscript%3E", `{"url":"http://h:1"}`, 400}, {"a/..%2fb", `{"url":"http://h:1"}`, 400}, {strings.Repeat("a", 5000) + "/b", `{"url":"http://h:1"}`, 400},
		{"a/b", `{"url":"http://root:hunter2@h:1"}`, 400}, {"a/b", `{"url":"javascript:alert(1)"}`, 400}, {"a/b", `{"url":"http://h:99999"}`, 400}, {"a/b", `{"url":"file:///etc/passwd"}`, 400},
		{"a/b", `{"url":"http://h:1","ttl":0}`, 400}, {"a/b", `{"url":"http://h:1","ttl":31536000}`, 400}, {"a/b", `{"url":"http://h:1","meta":{"k":"` + strings.Repeat("v", 5000) + `"}}`, 400},
		{"a/b", strings.Repeat("[", 10_000), 400}, {"a/b", `{"url":"` + strings.Repeat("h", 2<<20) + `"}`, 413},
	} {
		if a := s.Call("PUT", "/v1/services/"+bad.path, key, bad.body); a.Status != bad.status || strings.Contains(a.Body, "hunter2") {
			t.Errorf("%.60s %.60s: %d %.300s", bad.path, bad.body, a.Status, a.Body)
		}
	}
	for n, want := range []int{201, 201, 201, 409} {
		if a := s.Call("PUT", fmt.Sprintf("/v1/services/many/i%d", n), key, `{"url":"http://h:1"}`); a.Status != want {
			t.Errorf("%d: %d %s", n, a.Status, a.Body)
		}
	}
	if out := s.Output(); strings.Contains(out, "hunter2") || strings.Contains(out, "panic") {
		t.Error(out)
	}
	write("services: [")
	s.Stop()
	if s.Starts() {
		t.Error("it starts with a file that is not good")
	}
	if out := s.Output(); !strings.Contains(out, file+":1: not YAML") {
		t.Error(out)
	}
}
