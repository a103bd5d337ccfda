package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAStrangersFileIsInTheSpoolWhenItSaysSuccess(t *testing.T) {
	c := startCollector(t, nil)
	w := dial(t, c.says("listen"))
	w.send("PUT /a%20b.txt HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 3", "", "one")
	got := w.answer(http.MethodPut)
	wantAnswer(t, "with its length", got, 200, "success")
	if got.body != "success" || got.header.Get(headerDigest) != Digest(sha256.Sum256([]byte("one"))).header() {
		t.Errorf("it answers %+v", got)
	}
	// The same connection goes on.
	w.send("PUT /empty HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 0", "", "")
	wantAnswer(t, "empty", w.answer(http.MethodPut), 200, "success")
	w.send("PUT /%C3%BC%2525 HTTP/1.1", "Host: 127.0.0.1", "Transfer-Encoding: chunked", "", "2", "tw", "1", "o", "0", "", "")
	wantAnswer(t, "in chunks", w.answer(http.MethodPut), 200, "success")
	for _, content := range []string{"three", "one", "three"} {
		wantAnswer(t, "a name that is there", put(t, c, []string{"/a%20b.txt HTTP/1.1", "Host: 127.0.0.1"}, content), 200, "success")
	}
	wantAnswer(t, "without a Host", put(t, c, []string{"/empty HTTP/1.0"}, ""), 200, "success")
	long := strings.Repeat("n", 255)
	wantAnswer(t, "a long name", put(t, c, []string{"/" + long + " HTTP/1.1", "Host: 127.0.0.1"}, "long"), 200, "success")
	sum := sha256.Sum256([]byte("three"))
	want := map[string]string{
		"a b.txt": "one", "a b." + hex.EncodeToString(sum[:4]) + ".txt": "three", "ü%25": "two", "empty": "", long: "long",
	}
	if got := c.files(); !maps.Equal(got, want) {
		t.Errorf("there is %q", got)
	}
	if status, body := get(t, request(t, http.MethodGet, "http://"+c.says("listen")+"/health")); status != 200 || !strings.Contains(body, "alive") {
		t.Errorf("its health is %d %s", status, body)
	}
}

