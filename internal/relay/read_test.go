package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
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
		"collector": {collectorKeys(&CollectorSettings{}), "spool: s\naddress: h\nnetwork.server: h:9200\nnetwork.cluster: c\n", func(f string) (any, error) { return ReadCollector(f) }},
		"network":   {networkKeys(&NetworkSettings{}), "", func(f string) (any, error) { return ReadNetwork(f) }},
		"maker":     {makerKeys(&MakerSettings{}), "spool: s\n", func(f string) (any, error) { return ReadMaker(f) }},
	}
}

func TestTheDefaultsOfTheTablesAreThoseThatHold(t *testing.T) {
	for name, p := range programs() {
		least := strings.Replace(p.least, "network.server: h:9200\nnetwork.cluster: c\n", "network: {server: 'h:9200', cluster: c}\n", 1)
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
admin: ":1"
log: {level: debug, format: json}
`), "")
	want := UploaderSettings{
		Spool: "out", MaxConn: 7, Every: "1m", Quiet: 2e9, KeepFor: 48 * 3600e9, Filter: []string{"/csv$/"}, NextHop: []Rule{{"*.csv", "a"}, {"*", "b"}},
		Network: AtNetwork{Server: "https://n:1", Heartbeat: 3e9}, Admin: ":1",
		Log: config.Log{Level: "debug", Format: "json"},
	}
	if err != nil || !reflect.DeepEqual(u, want) {
		t.Errorf("%+v %v", u, err)
	}
	static := fileWith(t, "clusters: {a: [{id: x, address: h, port: 1}], b: [{address: '[::1]', port: 2}]}")
	u, err = ReadUploader(fileWith(t, "{\"spool\": \"out\",\n\t\"nexthop\": [{\"pattern\": \"*\", \"cluster\": \"a\"}], \"network\": {\"server\": \"n:1\"}}"), static)
	if err != nil || u.Network.Server != "" || !reflect.DeepEqual(u.Static, Clusters{"a": {"x": {Address: "h", Port: 1}}, "b": {"[::1]:2": {Address: "::1", Port: 2}}}) {
		t.Errorf("%+v %v", u, err)
	}
	c, err := ReadCollector(fileWith(t, `{id: i, address: a, listen: 0.0.0.0, port: 3, spool: s, network: {server: "n:1", cluster: c}, limits: {file: 1MiB, spool: 1GiB, files: 4, free: 0, connections: 5, idle: 1s, partAge: 2h}}`))
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
		{"collector", "{spool: s, address: h, network: {server: 'n:1'}}", ":1: network.cluster: is required"},
		{"collector", "{spool: s, address: h, port: 1, network: {cluster: n}}", ":1: network.server: is required to join"},
		{"uploader", "{spool: s, nexthop: [{pattern: '*', cluster: c}]}", ": network.server: is required: or give clusters"},
		{"uploader", "{spool: s, nexthop: {'*': d}, clusters: {c: [{address: h, port: 1}]}}", "there is no cluster d among clusters"},
		{"uploader", "{spool: s, nexthop: {'*': c}, clusters: {c: [{address: h, port: 1},\n{address: h, port: 1}]}}", ":2: clusters.c[1]: id h:1, or its address and port, is in this cluster already"},
		{"uploader", "{spool: s, nexthop: {'*': c}, clusters: {c: []}, network: {server: 'n:1'}}", "give either of them"},
		{"uploader", "{spool: s, nexthop: '*', network: {server: 'a b'}}", "nexthop: must be a list of patterns"},
		{"uploader", "{spool: s, nexthop: [{'*': c}], network: {server: 'n:1'}}", `:1: nexthop[0]: must be {pattern: "*.csv", cluster: store}`},
		{"uploader", "{spool: s, nexthop: [{pattern: '*'}], network: {server: 'n:1'}}", ":1: nexthop[0]: needs a pattern and the cluster that its files go to"},
		{"uploader", "{spool: s, nexthop: {'*': c}, network: {server: n}}", `:1: network.server: "n" has no port: write n:9200, say`},
		{"uploader", "{spool: s, nexthop: {'*': c}, network: {server: 'http://n:99999'}}", "has no port that can be: it must be 1 to 65535"},
		{"uploader", "{spool: s, nexthop: {'*': c}, network: {server: 'n:0'}}", "has no port that can be"},
		{"uploader", "{spool: s, nexthop: {'*': c}, network: {server: 'n:1'}, every: 25h}", "every: \"25h\": must be 100ms to 24h"},
		{"uploader", "{spool: s, nexthop: {'*': c}, network: {server: 'n:1'}, keepFor: 7d}", "keepFor: \"7d\" is not a duration: days are written in hours, as 168h"},
		{"uploader", "{spool: s, nexthop: {'*': c}, network: {server: 'n:1'}, every: 0 61 * * * MOO}", "field 2, the minute, cannot be 61; field 6, the day of the week, cannot be MOO"},
		{"collector", "{spool: s, address: 0.0.0.0, network: {server: 'n:1', cluster: c}}", ":1: address: 0.0.0.0 is no address that others can reach: it stands for all of a machine; where the collector listens is the setting listen"},
		{"collector", "{spool: s, address: h, port: 99999}", ":1: port: 99999 is too much: the most is 65535"},
		{"collector", "{spool: s, address: h, port: 1, limits: {file: 1 GiB}}", `:1: limits.file: "1 GiB" is not a size: did you mean 1GiB?`},
		{"uploader", "{spool: s, nexthop: {'*': ''}, network: {server: 'http://u:p@h'}}", "is no address of a server"},
	} {
		_, err := programs()[c.program].reader(fileWith(t, c.text))
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "settings.yaml") {
			t.Errorf("%s: %s\nsays %v\nnot  …%s", c.program, c.text, err, c.want)
		}
	}
}

func TestHostsAreNamesAndPlainAddresses(t *testing.T) {
	for host, want := range map[string]string{
		"a": "", "a.b-c.example.": "", "under_score": "", "xn--bcher-kva.example": "", "10.0.0.1": "", "::1": "", "[::1]": "", "0x7g": "", "1.2.3.4a": "",
		"": "must have", "..": "no host", ".": "must have", "a..b": "no host", "-a": "no host", "a b": "no host", " a": "no host", "a\tb": "no host", "a\x00": "no host",
		"a\u00a0b": "no host", "a\u200bb": "no host", "b\u00fccher.example": "no host", "h/x": "no host", "u@h": "no host", "a:1": "must have no port", "fe80::1%eth0": "no zone", strings.Repeat("a", 64): "no host",
		"127.1": "no IP address", "0x7f.1": "no IP address", "0x7f000001": "no IP address", "0X7F.0x": "no IP address", "2130706433": "no IP address", "1.2.3.4.5": "no IP address", "256.1.1.1": "no IP address", "010.0.0.1": "no IP address",
	} {
		if err := checkHost(host); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", host, err, want)
		}
	}
	for _, host := range []string{"0.0.0.0", "::", "[::]", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"} {
		if err := checkReached(host); err == nil {
			t.Errorf("%s can be reached", host)
		}
	}
}

// pair makes a certificate and its key.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return fileWith(t, text("CERTIFICATE", der)), fileWith(t, text("PRIVATE KEY", secret))
}

func TestWhatIsWrongWithNamedFilesIsToldWithTheRest(t *testing.T) {
	cert, key := pair(t)
	other, _ := pair(t)
	two := fileWith(t, "the-secret-of-today-1\nthe-secret-of-before-1\n")
	s, err := ReadNetwork(fileWith(t, fmt.Sprintf("secretFile: %s\ntls: {cert: %s, key: %s, ca: %s}", two, cert, key, cert)))
	if err != nil || s.Access != (Access{SecretFile: two, TLS: config.TLS{Cert: cert, Key: key, CA: cert}}) {
		t.Errorf("%+v %v", s, err)
	}
	for text, want := range map[string][]string{
		"secretFile: nowhere\nexpireAfter: 1\ntls:\n  cert: nowhere\n  key: /dev/null\n  ca: " + key: {
			":1: secretFile: cannot read nowhere: no such file or directory", ":2: expireAfter: ", ":4: tls.cert: cannot read nowhere: no such file",
			":5: tls.key: /dev/null is not a file", ":6: tls.ca: " + key + " holds no certificate in PEM",
		},
		"tls: {cert: " + two + ", key: " + key + "}":                               {":1: tls.cert: it holds no certificate in PEM"},
		"tls: {cert: " + other + ", key: " + key + "}":                             {":1: tls.cert: it makes no pair with " + key},
		"secretFile: " + fileWith(t, "short"):                                      {":1: secretFile: ", "a word of at least 16 bytes"},
		"secretFile: " + fileWith(t, ""):                                           {":1: secretFile: "},
		"secretFile: " + fileWith(t, strings.Repeat("a long secret of words ", 4)): {":1: secretFile: "},
	} {
		_, err := ReadNetwork(fileWith(t, text))
		var problems config.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s says %v", text, err)
			continue
		}
		for _, one := range want {
			if !strings.Contains(err.Error(), one) {
				t.Errorf("%s\nsays %v\nnot  …%s", text, err, one)
			}
		}
	}
}

func TestACheckLooksAtTheFolderAndMakesNone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{
		dir: "", filepath.Join(dir, "a", "b"): "", file: ":1: spool: " + file + " is not a folder",
		filepath.Join(file, "a", "b"): ":1: spool: it cannot be made: " + file + " is not a folder",
	} {
		err := CheckMaker(fileWith(t, "spool: "+folder))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", folder, err, want)
		}
	}
	for name, check := range map[string]func(text string) error{
		"uploader": func(text string) error {
			return CheckUploader(fileWith(t, text+"\nnexthop: {'*': c}\nnetwork: {server: 'n:1'}"), "")
		},
		"collector": func(text string) error { return CheckCollector(fileWith(t, text+"\naddress: h\nport: 1")) },
		"network":   func(text string) error { return CheckNetwork(fileWith(t, strings.Replace(text, "spool", "data", 1))) },
	} {
		if err := check("spool: " + file); err == nil || !strings.Contains(err.Error(), "is not a folder") {
			t.Errorf("%s: %v", name, err)
		}
		if err := check("spool: " + dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Error("it made something:", left, err)
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
