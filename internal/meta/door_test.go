package meta

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

const withEverything = `domains:
  - {name: domain-01, urls: ["wss://d1.example.org:8088"]}
  - {name: domain-02, urls: ["wss://d2.example.org:8088"]}
domainLinks:
  - {n1: domain-01, n2: domain-02}
clientApps:
  - appName: ANZ
    appId: app-id-343
    masterUserId: ANZ-123223
    authUrl: http://localhost:4200/auth?a=1&b=2
    authEnabled: false
    userDistributions:
      - {domainName: domain-01, from: 0, to: 999999}
      - {domainName: domain-02, from: 1000000}
`

// serving starts a server of one description.
func serving(t *testing.T, text string, change func(*Options)) *running {
	t.Helper()
	o, path := described(t, 2)
	write(t, path, text)
	if change != nil {
		change(&o)
	}
	return start(t, o)
}

func TestEachPartOfTheDescriptionIsServedAsJSON(t *testing.T) {
	r := serving(t, withEverything, nil)
	const (
		sites = `[{"name":"domain-01","urls":["wss://d1.example.org:8088"]},{"name":"domain-02","urls":["wss://d2.example.org:8088"]}]`
		links = `[{"n1":"domain-01","n2":"domain-02","cost":1}]`
		apps  = `[{"appName":"ANZ","appId":"app-id-343","masterUserId":"ANZ-123223","authUrl":"http://localhost:4200/auth?a=1&b=2","authEnabled":false,` +
			`"userDistributions":[{"domainName":"domain-01","from":0,"to":999999},{"domainName":"domain-02","from":1000000}]}]`
	)
	version := r.metric("switchboard_meta_version")
	var number float64
	if err := json.Unmarshal([]byte(version), &number); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/domains": sites, "/domains/links": links, "/clientApps": apps,
		"/domains/graph": `{"version":` + plain(uint64(number)) + `,"domains":` + sites + `,"domainLinks":` + links + `,"clientApps":` + apps + `}`,
	} {
		answer, body := r.get(path)
		if answer.StatusCode != http.StatusOK || body != want {
			t.Errorf("GET %s: %d\n%s\nwant\n%s", path, answer.StatusCode, body, want)
		}
		for name, value := range map[string]string{
			"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
		} {
			if got := answer.Header.Get(name); got != value {
				t.Errorf("GET %s: %s is %q", path, name, got)
			}
		}
		head, nothing := r.ask(http.MethodHead, path)
		if head.StatusCode != http.StatusOK || nothing != "" || head.Header.Get("ETag") != answer.Header.Get("ETag") || head.ContentLength != answer.ContentLength {
			t.Errorf("HEAD %s: %d %q %v", path, head.StatusCode, nothing, head.Header)
		}
	}
	if _, body := r.get("/domains/graph"); body != "" {
		if _, err := domains.ParseJSON([]byte(body)); err != nil {
			t.Errorf("a domain would refuse it: %v", err)
		}
	}
}

func plain(n uint64) string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestWhoHasItAlreadyIsToldSo(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	tags := map[string]string{}
	for _, p := range []string{pathDomains, pathLinks, pathGraph, pathApps} {
		answer, _ := r.get(p)
		tag := answer.Header.Get("ETag")
		if !strings.HasPrefix(tag, `"`+plain(r.network().Version)+"-") || !strings.HasSuffix(tag, `"`) {
			t.Errorf("GET %s: the tag %s is not a strong one that begins with the version", p, tag)
		}
		tags[p] = tag
		for given, want := range map[string]int{
			tag: 304, `"other", ` + tag: 304, "W/" + tag: 304, "*": 304, `"other"`: 200, strings.Trim(tag, `"`): 200,
		} {
			answer, body := r.get(p, "If-None-Match", given)
			if answer.StatusCode != want || (want == 304) != (body == "") || answer.Header.Get("ETag") != tag {
				t.Errorf("GET %s with %s: %d %q", p, given, answer.StatusCode, body)
			}
		}
	}
	write(t, path, describe(3))
	r.look()
	for p, tag := range tags {
		if answer, _ := r.get(p, "If-None-Match", tag); answer.StatusCode != http.StatusOK {
			t.Errorf("GET %s after a change: %d", p, answer.StatusCode)
		}
	}
}

