package gateway

import (
	"bufio"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
)

// Whatever a target is, if it is taken then all readings of it that services are known for
// find one route, and the token is in none of what is left of the query.
func FuzzNoReadingOfATargetFindsAnotherRoute(f *testing.F) {
	for _, target := range []string{
		"/open/../secret/a", "/open/%2e%2e/secret/", "/%73ecret/a?access_token=x", "//secret/a", "/open/..;/secret/a", "/open/%252e%252e/secret/", `/open\..\secret/a`, "/open/a?b=1;access_token=x&acc%65ss_token=y",
		"http://a/secret/x", "http:secret/x", "/open/%c0%af", "/secret%00/a", "/open/a%20/#?x", "*", "/open/?access%5ftoken=%26access_token=1", "/open/?%61ccess_token&a+b=access_token",
	} {
		f.Add(target)
	}
	t := newTable(Config{Routes: []Route{{Path: "/open/", Service: "s", Auth: Open, StripPrefix: true}, {Path: "/secret/", Service: "s"}, {Path: "/open/secret/", Service: "s"}, {Path: "/open/one", Service: "s"}, {Path: "/", Service: "s"}}}, nil, start)
	f.Fuzz(func(tt *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil || badPath(r.URL.EscapedPath()) != "" {
			return
		}
		found := t.find(r.URL.Path)
		twice, err := url.PathUnescape(r.URL.Path)
		if err != nil {
			twice = r.URL.Path // a lone % is itself
		}
		clean := path.Clean(r.URL.Path)
		if strings.HasSuffix(r.URL.Path, "/") && clean != "/" {
			clean += "/"
		}
		cut, _, _ := strings.Cut(strings.ReplaceAll(r.URL.Path, `\`, "/"), ";")
		for _, other := range []string{twice, clean, cut} {
			if t.find(other) != found {
				tt.Fatalf("%q is of %s, but %q of %s", target, found.Path, other, t.find(other).Path)
			}
		}
		sees := found.stripped(r.URL.Path)
		sent := targetOf(&instance{target: &url.URL{Scheme: "http", Host: "a"}}, &url.URL{Path: sees, RawQuery: without(r.URL.RawQuery, tokenParam)})
		got, err := url.ParseRequestURI(sent.RequestURI())
		if err != nil || got.Path != sees || got.Host != "" || badPath(got.EscapedPath()) != "" {
			tt.Fatalf("%q becomes %q, which is %v, %v", target, sent.RequestURI(), got, err)
		}
		if left, _ := url.ParseQuery(got.RawQuery); left.Has(tokenParam) {
			tt.Fatalf("%q leaves the token in %q", target, got.RawQuery)
		}
	})
}
