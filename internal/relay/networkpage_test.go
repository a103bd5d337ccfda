package relay

import (
	"strings"
	"testing"
)

// An image of a page elsewhere is asked for by plain HTTP without a word of the page, if
// that wants it so.
func TestABrowserThatSaysNothingOfItsPageChangesNothing(t *testing.T) {
	n := beginNetwork(t, t.TempDir(), nil)
	const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
	for what, headers := range map[string][]string{
		"an image":   {"User-Agent", chrome, "Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "Accept-Language", "en-US,en;q=0.9"},
		"a call":     {"User-Agent", chrome, "Accept", "*/*"},
		"its own":    {"User-Agent", chrome, "Accept", "", "Accept-Language", ""},
		"a film":     {"User-Agent", "AppleCoreMedia/1.0.0.20A362 (iPhone; U; CPU OS 16_0 like Mac OS X; en_us)", "Accept", "*/*", "Range", "bytes=0-1"},
		"a new name": {"User-Agent", chrome, "Accept", "*/*", "Referer", n.at["listen"] + "/"},
	} {
		for _, path := range []string{"/register?cluster=a&address=10.0.0.1", "/remove?id=x"} {
			if got := n.ask(path, headers...); !strings.HasPrefix(got, "403 ORIGIN") {
				t.Errorf("%s: %s: %s", what, path, got)
			}
		}
		if got := n.ask("/clusters", headers...); got != "200 {}" {
			t.Errorf("%s: who is there: %s", what, got)
		}
	}
	for what, headers := range map[string][]string{
		"typed by a person": {"User-Agent", chrome, "Accept", "text/html", "Sec-Fetch-Site", "none"},
		"curl":              {"User-Agent", "curl/8.5.0", "Accept", "*/*"},
		"a server's script": {"User-Agent", "node", "Accept", "*/*", "Accept-Language", "*", "Sec-Fetch-Mode", "cors", "Accept-Encoding", "gzip, deflate"},
		"one of Java":       {"User-Agent", "Java/17", "Accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"},
		"a shell's":         {"User-Agent", "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1"},
		"an app's":          {"User-Agent", "Mozilla/5.0", "Accept-Language", "en-US,*", "Accept", "*/*"},
	} {
		if got := n.ask("/register?cluster=a&address=10.0.0.1&id=x&port=9", headers...); got != `200 {"id":"x","port":9}` {
			t.Errorf("%s: %s", what, got)
		}
	}
}