// asProblem reads problem details.
func asProblem(t *testing.T, answer *http.Response, body string) (code, detail string) {
	t.Helper()
	var p struct {
		Type, Title, Code, Detail string
		Status                    int
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("no problem details: %v\n%s", err, body)
	}
	if answer.Header.Get("Content-Type") != "application/problem+json" || p.Status != answer.StatusCode ||
		p.Type != "about:blank" || p.Title != http.StatusText(p.Status) || p.Detail == "" {
		t.Errorf("no problem details: %d %v\n%s", answer.StatusCode, answer.Header, body)
	}
	return p.Code, p.Detail
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	r := serving(t, withEverything, nil)
	for _, path := range []string{"/", "/domain", "/domains/", "/domains/graph/", "/domains/x", "/clientapps", "//domains", "/domains/../x"} {
		answer, body := r.get(path)
		if code, detail := asProblem(t, answer, body); answer.StatusCode != 404 || code != codeNotFound || !strings.Contains(detail, "/domains/graph") {
			t.Errorf("GET %s: %d\n%s", path, answer.StatusCode, body)
		}
	}
	for _, path := range (&door{network: &network{}}).paths() {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"} {
			answer, body := r.ask(method, path)
			if code, _ := asProblem(t, answer, body); answer.StatusCode != 405 || code != codeWrongMethod || answer.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d %v\n%s", method, path, answer.StatusCode, answer.Header, body)
			}
		}
	}
	if n := r.metric(`switchboard_meta_refused_total{reason="NOT_FOUND"}`); n != "8" {
		t.Errorf("%s are counted as not found", n)
	}
}

func TestWithASecretWhoDoesNotShowItReadsNothing(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	r := serving(t, withEverything, func(o *Options) { o.Secret = secret })
	for _, path := range append((&door{network: &network{}}).paths(), "/nothing") {
		for _, c := range []struct {
			name   string
			header []string
			code   string
		}{
			{"none", nil, codeAuthRequired},
			{"another scheme", []string{"Authorization", "Basic " + secret}, codeAuthRequired},
			{"nothing shown", []string{"Authorization", "Bearer "}, codeAuthRequired},
			{"wrong", []string{"Authorization", "Bearer " + secret + "0"}, codeKeyInvalid},
			{"a part", []string{"Authorization", "Bearer " + secret[:31]}, codeKeyInvalid},
		} {
			answer, body := r.get(path, c.header...)
			if path == "/healthz" {
				if answer.StatusCode != http.StatusOK || body != "{\"status\":\"alive\"}\n" {
					t.Errorf("GET /healthz with %s: %d %s", c.name, answer.StatusCode, body)
				}
				continue
			}
			if code, _ := asProblem(t, answer, body); answer.StatusCode != 401 || code != c.code || !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(body, secret) {
				t.Errorf("GET %s with %s: %d %v\n%s", path, c.name, answer.StatusCode, answer.Header, body)
			}
		}
	}
	for _, scheme := range []string{"Bearer ", "bearer "} {
		if answer, body := r.get(pathGraph, "Authorization", scheme+secret); answer.StatusCode != http.StatusOK {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
	}
	// Whoever shows the secret has come by any name.
	if answer, _ := r.get(pathGraph, "Authorization", "Bearer "+secret, "Host", "meta.example.org"); answer.StatusCode != http.StatusOK {
		t.Errorf("%d", answer.StatusCode)
	}
	if strings.Contains(r.log.String(), secret) || strings.Contains(r.out.String(), secret) {
		t.Error("the secret is logged")
	}
}

// A page elsewhere may have a name of its own point to loopback.
func TestWithoutASecretAServerOnLoopbackAnswersToLoopbackNamesOnly(t *testing.T) {
	r := serving(t, withEverything, nil)
	for host, want := range map[string]int{
		"127.0.0.1:9000": 200, "localhost": 200, "localhost:1": 200, "[::1]:9000": 200, "127.1.2.3": 200,
		"evil.example": 421, "127.0.0.1.evil.example:9000": 421, "10.0.0.1": 421,
	} {
		answer, body := r.get(pathGraph, "Host", host)
		if answer.StatusCode != want {
			t.Errorf("Host %s: %d\n%s", host, answer.StatusCode, body)
		}
		if want == 421 {
			if code, _ := asProblem(t, answer, body); code != codeWrongHost {
				t.Errorf("Host %s: %s", host, body)
			}
		}
	}
}

func TestAServerThatOthersReachWithoutASecretWarnsOfIt(t *testing.T) {
	for _, c := range []struct {
		listen, secret string
		times          int
	}{{"0.0.0.0:0", "", 1}, {"0.0.0.0:0", "0123456789abcdef", 0}, {"127.0.0.1:0", "", 0}} {
		r := serving(t, withEverything, func(o *Options) { o.Listen, o.Secret = c.listen, c.secret })
		r.logged(c.times, "give --secret-file")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestAServerThatIsStoppedGivesItsAddressBack(t *testing.T) {
	r := serving(t, withEverything, nil)
	r.options.Listen = strings.TrimPrefix(r.url, "http://")
	r.again().serves(2)
}

// dial opens a connection and sends some bytes.
func (r *running) dial(bytes string) net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() }) // it may be closed already
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := conn.Write([]byte(bytes)); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

func TestARequestThatTakesTooLongIsCutOff(t *testing.T) {
	r := serving(t, withEverything, func(o *Options) { o.header = 50 * time.Millisecond })
	for _, bytes := range []string{"", "GET /domains HTTP/1.1\r\nHost: 127.0.0.1\r\n", "POST /domains HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n"} {
		said, err := io.ReadAll(r.dial(bytes))
		if err != nil || strings.Contains(string(said), "200 OK") {
			t.Errorf("after %q: %v\n%s", bytes, err, said)
		}
	}
	r.serves(2)
}

func TestAHeaderThatIsTooLargeIsRefused(t *testing.T) {
	r := serving(t, withEverything, nil)
	answer, _ := r.get(pathGraph, "X-Long", strings.Repeat("x", 2*maxHeaderBytes))
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", answer.StatusCode)
	}
}

