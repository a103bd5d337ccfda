package relay

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
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
		"a program in the answer has more than 1048576 bytes": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), 2*maxTold))
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

func TestAStatusIsReadNoFurtherThanItIsOfUse(t *testing.T) {
	targets := `{"targets":[` + strings.Repeat("{},", maxTargets) + `{}]}`
	for what, c := range map[string]struct {
		begin, piece string
		most         int // bytes that are read
		why          string
	}{
		"programs of nothing":         {`{"programs":[{}`, `,{}`, 1 << 16, "more than 10000 programs"},
		"members of nothing":          {`{"clusters":[{"members":[{}`, `,{}`, 1 << 18, "more than 40000 members and clusters"},
		"clusters of nothing":         {`{"clusters":[{}`, `,{}`, 1 << 18, "more than 40000 members and clusters"},
		"collectors of nothing":       {`{"programs":[{}`, `,` + targets, 2 << 20, "more than 262656 collectors in reports"},
		"members with such a report":  {`{"clusters":[{"members":[{}`, `,{"report":` + targets + `}`, 2 << 20, "more than 262656 collectors in reports"},
		"a program without end":       {`{"programs":[{"host":"`, strings.Repeat("x", 1000), 2 << 20, "more than 1048576 bytes"},
		"what nobody knows":           {`{"new":[{}`, `,{}`, 2 << 20, "more than 1048576 bytes"},
		"a program that is a list":    {`{"programs":[[`, `1,`, 2 << 20, "more than 1048576 bytes"},
		"programs that are something": {`{"programs":7,`, ` `, 2 << 20, "no status"},
		"a time that is none":         {`{"now":7`, ` `, 2 << 20, "no status"},
	} {
		from := &repeated{rest: c.begin, piece: func(int) string { return c.piece }}
		if _, err := readStatus(from); err == nil || !strings.Contains(err.Error(), c.why) || from.given > c.most {
			t.Errorf("%s: %d bytes are read: %v", what, from.given, err)
		}
	}
}

// A network server keeps more of reports than others may answer, and the operator is to
// see them.
func TestAReaderTellsOfManyReports(t *testing.T) {
	said := Status{Version: "v1", Now: time.Unix(1_800_000_000, 0).UTC(), Clusters: []ClusterStatus{{Name: "a", Members: []MemberStatus{{ID: "1", Report: &Report{}}}}}}
	r := ReportStatus{Report: Report{Program: programUploader, Targets: make([]Target, maxTargets), Failures: []Failure{}}}
	for i := range r.Targets {
		r.Targets[i].ID = strings.Repeat("i", 100)
	}
	one, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var programs []string
	for size := 0; size <= maxAnswer; size += r.size() {
		said.Programs = append(said.Programs, r)
		programs = append(programs, string(one))
	}
	rest, err := json.Marshal(Status{Version: said.Version, Now: said.Now, Clusters: said.Clusters, Programs: []ReportStatus{}})
	text := strings.Replace(string(rest), `"programs":[]`, `"programs":[`+strings.Join(programs, ",")+`]`, 1)
	if err != nil || len(text) <= maxAnswer {
		t.Fatal(len(text), err)
	}
	told, err := readStatus(strings.NewReader(text))
	if err != nil || !reflect.DeepEqual(told.Programs, said.Programs) || told.Now != said.Now || len(told.Clusters) != 1 || told.Clusters[0].Members[0].Report == nil {
		t.Errorf("%d programs of %d are told of: %v", len(told.Programs), len(said.Programs), err)
	}
	if s, err := readStatus(strings.NewReader(`{"version":"v9","new":{"a":[1]},"clusters":null,"programs":[{"new":7}]} `)); err != nil || s.Version != "v9" || len(s.Programs) != 1 {
		t.Errorf("of a newer version: %+v, %v", s, err)
	}
	if _, err := readStatus(strings.NewReader(`{} {}`)); err == nil {
		t.Error("two answers are one")
	}
}
