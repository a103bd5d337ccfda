package relay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

func fileWith(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// programs are the settings of each program: its table, what it needs, and its reader.
func programs() map[string]struct {
	keys   []setting
	least  string
	reader func(file string) (any, error)
} {
	type row = struct {
		keys   []setting
		least  string
		reader func(file string) (any, error)
	}
	return map[string]row{
		"uploader":  {uploaderKeys(&UploaderSettings{}), "spool: s\nnexthop: {\"*\": c}\nclusters: {c: [{address: h, port: 1}]}\n", func(f string) (any, error) { return ReadUploader(f, "") }},
		"collector": {collectorKeys(&CollectorSettings{}), "spool: s\naddress: h\nnetwork.server: h\nnetwork.cluster: c\n", func(f string) (any, error) { return ReadCollector(f) }},
		"network":   {networkKeys(&NetworkSettings{}), "", func(f string) (any, error) { return ReadNetwork(f) }},
		"maker":     {makerKeys(&MakerSettings{}), "spool: s\n", func(f string) (any, error) { return ReadMaker(f) }},
	}
}

func TestTheDefaultsOfTheTablesAreThoseThatHold(t *testing.T) {
	for name, p := range programs() {
		least := strings.Replace(p.least, "network.server: h\nnetwork.cluster: c\n", "network: {server: h, cluster: c}\n", 1)
		want, err := p.reader(fileWith(t, least))
		if err != nil {
			t.Fatal(name, err)
		}
		for _, k := range p.keys {
			if k.standard == "" {
				continue
			}
			line, group := k.key+": "+k.standard+"\n", ""
			parts := strings.Split(k.key, ".")
			if len(parts) > 1 {
				group = parts[0] + ": {"
				line = strings.Join(parts, ": {") + ": " + k.standard + strings.Repeat("}", len(parts)-1) + "\n"
			}
			text := least + line
			if group != "" && strings.Contains(least, group) { // that is there already
				text = strings.Replace(least, group, group+parts[1]+": "+k.standard+", ", 1)
			}
			got, err := p.reader(fileWith(t, text))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: with its default written, %s: %s changes something: %+v %v", name, k.key, k.standard, got, err)
			}
		}
	}
}

func TestWhatIsWrittenIsWhatIsRead(t *testing.T) {
	u, err := ReadUploader(fileWith(t, `
spool: out
maxConn: 7
every: 1m
quiet: 2s
keepFor: 48h
filter: "/csv$/"
nexthop: {"*.csv": a, "*": b}
network: {server: "https://n:1", heartbeat: 3s}
secretFile: s
tls: {cert: c, key: k, ca: a}
admin: ":1"
log: {level: debug, format: json}
`), "")
	want := UploaderSettings{
		Spool: "out", MaxConn: 7, Every: "1m", Quiet: 2e9, KeepFor: 48 * 3600e9, Filter: []string{"/csv$/"}, NextHop: []Rule{{"*.csv", "a"}, {"*", "b"}},
		Network: AtNetwork{Server: "https://n:1", Heartbeat: 3e9}, Access: Access{SecretFile: "s", TLS: config.TLS{Cert: "c", Key: "k", CA: "a"}}, Admin: ":1",
		Log: config.Log{Level: "debug", Format: "json"},
	}
	if err != nil || !reflect.DeepEqual(u, want) {
		t.Errorf("%+v %v", u, err)
	}
	static := fileWith(t, "clusters: {a: [{id: x, address: h, port: 1}], b: [{address: '[::1]', port: 2}]}")
	u, err = ReadUploader(fileWith(t, "{\"spool\": \"out\",\n\t\"nexthop\": [{\"pattern\": \"*\", \"cluster\": \"a\"}], \"network\": {\"server\": \"n\"}}"), static)
	if err != nil || u.Network.Server != "" || !reflect.DeepEqual(u.Static, Clusters{"a": {"x": {Address: "h", Port: 1}}, "b": {"[::1]:2": {Address: "::1", Port: 2}}}) {
		t.Errorf("%+v %v", u, err)
	}
	c, err := ReadCollector(fileWith(t, `{id: i, address: a, listen: 0.0.0.0, port: 3, spool: s, network: {server: n, cluster: c}, limits: {file: 1MiB, spool: 1GiB, files: 4, free: 0, connections: 5, idle: 1s, partAge: 2h}}`))
	if err != nil || c.ID != "i" || c.Listen != "0.0.0.0" || c.Port != 3 || c.Network.Cluster != "c" || c.Limits != (CollectorLimits{1 << 20, 1 << 30, 4, 0, 5, 1e9, 7200e9}) {
		t.Errorf("%+v %v", c, err)
	}
	n, err := ReadNetwork(fileWith(t, `{server: {address: "::1", port: 1}, clusters: {port: {start: 2}}, expireAfter: 1m, data: d}`))
	if err != nil || n.Address != "::1" || n.Port != 1 || n.FirstPort != 2 || n.ExpireAfter != 60e9 || n.Data != "d" {
		t.Errorf("%+v %v", n, err)
	}
	m, err := ReadMaker(fileWith(t, `{spool: s, prefix: p, suffix: .x, unit: 1m, listen: ":1", record: 1KiB}`))
	if err != nil || m.Prefix != "p" || m.Suffix != ".x" || m.Unit != 60e9 || m.Listen != ":1" || m.Record != 1024 {
		t.Errorf("%+v %v", m, err)
	}
}

