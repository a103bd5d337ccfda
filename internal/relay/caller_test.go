package relay

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

const tellTale = "a-secret-of-one-word"

func secretFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(tellTale+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func withSecret(t *testing.T) *credentials {
	t.Helper()
	c, err := Access{SecretFile: secretFile(t)}.read()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestASecretIsNotShownToWhomARedirectLeads(t *testing.T) {
	var asked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	c := withSecret(t)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		_, err := c.call(t.Context(), c.caller(1), method, server.URL+pathMembers, nil)
		if err == nil || !strings.Contains(err.Error(), "307") {
			t.Errorf("%s: %v", method, err)
		}
	}
	if asked.Load() {
		t.Error("who was called by a redirect, was called")
	}
}

func TestASecretThatIsAnsweredWithIsNotTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, fmt.Sprint("not good: ", r.Header), http.StatusBadGateway)
	}))
	defer server.Close()
	c := withSecret(t)
	_, err := c.call(t.Context(), c.caller(1), http.MethodGet, server.URL, nil)
	if err == nil || strings.Contains(err.Error(), tellTale) || !strings.Contains(err.Error(), "Bearer [secret]") {
		t.Error("of a small call it says ", err)
	}
	dir := t.TempDir()
	drop(t, dir, "a", "content")
	echo := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, fmt.Sprint("not good: ", r.Header), http.StatusBadGateway)
		return true
	})
	s := standardUpload(dir, next(map[string]*stub{"echo": echo}))
	s.SecretFile = secretFile(t)
	u, log := newUpload(t, s), &heard{}
	u.log = log.log()
	u.start(quickUpload)
	eventually(t, "it is told what the collector said", func() bool { return len(log.lines("Bearer [secret]")) > 0 })
	if told := log.lines(tellTale); len(told) > 0 {
		t.Error("the log has the secret: ", told)
	}
}

func TestAnOffsetThatCannotBeIsNone(t *testing.T) {
	offset := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(headerOffset, offset) }))
	defer server.Close()
	u := uploadTuning{}
	u.fill()
	c := newCourier(&credentials{}, 1, u, "spool")
	defer c.client.CloseIdleConnections()
	for text, want := range map[string]int64{"": 0, "3": 3, "9": 9, "10": 0, "11": 0, "-1": 0, "99999999999999999999": 0, "x": 0, "0x3": 0, "1e0": 0} {
		offset = text
		got, done, out := c.held(t.Context(), server.URL, &load{entry: spool.Entry{Size: 10}})
		if got != want || done || out.fate != fateDelivered {
			t.Errorf("%q: it goes on at %d, %v, %+v", text, got, done, out)
		}
	}
}

func TestAnAnswerWithAHugeHeaderIsNotRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Much", strings.Repeat("x", 2*maxHead))
	}))
	defer server.Close()
	c := &credentials{}
	client := c.caller(1)
	defer client.CloseIdleConnections()
	if _, err := c.call(t.Context(), client, http.MethodGet, server.URL, nil); err == nil {
		t.Error("it is taken")
	}
}
