package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const aRoute = `
gateway:
  routes:
    - {path: /orders/, service: orders, auth: required, apps: [SHOP], stripPrefix: true, timeout: 5s, retries: 1, fallback: {status: 503, body: '{"code":"UNAVAILABLE"}'}, rate: 0.5, burst: 3, concurrency: 4, maxBody: 1MiB}
    - {path: /pay, service: pay.v2}
  health: {path: /healthz, interval: 1s}
  breaker: {failures: 3}
`

func TestRoutesAreReadPrintedAndAdopted(t *testing.T) {
	s := load(t, Sources{File: write(t, oneApp+aRoute)})
	first, second := s.Gateway.Routes[0], s.Gateway.Routes[1]
	if first.Timeout != 5*time.Second || first.Rate != 0.5 || first.MaxBody != MiB || !first.StripPrefix || first.Fallback.Body != `{"code":"UNAVAILABLE"}` || first.Fallback.ContentType != "application/json" {
		t.Errorf("got %+v", first)
	}
	if second.Auth != "required" || second.Retries != 1 || second.Timeout != 30*time.Second || second.MaxBody != GiB || second.Fallback != nil || s.Gateway.Health.Interval != time.Second {
		t.Errorf("got %+v", second)
	}
	again := load(t, Sources{File: write(t, string(s.YAML()))})
	if got := Diff(s, again); len(got.Live)+len(got.Restart) > 0 {
		t.Errorf("what is printed differs: %+v\n%s", got, s.YAML())
	}
	without := load(t, Sources{File: write(t, oneApp)})
	if got := Diff(without, s); len(got.Restart) > 0 || !slices.Contains(got.Live, "gateway.routes") || !slices.Contains(got.Live, "gateway.breaker.failures") {
		t.Errorf("got %+v", got)
	}
	adopted, err := Adopt(without, s)
	if err != nil || len(adopted.Gateway.Routes) != 2 {
		t.Errorf("adopted %+v, %v", adopted.Gateway, err)
	}
}

func TestThePrintedSettingsOfTheGatewayAreGood(t *testing.T) {
	page, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := regexp.MustCompile("(?s)```yaml\n(gateway:.*?)```").FindSubmatch(page)
	if printed == nil {
		t.Fatal("there are none")
	}
	if s := load(t, Sources{File: write(t, oneApp+string(printed[1]))}); len(s.Gateway.Routes) != 2 {
		t.Errorf("%+v", s.Gateway)
	}
}

func TestWhatIsWrongWithARouteIsSaidAtItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"{service: s}":                                            "path: is required",
		"{path: /a/}":                                             "service: is required",
		"{path: /v1/x, service: s}":                               "path: \"/v1/x\" is one of Switchboard's own paths",
		"{path: /operator, service: s}":                           "path: \"/operator\" is one of",
		"{path: orders, service: s}":                              "path: \"orders\" is no path",
		"{path: /a/../b, service: s}":                             "path: \"/a/../b\" is no path that can be compared",
		"{path: /a%2fb, service: s}":                              "is no path that can be compared",
		"{path: /a//b, service: s}":                               "is no path that can be compared",
		"{path: /a/, service: a b}":                               "service: \"a b\" is not a service's name",
		"{path: /a/, service: switchboard}":                       "service: is the nodes themselves",
		"{path: /a/, service: s, auth: maybe}":                    "auth: \"maybe\" is none of required, optional, none",
		"{path: /a/, service: s, apps: [NONE]}":                   "apps: \"NONE\" is no app",
		"{path: /a/, service: s, apps: [SHOP], auth: none}":       "apps: says who may come, yet auth is none",
		"{path: /a/, service: s, timeout: 2h}":                    "timeout: 2h is too much",
		"{path: /a/, service: s, retries: 9}":                     "retries: 9 is too much",
		"{path: /a/, service: s, burst: 3}":                       "burst: is of no use without rate",
		"{path: /a/, service: s, rate: 0}":                        "rate: 0 is out of bounds",
		"{path: /a/, service: s, fallback: {status: 99}}":         "fallback.status: 99 is too little",
		"{path: /a/, service: s, fallback: {contentType: \"ä\"}}": "fallback.contentType: must be a type",
		"{path: /a/, service: s, fallback: {text: x}}":            "fallback.text: unknown key",
		"{path: /a/, service: s, stripprefix: true}":              "stripprefix: unknown key: did you mean stripPrefix?",
		"{path: /a/, service: s}, {path: /a/, service: t}":        "[1].path: \"/a/\" is the path of two routes",
	} {
		got := problems(t, Sources{File: write(t, oneApp+"gateway: {routes: ["+text+"]}\n")})
		if len(got) != 1 || !strings.Contains(got[0], want) || !strings.Contains(got[0], "gateway.routes[") {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	s := load(t, Sources{File: write(t, oneApp+aRoute)})
	s.Gateway.Routes[1].Timeout = 0
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "gateway.routes[1].timeout: 0s is too little") {
		t.Errorf("made by hand: %v", err)
	}
	for _, path := range []string{"/", "/services/", "/shop", "/mapping"} {
		if OwnPath(path) {
			t.Errorf("%s is taken for our own", path)
		}
	}
}
