package check

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// ours is how compose files name the image.
const ours = "registry.example/switchboard:"

// project reads a compose file as docker compose does, with these variables.
func project(t *testing.T, folder string, variables types.Mapping) (*types.Project, error) {
	t.Helper()
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir: folder, Environment: variables,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(folder, "compose.yaml")}},
	})
}

func TestComposeProjectsWantTheirSecrets(t *testing.T) {
	for folder, variable := range map[string]string{"three": "CLUSTER_SECRET", "domains": "LINKS_SECRET"} {
		if _, err := project(t, "../compose/"+folder, nil); err == nil || !strings.Contains(err.Error(), variable) && !strings.Contains(err.Error(), "DB_PASSWORD") {
			t.Errorf("%s without secrets: %v", folder, err)
		}
		example, err := os.ReadFile("../compose/" + folder + "/env.example")
		if err != nil || !strings.Contains(string(example), variable+"=\n") {
			t.Errorf("%s: env.example does not have %s (%v)", folder, variable, err)
		}
	}
}

func TestComposeProjectsRun(t *testing.T) {
	secret := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		folder string
		nodes  int
		ask    []string // in the first node
		want   []string // in the answer
	}{
		{"one", 1, []string{"keys", "create", "--admin"}, []string{"sb_"}},
		{"three", 3, []string{"cluster", "status"}, []string{"node1 (this)", "node2 ", "node3 "}},
		{"domains", 5, []string{"trace", "ANZ-2000"}, []string{"ANZ-2000 lives in domain-03", "up since"}},
	} {
		t.Run(c.folder, func(t *testing.T) {
			t.Parallel()
			p, err := project(t, "../compose/"+c.folder, types.Mapping{"CLUSTER_SECRET": secret, "DB_PASSWORD": secret[:32], "LINKS_SECRET": secret})
			if err != nil {
				t.Fatal(err)
			}
			running := up(t, p)
			if len(running) != c.nodes {
				t.Fatalf("%d run, not %d", len(running), c.nodes)
			}
			first := running[0]
			first.answers(append([]string{"/bin/switchboard"}, c.ask...), c.want)
			stop(t, running...)
		})
	}
}

// answers waits until a command in the box succeeds and says all of want: links come up in their own time.
func (p *process) answers(args, want []string) {
	p.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		out, err := p.exec(p.t, args...)
		missing := slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(out, w) })
		if err == nil && !missing {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%q says, instead of %q: %v\n%s", args, want, err, out)
		}
	}
}

// up starts a project's services, and waits until each is healthy by its own health check. It
// returns those of the image, a meta server last.
func up(t *testing.T, p *types.Project) []*process {
	t.Helper()
	e := newEngine(t)
	networks := map[string]string{}
	for _, name := range p.ServiceNames() {
		networks[name] = e.host(name)
	}
	hosts := e.hosts()
	var running []*process
	var checks [][]string
	for _, name := range p.ServiceNames() {
		s := p.Services[name]
		if !strings.HasPrefix(s.Image, ours) {
			database(t, networks[name], s)
			continue
		}
		b := boxOfService(t, networks[name], s)
		b.Hosts = hosts
		if b.Args[1] == "serve" {
			b.wantSettings(t)
		}
		running = append(running, b.start(t))
		checks = append(checks, s.HealthCheck.Test[1:])
	}
	for i, r := range running {
		r.healthy(checks[i]...)
	}
	return running
}

// boxOfService is the box that a service describes, which has to be one without rights.
func boxOfService(t *testing.T, network string, s types.ServiceConfig) box {
	t.Helper()
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged || s.User != "" {
		t.Errorf("%s has more rights than it needs", s.Name)
	}
	if s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Test[0] != "CMD" {
		t.Fatalf("%s has no health check that needs no shell", s.Name)
	}
	wantServed(t, s)
	var env []string
	for name, value := range s.Environment {
		env = append(env, name+"="+*value)
	}
	slices.Sort(env)
	host := s.Hostname
	if host == "" {
		host = "0123456789ab" // engines take the container's ID
	}
	var mounts []mount
	volumes := 0
	for _, v := range s.Volumes {
		switch {
		case v.Type == types.VolumeTypeBind:
			mounts = append(mounts, mount{v.Source, v.Target, v.ReadOnly})
		case v.Target == "/data":
			volumes++
		}
	}
	if volumes != 1 || len(mounts)+volumes != len(s.Volumes) {
		t.Errorf("%s has volumes %v", s.Name, s.Volumes)
	}
	return boxOf(t, network, host, s.Command, env, mounts...)
}

// wantServed wants of a service that it comes back, gets the time to end that docs/deploy.md names, and is reached
// by nobody but this machine unless one says so.
func wantServed(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if s.Restart != types.RestartPolicyUnlessStopped || s.HealthCheck.StartInterval == nil || s.HealthCheck.StartPeriod == nil {
		t.Errorf("%s does not come back (%s), or is healthy late", s.Name, s.Restart)
	}
	if s.Command == nil && (s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < 45*time.Second) {
		t.Errorf("%s gets %v to end", s.Name, s.StopGracePeriod)
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" || port.Target != 8088 && port.Target != 9088 {
			t.Errorf("%s is reached at %+v", s.Name, port)
		}
	}
	if s.Command == nil && len(s.Ports) != 2 {
		t.Errorf("%s is reached at %+v", s.Name, s.Ports)
	}
	if at, ok := s.Environment["SWITCHBOARD_DB_URL"]; ok && (at == nil || s.DependsOn["db"].Condition != types.ServiceConditionHealthy) {
		t.Errorf("%s does not wait for its database", s.Name)
	}
}

// database starts the PostgreSQL that a service describes, from this machine's own.
func database(t *testing.T, network string, s types.ServiceConfig) {
	t.Helper()
	if !strings.HasPrefix(s.Image, "postgres:") {
		t.Fatalf("%s is of %s, which is not known here", s.Name, s.Image)
	}
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(programs) == 0 {
		t.Fatal("there is no PostgreSQL: install Debian's package postgresql")
	}
	folder := t.TempDir()
	if err := open(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	password := write(t, filepath.Join(folder, "password"), *s.Environment["POSTGRES_PASSWORD"])
	user := *s.Environment["POSTGRES_USER"]
	data := filepath.Join(folder, "data")
	run := func(name string, args ...string) *exec.Cmd {
		all := append([]string{"--net=/run/netns/" + network, "--", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", filepath.Join(programs[len(programs)-1], name)}, args...)
		cmd := exec.Command("nsenter", all...)
		cmd.Dir = folder
		return cmd
	}
	if out, err := run("initdb", "-D", data, "-U", user, "--pwfile="+password, "-A", "scram-sha-256", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C.UTF-8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	access := filepath.Join(data, "pg_hba.conf")
	write(t, access, "host all all 10.88.0.0/24 scram-sha-256\n")
	single := run("postgres", "--single", "-D", data, "postgres")
	single.Stdin = strings.NewReader("CREATE DATABASE " + *s.Environment["POSTGRES_DB"] + "\n")
	if out, err := single.CombinedOutput(); err != nil {
		t.Fatalf("create the database: %v\n%s", err, out)
	}
	if s.Restart != types.RestartPolicyUnlessStopped || s.StopGracePeriod == nil {
		t.Errorf("%s does not come back, or gets no time to end", s.Name)
	}
	server := run("postgres", "-D", data, "-h", "0.0.0.0", "-k", folder, "-c", "fsync=off")
	server.SysProcAttr = endsWithUs()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt) // setpriv and nsenter became the server
		_ = server.Wait()
	})
	ready := time.Now().Add(patience)
	for tick := time.Tick(50 * time.Millisecond); run(s.HealthCheck.Test[1], s.HealthCheck.Test[2:]...).Run() != nil; <-tick {
		if time.Now().After(ready) {
			t.Fatal("PostgreSQL does not answer")
		}
	}
}
