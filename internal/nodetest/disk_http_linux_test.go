package nodetest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// A disk that takes its time does not make a backend wait for ever: it is told
// that nobody knows, and asks again under its key until somebody does. The message
// is there once.
func TestASlowDiskIsATimeOutAndWhatIsSentAgainIsStoredOnce(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	d := newDisk(t, faultfs.Journaled)
	s := StartIn(t, d.data(), "--config", Settings(t, "limits: {apiTimeout: 1s}\n"))
	b := &backend{s: s, addr: s.Addr, key: s.Key, client: http.DefaultClient} // this disk has no place for a control socket
	b.want(201, "POST", messagesPath, `{"to":"ANZ-8","from":"ANZ-1","content":"before"}`)
	calls := []struct{ method, path, body string }{
		{"POST", messagesPath, `{"to":"ANZ-7","from":"ANZ-1","content":"one"}`},
		{"POST", batchPath, `{"messages":[{"to":"ANZ-7","from":"ANZ-1","content":"two"},{"to":"ANZ-7","from":"ANZ-1","content":"three"}]}`},
		{"DELETE", "/v1/users/ANZ-8/mailbox/messages", ""},
	}
	d.SlowSyncs(3 * time.Second)
	for _, c := range calls {
		a, err := b.try(c.method, c.path, c.body, "key-of-"+c.path)
		told := a.Status == 504 && a.Code() == "TIMEOUT" && a.Field("mayYetArrive") == "true"
		if c.path == batchPath {
			told = a.Status == 200 && strings.Count(a.Body, `"code":"TIMEOUT"`) == 2 && strings.Count(a.Body, `"mayYetArrive":true`) == 2
		}
		if err != nil || !told {
			t.Errorf("%s: %v, %d %s", c.path, err, a.Status, a.Body)
		}
	}
	d.SlowSyncs(0)
	for _, c := range calls {
		Eventually(t, c.path+" is done", func() bool {
			a, err := b.try(c.method, c.path, c.body, "key-of-"+c.path)
			if err != nil {
				t.Fatal(err)
			}
			return a.Status < 300 && !strings.Contains(a.Body, "refused")
		})
	}
	missed, _ := SignIn(t, s, "ANZ-7", "").Fetch(100)
	var got []string
	for _, f := range missed {
		got = append(got, f.Field("content"))
	}
	if strings.Join(got, " ") != "one two three" {
		t.Errorf("ANZ-7 has %v", got)
	}
	if a := b.want(200, "GET", "/v1/users/ANZ-8/mailbox", ""); a.Field("messages") != "0" {
		t.Errorf("ANZ-8 has %s", a.Body)
	}
}

// What was answered is there, and gone, after a power cut.
func TestAPowerCutTakesNothingBackThatWasAnsweredOverHTTP(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	d := newDisk(t, faultfs.Strict)
	s := StartIn(t, d.data())
	b := &backend{s: s, addr: s.Addr, key: s.Key, client: http.DefaultClient}
	b.want(201, "POST", messagesPath, `{"to":"ANZ-8","from":"ANZ-1","content":"to go"}`)
	b.want(200, "POST", batchPath, batchOf(0, 0, 100))
	b.want(200, "DELETE", "/v1/users/ANZ-8/mailbox/messages", "")
	powerCut(s, d, nil, faultfs.Nothing)
	s.Start()
	b.key = s.Key
	missed, _ := SignIn(t, s, "ANZ-7", "").Fetch(2000)
	wantSeries(t, "after the cut", missed, "s0", 0, 100)
	if a := b.want(200, "GET", "/v1/users/ANZ-8/mailbox", ""); a.Field("messages") != "0" {
		t.Errorf("ANZ-8 has %s", a.Body)
	}
}