func TestOneConnectionTooManyIsClosedAndCounted(t *testing.T) {
	r := serving(t, withEverything, func(o *Options) { o.connections = 2 })
	first := r.follow() // of the two connections
	first.begins()
	second := r.dial("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if _, err := second.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if said, _ := io.ReadAll(r.dial("")); len(said) > 0 {
		t.Errorf("it says %s", said)
	}
	_ = second.Close() // so that there is room to ask
	r.eventually("it is counted", func() bool {
		answer, err := http.Get(r.url + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(body), `switchboard_meta_refused_total{reason="TOO_MANY_CONNECTIONS"} `)
	})
}

func TestWhatIsWrongWithTheOptionsIsSaidAtOnce(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--config is required":                            func(o *Options) { o.Config = "" },
		"--every 1ms is too short":                        func(o *Options) { o.Every = 1_000_000 },
		"--secret-file holds a secret that is too short":  func(o *Options) { o.Secret = "short" },
		"--secret-file holds a secret that no HTTP":       func(o *Options) { o.Secret = "0123456789 abcdefghij" },
		"--listen 9000 is no address":                     func(o *Options) { o.Listen = "9000" },
		"--config /etc/network.yaml is not a path inside": func(o *Options) { o.Git, o.Config = "/repository", "/etc/network.yaml" },
		"--config ../network.yaml is not a path inside":   func(o *Options) { o.Git, o.Config = "/repository", "../network.yaml" },
		"--branch a..b is not the name of a branch":       func(o *Options) { o.Git, o.Config, o.Branch = "/repository", "n.yaml", "a..b" },
		"--git holds a password":                          func(o *Options) { o.Git, o.Config = "https://me:hunter2hunter2@example.org/r", "n.yaml" },
		"--git git://example.org/r: use https://":         func(o *Options) { o.Git, o.Config = "git://example.org/r", "n.yaml" },
		"--git http://example.org/r is not encrypted": func(o *Options) {
			o.Git, o.Config, o.Credentials.Password = "http://example.org/r", "n.yaml", "hunter2hunter2"
		},
	} {
		o := quiet(t)
		o.Config = "network.yaml"
		change(&o)
		err := Run(t.Context(), o)
		var w *Wrong
		if !strings.HasPrefix(errorText(err), want) || !asWrong(err, &w) {
			t.Errorf("it says: %v\nwant: %s", err, want)
		}
		if strings.Contains(errorText(err), "hunter2") {
			t.Errorf("it says the password: %v", err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
