package relay

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reads asks a handler.
func reads(t *testing.T, o ReaderOptions, h http.HandlerFunc) (Status, error) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	o.Server = strings.TrimPrefix(server.URL, "http://")
	r, err := NewReader(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Status(t.Context())
}

func TestAReaderShowsItsSecretAndGetsTheStatus(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("only-for-tests-0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := reads(t, ReaderOptions{SecretFile: secret}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != pathStatus || r.Header.Get("Authorization") != "Bearer only-for-tests-0123" {
			t.Errorf("%s %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		_ = json.NewEncoder(w).Encode(Status{Version: "v1", Clusters: []ClusterStatus{{Name: "a"}}})
	})
	if err != nil || s.Version != "v1" || len(s.Clusters) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAReaderTellsTheMembersOfANetworkServerOfAnotherMake(t *testing.T) {
	s, err := reads(t, ReaderOptions{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != pathClusters {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"b":{"2":{"address":"h","port":"9301"},"1":{"address":"h","port":9300}},"a":{}}`))
	})
	if err != nil || len(s.Clusters) != 2 || s.Clusters[0].Name != "a" || len(s.Clusters[1].Members) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if m := s.Clusters[1].Members; m[0].ID != "1" || m[0].Port != 9300 || m[1].Port != 9301 || m[0].State != "up" || m[0].Report != nil {
		t.Errorf("%+v", m)
	}
}

func TestAReaderSaysWhyItGotNoStatus(t *testing.T) {
	for want, h := range map[string]http.HandlerFunc{
		"answered 401 Unauthorized: SECRET: no": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "SECRET: no", http.StatusUnauthorized) },
		"its answer is no status":               func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"it is no network server of a relay":    http.NotFound,
		"the answer has more than 16777216 bytes": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, maxAnswer+1))
		},
	} {
		if _, err := reads(t, ReaderOptions{}, h); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
	if _, err := NewReader(ReaderOptions{Server: "no address at all"}); err == nil {
		t.Error("a bad address is taken")
	}
}