func TestWhatACollectorDoesNotTakeIsRefusedWithACodeAndAReason(t *testing.T) {
	c := startCollector(t, func(s *CollectorSettings) { s.Limits.FileBytes = 10 })
	file := announced("a", "one", 1)
	three := []string{"Content-Length: 3", "", "one"}
	for _, r := range []struct {
		what, method string
		head         []string
		status       int
		begins       string
	}{
		{"no name", "PUT", with([]string{"/ HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: it is empty"},
		{"above", "PUT", with([]string{"/../a HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: it begins with a dot"},
		{"above, escaped", "PUT", with([]string{"/..%2fa HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME"},
		{"above, later", "PUT", with([]string{"/a/../../b HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: there is a slash"},
		{"a slash", "PUT", with([]string{"/a%2Fb HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: there is a slash"},
		{"a backslash", "PUT", with([]string{"/a%5Cb HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: there is a slash"},
		{"a zero byte", "PUT", with([]string{"/a%00 HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: there is a control"},
		{"hidden", "PUT", with([]string{"/.switchboard HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: it begins with a dot"},
		{"too long", "PUT", with([]string{"/" + strings.Repeat("n", 256) + " HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: it has 256 bytes"},
		{"not UTF-8", "PUT", with([]string{"/%ff HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: it is not UTF-8"},
		{"still being written", "PUT", with([]string{"/a.tmp HTTP/1.1", "Host: 127.0.0.1"}, three...), 400, "NAME: it ends in .tmp"},
		{"another method", "POST", with([]string{"/a HTTP/1.1", "Host: 127.0.0.1"}, three...), 405, "METHOD"},
		{"no length", "PUT", []string{"/a HTTP/1.1", "Host: 127.0.0.1", "", ""}, 411, "HEADER"},
		{"too large", "PUT", []string{"/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 11", "", ""}, 413, "TOO_LARGE"},
		{"too large, in chunks", "PUT", []string{"/a HTTP/1.1", "Host: 127.0.0.1", "Transfer-Encoding: chunked", "", "b", "12345678901", "0", "", ""}, 413, "TOO_LARGE"},
		{"another digest", "PUT", with(file, "Content-Length: 3", "", "two"), 422, "DIGEST"},
		{"no digest", "PUT", with([]string{"/a HTTP/1.1", "Host: 127.0.0.1", "Repr-Digest: sha-256=:YQ==:"}, three...), 400, "HEADER: Repr-Digest"},
		{"no key", "PUT", with([]string{"/a HTTP/1.1", "Host: 127.0.0.1", `Idempotency-Key: "a`}, three...), 400, "HEADER: Idempotency-Key"},
		{"two keys", "PUT", with(file, `Idempotency-Key: "another"`, "Content-Length: 3", "", "one"), 400, "HEADER: Idempotency-Key is given twice"},
		{"two digests", "PUT", with(file, "Repr-Digest: "+Digest{1}.header(), "Content-Length: 3", "", "one"), 400, "HEADER: Repr-Digest has two"},
		{"two ranges", "PUT", with(file, "Content-Range: bytes 0-2/3", "Content-Range: bytes 1-2/3", "Content-Length: 3", "", "one"), 400, "HEADER: Content-Range is given twice"},
		{"signs", "PUT", with(file, "Content-Range: bytes +0-+2/+3", "Content-Length: 3", "", "one"), 400, "HEADER: Content-Range must"},
		{"less than nothing", "PUT", with(file, "Content-Range: bytes -0-2/3", "Content-Length: 3", "", "one"), 400, "HEADER: Content-Range must"},
		{"a page elsewhere", "PUT", with(file, "Origin: http://elsewhere.example", "Content-Length: 3", "", "one"), 403, "ORIGIN"},
		{"a page of nowhere", "PUT", with(file, "Origin: null", "Content-Length: 3", "", "one"), 403, "ORIGIN"},
		{"a browser for another site", "PUT", with(file, "Sec-Fetch-Site: cross-site", "Content-Length: 3", "", "one"), 403, "ORIGIN"},
		{"a page that asks what there is", "HEAD", with(file, "Sec-Fetch-Site: cross-site", "", ""), 403, ""},
		{"no end", "PUT", with(file, "Content-Range: bytes 0-2/4", "Content-Length: 3", "", "one"), 400, "HEADER: Content-Range"},
		{"another length", "PUT", with(file, "Content-Range: bytes 1-2/3", "Content-Length: 3", "", "one"), 400, "HEADER: Content-Range and"},
		{"going on without a key", "PUT", []string{"/a HTTP/1.1", "Host: 127.0.0.1", "Content-Range: bytes 1-2/3", "Content-Length: 2", "", "ne"}, 400, "HEADER: only"},
		{"going on with nothing", "PUT", with(file, "Content-Range: bytes 1-2/3", "Content-Length: 2", "", "ne"), 409, "OFFSET"},
		{"another name of this host", "PUT", []string{"/a HTTP/1.1", "Host: elsewhere.example", "Content-Length: 3", "", "one"}, 421, "WRONG_HOST"},
		{"asking for nothing", "HEAD", []string{"/a HTTP/1.1", "Host: 127.0.0.1", "", ""}, 400, ""},
	} {
		wantAnswer(t, r.what, raw(t, c.says("listen"), r.method, r.head...), r.status, r.begins)
	}
	if got := c.files(); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
	parts, err := os.ReadDir(filepath.Join(c.settings.Spool, ".switchboard", "collector", "parts"))
	if err != nil || len(parts) > 0 {
		t.Errorf("left is %v, %v", parts, err)
	}
}

// net/http hides a length that is given beside chunks. Who stands between may have gone
// by the length, and what it took for the body would be a request of its own here.
func TestWhatFollowsABodyInChunksIsNoRequest(t *testing.T) {
	c := startCollector(t, nil)
	w := dial(t, c.says("listen"))
	w.send("PUT /a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 71", "Transfer-Encoding: chunked", "", "3", "one", "0", "", "PUT /b HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 3", "", "two")
	got := w.answer(http.MethodPut)
	wantAnswer(t, "in chunks", got, 200, "success")
	if _, err := w.in.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
	if got := c.files(); !maps.Equal(got, map[string]string{"a": "one"}) {
		t.Errorf("there is %q", got)
	}
}

func TestAnUploadThatWasCutOffGoesOnAndIsStoredOnce(t *testing.T) {
	c := startCollector(t, nil)
	content := strings.Repeat("0123456789", 50_000)
	file := announced("a.bin", content, 1)
	ask := func() (offset int, stored bool) {
		got := raw(t, c.says("listen"), http.MethodHead, with(file, "", "")...)
		if got.status != 200 {
			t.Fatalf("it answers %+v", got)
		}
		offset, err := strconv.Atoi(got.header.Get(headerOffset))
		if err != nil {
			t.Fatal(err)
		}
		return offset, got.header.Get(headerComplete) == "?1"
	}
	if held, stored := ask(); held != 0 || stored {
		t.Errorf("at first %d are held", held)
	}
	w := dial(t, c.says("listen")).send(append([]string{"PUT " + file[0]}, with(file[1:], fmt.Sprint("Content-Length: ", len(content)), "", content[:300_000])...)...)
	if err := w.conn.Close(); err != nil {
		t.Fatal(err)
	}
	// Nobody asks before all of it is there: who asks has given the upload up, and ends it.
	soon(t, "the beginning arrives", func() bool {
		parts, err := filepath.Glob(filepath.Join(c.settings.Spool, ".switchboard", "collector", "parts", "*"))
		if err != nil || len(parts) != 1 {
			return false
		}
		info, err := os.Stat(parts[0])
		return err == nil && info.Size() == 300_000
	})
	held, _ := ask()
	if held != 300_000 {
		t.Errorf("%d are held", held)
	}
	got := put(t, c, file, content[held-1:], fmt.Sprintf("Content-Range: bytes %d-%d/%d", held-1, len(content)-1, len(content)))
	wantAnswer(t, "at another place", got, 409, "OFFSET")
	if got.header.Get(headerOffset) != fmt.Sprint(held) {
		t.Errorf("it says %q", got.header)
	}
	got = put(t, c, file, content[held:], fmt.Sprintf("Content-Range: bytes %d-%d/%d", held, len(content)-1, len(content)))
	wantAnswer(t, "where it stopped", got, 200, "success")
	if got := c.files(); len(got) != 1 || got["a.bin"] != content {
		t.Errorf("there are %d files", len(got))
	}
	if _, stored := ask(); !stored {
		t.Error("it is not known")
	}
	if err := os.Remove(filepath.Join(c.settings.Spool, "a.bin")); err != nil {
		t.Fatal(err)
	}
	// Its body is not asked for.
	again := raw(t, c.says("listen"), http.MethodPut, with(file, fmt.Sprint("Content-Length: ", len(content)), "Expect: 100-continue", "", "")...)
	wantAnswer(t, "sent again", again, 200, "success")
	if got := c.files(); len(got) != 0 {
		t.Errorf("there are %d files", len(got))
	}
}

func TestOfTwoSendersOfOneFileTheNewerGoesOn(t *testing.T) {
	c := startCollector(t, nil)
	content := strings.Repeat("x", 100_000)
	file := announced("a", content, 1)
	head := with(file, fmt.Sprint("Content-Length: ", len(content)), "", content[:50_000])
	older := dial(t, c.says("listen")).send(append([]string{"PUT " + head[0]}, head[1:]...)...)
	parts := filepath.Join(c.settings.Spool, ".switchboard", "collector", "parts")
	soon(t, "the older one has begun", func() bool {
		entries, err := os.ReadDir(parts)
		if err != nil || len(entries) == 0 {
			return false
		}
		info, err := entries[0].Info()
		return err == nil && info.Size() == 50_000
	})
	wantAnswer(t, "the newer one", put(t, c, file, content), 200, "success")
	got := older.answer(http.MethodPut)
	wantAnswer(t, "the older one", got, 503, "BUSY")
	if got.header.Get("Retry-After") == "" {
		t.Errorf("it says %q", got.header)
	}
	if got := c.files(); len(got) != 1 || got["a"] != content {
		t.Errorf("there are %d files", len(got))
	}
}

func TestWithoutRoomACollectorSaysWhenToComeAgain(t *testing.T) {
	c := startCollector(t, func(s *CollectorSettings) { s.Limits.FileBytes, s.Limits.SpoolFiles, s.Admin = 0, 1, "127.0.0.1:0" })
	ready := func() (int, string) {
		return get(t, request(t, http.MethodGet, "http://"+c.says("admin")+"/readyz"))
	}
	// That one is too large does not mean that all is full.
	wantAnswer(t, "the largest", raw(t, c.says("listen"), http.MethodPut, "/a HTTP/1.1", "Host: 127.0.0.1", fmt.Sprint("Content-Length: ", 1<<59), "", ""), 503, "FULL: the spool is full: the disk lacks")
	if status, said := ready(); status != 200 {
		t.Errorf("it is not ready: %s", said)
	}
	wantAnswer(t, "the first", put(t, c, announced("a", "one", 1), "one"), 200, "success")
	got := put(t, c, announced("b", "two", 2), "two")
	wantAnswer(t, "the second", got, 503, "FULL: the spool is full: ") // one that comes into a count may be counted twice
	if got.header.Get("Retry-After") != "10" {
		t.Errorf("it says %q", got.header)
	}
	if status, said := ready(); status != 503 || !strings.Contains(said, "the spool is full") {
		t.Errorf("it is ready: %d %s", status, said)
	}
	if _, said := get(t, request(t, http.MethodGet, "http://"+c.says("admin")+"/metrics")); !strings.Contains(said, `switchboard_relay_refused_total{code="FULL"} 2`) || !strings.Contains(said, "switchboard_relay_files_total 1") {
		t.Error("it is not counted")
	}
	if err := os.Remove(filepath.Join(c.settings.Spool, "a")); err != nil {
		t.Fatal(err)
	}
	soon(t, "there is room again", func() bool {
		got = put(t, c, announced("b", "two", 2), "two")
		return got.status == 200
	})
	if status, said := ready(); status != 200 {
		t.Errorf("it is not ready: %s", said)
	}
}

func TestWhoRestsOrTricklesIsCutOff(t *testing.T) {
	c := startCollector(t, func(s *CollectorSettings) { s.Limits.Idle = 100 * time.Millisecond })
	for _, trickles := range []bool{false, true} {
		w := dial(t, c.says("listen")).send("PUT /a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000", "", "one")
		done := make(chan struct{})
		var trickle sync.WaitGroup
		if trickles {
			trickle.Go(func() {
				for {
					select {
					case <-done:
						return
					case <-time.After(10 * time.Millisecond):
					}
					if _, err := w.conn.Write([]byte("x")); err != nil {
						return
					}
				}
			})
		}
		wantAnswer(t, fmt.Sprint("trickles: ", trickles), w.answer(http.MethodPut), 408, "BROKEN_OFF")
		close(done)
		trickle.Wait()
	}
	// One that is refused before its body was read does not hold the connection.
	w := dial(t, c.says("listen")).send("PUT /.a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000", "", "one")
	wantAnswer(t, "refused", w.answer(http.MethodPut), 400, "NAME")
	w = dial(t, c.says("listen")).send("PUT /a HTTP/1.1", "Host: elsewhere.example", "Content-Length: 1000", "", "one")
	wantAnswer(t, "turned away", w.answer(http.MethodPut), 421, "WRONG_HOST")
	if got := c.files(); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
}

func TestSettingsAreReadAgainWhileFilesAreOnTheirWay(t *testing.T) {
	c := startCollector(t, nil)
	old := c.says("listen")
	w := dial(t, old).send("PUT /a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 6", "", "one")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("x", 24)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.change(func(s *CollectorSettings) { c.bad, s.SecretFile = errors.New("they are not good"), secret })
	c.reload <- struct{}{} // after those were read
	wantAnswer(t, "with bad settings", put(t, c, []string{"/b HTTP/1.1", "Host: 127.0.0.1"}, "two"), 200, "success")
	c.change(func(s *CollectorSettings) { c.bad, s.Limits.FileBytes = nil, 10 })
	soon(t, "a secret is asked for", func() bool { return put(t, c, []string{"/c HTTP/1.1", "Host: 127.0.0.1"}, "two").status == 401 })
	wantAnswer(t, "with the secret", put(t, c, []string{"/c HTTP/1.1", "Host: 127.0.0.1", "Authorization: Bearer " + strings.Repeat("x", 24)}, "two"), 200, "success")
	wantAnswer(t, "with a new limit", put(t, c, []string{"/d HTTP/1.1", "Host: 127.0.0.1", "Authorization: Bearer " + strings.Repeat("x", 24)}, "more than ten"), 413, "TOO_LARGE")
	w.send("two")
	wantAnswer(t, "what was on its way", w.answer(http.MethodPut), 200, "success")
	if got := c.files(); !maps.Equal(got, map[string]string{"a": "onetwo", "b": "two", "c": "two"}) {
		t.Errorf("there is %q", got)
	}
}

func TestAtTheEndWhatIsOnItsWayArrives(t *testing.T) {
	c := startCollector(t, nil)
	w := dial(t, c.says("listen")).send("PUT /a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 6", "", "one")
	parts := filepath.Join(c.settings.Spool, ".switchboard", "collector", "parts")
	soon(t, "it is on its way", func() bool { entries, _ := os.ReadDir(parts); return len(entries) == 1 })
	c.cancel()
	soon(t, "nobody else is let in", func() bool {
		conn, err := net.Dial("tcp", c.says("listen"))
		if err == nil {
			_ = conn.Close() // it was not used
		}
		return err != nil
	})
	w.send("two")
	wantAnswer(t, "what was on its way", w.answer(http.MethodPut), 200, "success")
	c.stop()
	if got := c.files(); !maps.Equal(got, map[string]string{"a": "onetwo"}) {
		t.Errorf("there is %q", got)
	}
}