func TestEveryProblemIsToldWithItsPlace(t *testing.T) {
	for _, c := range []struct{ program, text, want string }{
		{"network", "- a", ":1: must be keys with values (a mapping), not a list"},
		{"network", "a: [", ":1: not YAML"},
		{"network", "serverr: {port: 1}", ":1: serverr: unknown key: did you mean server?"},
		{"network", "\nserver: {prt: 1}", ":2: server.prt: unknown key: did you mean port?"},
		{"network", "start: 7", ":1: start: unknown key: did you mean clusters.port.start?"},
		{"network", "server: {port: 1, port: 2}", ":1: server.port: is set twice"},
		{"network", "server: {port: 65536}", ":1: server.port: 65536 is too much: the most is 65535"},
		{"network", "expireAfter: 10", `:1: expireAfter: "10" is not a duration`},
		{"network", "server: {address: 'a:1'}", "must have no port"},
		{"maker", "{spool: s, unit: 25h}", ":1: unit: 25h is too much: the most is 24h"},
		{"maker", "{spool: s, unit: 1500us}", ":1: unit: 1.5ms is no whole number of milliseconds"},
		{"maker", "{spool: s, prefix: a/}", ":1: prefix: prefix and suffix make no name"},
		{"maker", "{spool: s, suffix: .tmp}", ":1: suffix: prefix and suffix make no name"},
		{"maker", "{spool: s, listen: nowhere}", "is not host:port"},
		{"collector", "{spool: s, address: h}", ": port: is required without a network server"},
		{"collector", "{spool: s, address: h, network: {server: n}}", ":1: network.cluster: is required"},
		{"collector", "{spool: s, address: h, port: 1, network: {cluster: n}}", ":1: network.server: is required to join"},
		{"uploader", "{spool: s, nexthop: [{pattern: '*', cluster: c}]}", ": network.server: is required: or give clusters"},
		{"uploader", "{spool: s, nexthop: {'*': d}, clusters: {c: [{address: h, port: 1}]}}", "there is no cluster d among clusters"},
		{"uploader", "{spool: s, nexthop: {'*': c}, clusters: {c: [{address: h, port: 1},\n{address: h, port: 1}]}}", ":2: clusters.c[1]: id h:1, or its address and port, is in this cluster already"},
		{"uploader", "{spool: s, nexthop: {'*': c}, clusters: {c: []}, network: {server: n}}", "give either of them"},
		{"uploader", "{spool: s, nexthop: '*', network: {server: 'a b'}}", "nexthop: must be a list of patterns"},
		{"uploader", "{spool: s, nexthop: {'*': ''}, network: {server: 'http://u:p@h'}}", "is no address of a server"},
	} {
		_, err := programs()[c.program].reader(fileWith(t, c.text))
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "settings.yaml") {
			t.Errorf("%s: %s\nsays %v\nnot  …%s", c.program, c.text, err, c.want)
		}
	}
}

// page returns docs/relay.md.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/relay.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheTablesOfThePageAreThoseOfTheSettings(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\| (?:`([^`]*)`)? ?\\|")
	for name, p := range programs() {
		_, after, ok := strings.Cut(page(t), "### Settings of the "+strings.Replace(name, "network", "network server", 1)+"\n")
		if !ok {
			t.Errorf("docs/relay.md has no settings of the %s", name)
			continue
		}
		table, _, _ := strings.Cut(after, "\n#")
		var want, got []string
		for _, k := range p.keys {
			if k.key != "secretFile" && !strings.HasPrefix(k.key, "tls.") && !strings.HasPrefix(k.key, "log.") && k.key != "admin" {
				want = append(want, fmt.Sprintf("%s %s", k.key, k.standard))
			}
		}
		for _, m := range row.FindAllStringSubmatch(table, -1) {
			got = append(got, m[1]+" "+m[2])
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s: the page has\n%q, not\n%q", name, got, want)
		}
	}
	_, after, _ := strings.Cut(page(t), "### Settings of all\n")
	table, _, _ := strings.Cut(after, "\n#")
	for _, k := range shared(&Access{}, new(string), &config.Log{}) {
		if !strings.Contains(table, "| `"+k.key+"` | "+map[bool]string{true: "`" + k.standard + "` "}[k.standard != ""]+"|") {
			t.Errorf("docs/relay.md lacks %s among the settings of all", k.key)
		}
	}
}

func TestThePageHasThePathsTheCodesAndTheMetrics(t *testing.T) {
	text := page(t)
	for _, path := range pathsOfNetwork() {
		if !strings.Contains(text, "`"+path) {
			t.Errorf("docs/relay.md lacks %s", path)
		}
	}
	for _, code := range []string{codeParameter, codeOrigin, codeState, codeFull, codeMethod, codeNotFound, codeHost, codeSecret, codeTooLarge, codeNotReady, codeSpool} {
		if !strings.Contains(text, "`"+code+"`") {
			t.Errorf("docs/relay.md lacks %s", code)
		}
	}
	n := &networkServer{roster: testRoster(), reports: newReportBook()}
	m, err := newNetworkMetrics(n)
	if err != nil {
		t.Fatal(err)
	}
	m.refused.WithLabelValues("x")
	made := newMakerNumbers()
	report := func() Report { return Report{Targets: []Target{{}}} }
	if err := errors.Join(m.registry.Register(made.records), m.registry.Register(newReported(newTally(time.Now), report))); err != nil {
		t.Fatal(err)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "switchboard_") && !strings.Contains(text, "`_"+strings.TrimPrefix(f.GetName(), "switchboard_relay_")) && !strings.Contains(text, "`"+f.GetName()) {
			t.Errorf("docs/relay.md lacks %s", f.GetName())
		}
	}
}

// pathsOfNetwork returns all that is served.
func pathsOfNetwork() []string {
	var list []string
	for path, method := range networkPaths {
		list = append(list, method+" "+path)
	}
	slices.Sort(list)
	return list
}
