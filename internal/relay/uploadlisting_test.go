package relay

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// repeated is a text without end: a beginning, and then a piece again and again.
type repeated struct {
	rest  string
	piece func(n int) string
	n     int
	given int // bytes
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		r.n++
		r.rest = r.piece(r.n)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.given += n
	return n, nil
}

func TestAListingIsReadNoFurtherThanItIsOfUse(t *testing.T) {
	counts := map[string]bool{"c": true}
	for what, c := range map[string]struct {
		begin string
		piece func(int) string
		most  int // bytes that are read
		why   string
	}{
		"members that cannot be used": {`{"c":{"0":7`, func(n int) string { return fmt.Sprintf(`,"%d":7`, n) }, 1 << 20, "more than 40000 collectors"},
		"clusters of the same name":   {`{"c":{}`, func(n int) string { return fmt.Sprintf(`,"c":{"%d":7}`, n) }, 1 << 20, "more than 40000 collectors"},
		"members that are lost":       {`{"c":{"0":7`, func(n int) string { return fmt.Sprintf(`,"%d":{"lost":"2026-01-31T12:00:00Z"}`, n) }, 4 << 20, "more than 40000 collectors"},
		"a name without end":          {`{"c":{"`, func(int) string { return strings.Repeat("x", 1000) }, 1 << 17, "more than 65536 bytes"},
		"a member without end":        {`{"c":{"1":{"address":"`, func(int) string { return strings.Repeat("x", 1000) }, 1 << 17, "more than 65536 bytes"},
		"a member that is deep":       {`{"c":{"1":`, func(int) string { return strings.Repeat("[", 1000) }, 1 << 17, "no list of clusters"},
		"what is sent nothing":        {`{"other":{"1":7`, func(n int) string { return fmt.Sprintf(`,"%d":7`, n) }, maxAnswer + 1, "more than 16777216 bytes"},
		"clusters that are something": {`{"other":`, func(int) string { return strings.Repeat("[", 1000) }, 1 << 17, "no list of clusters"},
		"nothing at all":              {``, func(int) string { return strings.Repeat(" ", 1000) }, 1 << 17, "more than 65536 bytes"},
	} {
		from := &repeated{rest: c.begin, piece: c.piece}
		if all, err := readListing(from, counts); err == nil || !strings.Contains(err.Error(), c.why) || from.given > c.most {
			t.Errorf("%s: %d bytes are read, %d clusters: %v", what, from.given, len(all), err)
		}
	}
}

func TestWhatIsNoListingIsToldFromOneThatDidNotCome(t *testing.T) {
	for text, want := range map[string]string{
		`null`: "", `{}`: "", `{"c":null}`: "", ` {"c":{"1":7},"d":{"1":[{}]}} `: "",
		`[]`: "no list", `7`: "no list", `{"c":[]}`: "no list", `{"d":"x"}`: "no list", `{"c":{}`: "no list", `{"c":{}} {}`: "no list", `{"c":{"1" 7}}`: "no list", ``: "no list",
	} {
		_, err := readListing(strings.NewReader(text), map[string]bool{"c": true})
		var other *notClusters
		if want == "" && err != nil || want != "" && !errors.As(err, &other) {
			t.Errorf("%s: %v", text, err)
		}
	}
	broken := io.MultiReader(strings.NewReader(`{"c":{`), errReader{})
	if _, err := readListing(broken, nil); !errors.Is(err, errBroken) {
		t.Error("one that broke off:", err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, &repeated{rest: `{"c":{"0":7`, piece: func(n int) string { return fmt.Sprintf(`,"%d":7`, n) }})
	}))
	defer server.Close()
	s := standardUpload(t.TempDir(), nil)
	s.Network = AtNetwork{Server: server.URL, Heartbeat: DefaultHeartbeat}
	p, err := newPlan(s, uploadTuning{}, "")
	if err != nil {
		t.Fatal(err)
	}
	p.clusters = map[string]bool{"c": true}
	if _, err := (&asker{plan: p, clock: newClock(time.Now)}).ask(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 40000 collectors") {
		t.Error(err)
	}
}

var errBroken = errors.New("it broke off")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }
