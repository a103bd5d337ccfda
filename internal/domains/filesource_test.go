package domains_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

func TestADescriptionFromAFileChangesWhenItIsReloaded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "network.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("spring: {}\n" + two)
	r := newRig(t, options(t, file))
	var told []string
	r.s.Watch(func(n *domains.Network) { told = append(told, n.Hash()) })
	r.run()
	if n := r.s.Current(); n == nil || n.Version != 0 || len(n.Domains) != 2 {
		t.Fatalf("it describes %+v", n)
	}
	if r.log.count("means nothing", "line 1: spring: passed over") != 1 {
		t.Errorf("what is passed over is not said:\n%s", r.log)
	}
	if err := r.s.Reload(); err != nil || len(told) != 1 {
		t.Errorf("nothing has changed, and it was told %d times, %v", len(told), err)
	}
	write(strings.Replace(two, "n2: b", "n2: c", 1))
	err := r.s.Reload()
	if err == nil || !strings.Contains(err.Error(), file+": line 5: domainLinks[0].n2") || len(told) != 1 || r.s.State().Kind != "content" {
		t.Errorf("%v, told %d times, state %+v", err, len(told), r.s.State())
	}
	if strings.Contains(r.log.String(), "line 5") {
		t.Errorf("logged, though it was returned:\n%s", r.log)
	}
	write(strings.Replace(two, "n2: b", "n2: b, cost: 3", 1))
	if err := r.s.Reload(); err != nil || len(told) != 2 || r.s.Current().Links[0].Cost != 3 || r.s.State().Trouble != "" {
		t.Errorf("%v, told %d times, state %+v", err, len(told), r.s.State())
	}
}

func TestAStartWithABadFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "network.yaml")
	o := options(t, file)
	if _, err := domains.NewSource(o); err == nil || !strings.Contains(err.Error(), "read the network: open "+file) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(file, []byte("domains: []"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := domains.NewSource(o); err == nil || !strings.Contains(err.Error(), "must name at least one domain") {
		t.Errorf("with a bad file: %v", err)
	}
	if err := os.WriteFile(file, []byte(two), 0o600); err != nil {
		t.Fatal(err)
	}
	newRig(t, o)
	if err := os.WriteFile(file, []byte("domains: []"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, o) // now there is a copy
	if r.s.Current() == nil || !r.s.State().Stored || r.log.count("kind=content") != 1 {
		t.Errorf("the state is %+v\n%s", r.s.State(), r.log)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(o *domains.SourceOptions){
		"no source":        func(o *domains.SourceOptions) { o.URL = "" },
		"no copy":          func(o *domains.SourceOptions) { o.File = "" },
		"no name":          func(o *domains.SourceOptions) { o.Self = "" },
		"a bad name":       func(o *domains.SourceOptions) { o.Self = "a b" },
		"another scheme":   func(o *domains.SourceOptions) { o.URL = "ftp://meta" },
		"a file as URL":    func(o *domains.SourceOptions) { o.URL = "file:///network.yaml" },
		"a password":       func(o *domains.SourceOptions) { o.URL = "http://me:sesame@meta" },
		"a query":          func(o *domains.SourceOptions) { o.URL = "http://meta?a=b" },
		"no host":          func(o *domains.SourceOptions) { o.URL = "http://" },
		"a negative pause": func(o *domains.SourceOptions) { o.Retry = -1 },
		"pauses reversed":  func(o *domains.SourceOptions) { o.Retry, o.RetryMax = 2, 1 },
	} {
		o := options(t, "http://127.0.0.1:1")
		change(&o)
		s, err := domains.NewSource(o)
		if err == nil || s != nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
