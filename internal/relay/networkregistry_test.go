package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func countedIDs() func() string {
	n := 0
	return func() string { n++; return fmt.Sprint("id", n) }
}

func testRoster() *roster { return newRoster(9300, 10*time.Second, countedIDs()) }

func TestIDsAndPortsAreGivenOutTheSameToTheSame(t *testing.T) {
	g, now := testRoster(), time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		say  string
		ask  asking
		want string
	}{
		{"both are given out", asking{cluster: "a", address: "h1"}, "id1 9300"},
		{"the same again", asking{cluster: "a", address: "h1"}, "id1 9300"},
		{"with what was given", asking{cluster: "a", address: "h1", id: "id1", port: 9300}, "id1 9300"},
		{"the port alone is enough to know it", asking{cluster: "a", address: "h1", port: 9300}, "id1 9300"},
		{"another cluster", asking{cluster: "b", address: "h1"}, "id2 9301"},
		{"another address", asking{cluster: "a", address: "h2"}, "id3 9302"},
		{"an ID of its own", asking{cluster: "a", address: "h1", id: "mine"}, "mine 9303"},
		{"which keeps its port", asking{cluster: "a", address: "h1", id: "mine"}, "mine 9303"},
		{"and when it moves", asking{cluster: "a", address: "h3", id: "mine"}, "mine 9303"},
		{"a port of its own", asking{cluster: "a", address: "h1", port: 9304}, "id4 9304"},
		{"which nobody there gets", asking{cluster: "a", address: "h1", id: "x"}, "x 9305"},
		{"a port that something else has", asking{cluster: "a", address: "h1", id: "x", taken: 9305}, "x 9306"},
		{"the other one stays", asking{cluster: "a", address: "h1", id: "x"}, "x 9306"},
		{"the same ID in another cluster", asking{cluster: "b", address: "h1", id: "x"}, "x 9307"},
	} {
		m, err := g.register(now, c.ask)
		if err != nil {
			t.Fatal(c.say, err)
		}
		if got := fmt.Sprint(m.id, " ", m.port); got != c.want {
			t.Errorf("%s: %s, not %s", c.say, got, c.want)
		}
	}
}

func TestAMemberThatIsSilentIsLostAndComesBackAsItWas(t *testing.T) {
	g, now := testRoster(), time.Unix(1_700_000_000, 0)
	var lost []string
	g.onDropped = func(m *registered) { lost = append(lost, m.id) }
	first, _ := g.register(now, asking{cluster: "a", address: "h1"})
	_, _ = g.register(now.Add(4*time.Second), asking{cluster: "a", address: "h2"})
	g.expire(now.Add(10*time.Second - 1))
	if len(lost) > 0 {
		t.Error("one is lost too early:", lost)
	}
	g.expire(now.Add(10 * time.Second))
	if !slices.Equal(lost, []string{"id1"}) || len(g.list(false)["a"]) != 1 || g.list(true)["a"]["id1"].Lost == nil {
		t.Error("lost are", lost, "listed are", g.list(true))
	}
	back, _ := g.register(now.Add(time.Hour), asking{cluster: "a", address: "h1"})
	if back.id != "id1" || back.port != first.port || !back.up {
		t.Errorf("it came back as %+v", back)
	}
	g.remove(now.Add(time.Hour), "id1")
	g.remove(now.Add(time.Hour), "nobody")
	if _, there := g.list(true)["a"]["id1"]; there || g.up != 0 {
		t.Error("it left, and is listed as", g.list(true), g.up)
	}
	if again, _ := g.register(now.Add(time.Hour), asking{cluster: "a", address: "h1"}); again.id != "id1" || again.port != first.port {
		t.Errorf("after it left it came back as %+v", again)
	}
}

func TestWhoTakesAPlaceIsThereAlone(t *testing.T) {
	g, now := testRoster(), time.Unix(1_700_000_000, 0)
	_, _ = g.register(now, asking{cluster: "a", address: "h1", id: "old", port: 80})
	_, _ = g.register(now, asking{cluster: "a", address: "h1", id: "new", port: 80})
	_, _ = g.register(now, asking{cluster: "b", address: "h1", id: "both", port: 80})
	if a := g.list(true); a["a"]["old"].Lost == nil || a["a"]["new"].Lost != nil || a["b"]["both"].Lost != nil {
		t.Error(a)
	}
}

func TestARosterHasBounds(t *testing.T) {
	g, now := newRoster(65_535, time.Minute, countedIDs()), time.Unix(1_700_000_000, 0)
	_, _ = g.register(now, asking{cluster: "a", address: "h"})
	if _, err := g.register(now, asking{cluster: "b", address: "h"}); err == nil {
		t.Error("a port is given out that there is not")
	}
	if m, err := g.register(now, asking{cluster: "b", address: "elsewhere"}); err != nil || m.port != 65_535 {
		t.Error("ports do not begin again:", m, err)
	}
	for i := range mostMembers - 2 {
		if _, err := g.register(now, asking{cluster: "a", address: "h", id: fmt.Sprint(i), port: 1 + i}); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := g.register(now, asking{cluster: "a", address: "h", id: "more", port: 1}); err == nil {
		t.Error("there are more members than there may be")
	}
	if _, err := g.register(now, asking{cluster: "a", address: "h", id: "7", port: 8}); err != nil {
		t.Error("one that is there cannot renew:", err)
	}
	for round := 1; round <= 2; round++ {
		later := now.Add(time.Duration(round) * time.Hour)
		for i := range mostMembers {
			if _, err := g.register(later, asking{cluster: fmt.Sprint("c", round), address: "h", id: fmt.Sprint(i), port: 1 + i}); err != nil {
				t.Fatal(round, i, err)
			}
		}
	}
	if len(g.members) > maxKnown || g.up != mostMembers || len(g.list(true)["c2"]) != mostMembers || len(g.list(true)["c1"]) < mostMembers/2 || len(g.list(true)) != 2 {
		t.Error(len(g.members), "are remembered, in clusters", slices.Collect(maps.Keys(g.list(true))))
	}
}

// Whatever happens, ports at an address are one member's each, the tables agree, and
// what is kept is what there was.
func TestARosterStaysInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, now := newRoster(9300, 10*time.Second, countedIDs()), time.Unix(1_700_000_000, 0)
		pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		given := map[string]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				g.remove(now, pick("id", "x", "y", "id1", "id2"))
			default:
				a := asking{cluster: pick("cluster", "a", "b"), address: pick("address", "h1", "h2"), id: pick("id", "", "", "x", "y"), port: rapid.SampledFrom([]int{0, 0, 0, 9301, 9303}).Draw(t, "port")}
				m, err := g.register(now, a)
				if err != nil || a.id != "" && m.id != a.id || a.port != 0 && m.port != a.port || m.cluster != a.cluster || m.address != a.address || !m.up {
					t.Fatal(a, m, err)
				}
				given[fmt.Sprint(m.cluster, m.id)] = true
				if again, err := g.register(now, a); err != nil || again != m {
					t.Fatal("asked twice:", again, m, err)
				}
			}
			up, here := 0, map[memberPlace]string{}
			for key, m := range g.members {
				if !m.up {
					continue
				}
				up++
				at := memberPlace{key.cluster, m.address, m.port}
				if other, twice := here[at]; twice {
					t.Fatal(at, "has", other, "and", key.id)
				}
				if here[at] = key.id; g.places[at] != m {
					t.Fatal(at, "does not lead to", key)
				}
			}
			if up != g.up || len(g.members) != len(given) {
				t.Fatal(up, g.up, len(g.members), len(given))
			}
			back := newRoster(9300, 10*time.Second, countedIDs())
			if err := back.restore(now, g.state().file()); err != nil || !bytes.Equal(back.state().file(), g.state().file()) || back.up != g.up {
				t.Fatal("restored:", err)
			}
		}
	})
}

func TestAFileThatIsDamagedAnywhereIsNotTaken(t *testing.T) {
	g, now := testRoster(), time.Unix(1_700_000_000, 0)
	_, _ = g.register(now, asking{cluster: "a", address: "h1"})
	file := g.state().file()
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if err := testRoster().restore(now, bad); err == nil {
			t.Errorf("byte %d may be another one", i)
		}
		if err := testRoster().restore(now, file[:i]); err == nil {
			t.Errorf("it may end at byte %d", i)
		}
	}
}

func TestReportsAreBounded(t *testing.T) {
	s, now := newReportBook(), time.Unix(1_700_000_000, 0)
	for i := range maxReports + 5 {
		s.take(now.Add(time.Duration(i)), Report{Program: programUploader, ID: fmt.Sprint(i)}, 100)
	}
	s.take(now.Add(time.Hour), Report{Program: programUploader, ID: "9999", Files: 7}, 100)
	if len(s.last) < maxReports*9/10 || len(s.last) > maxReports || s.bytes != 100*len(s.last) || s.last[reportKey{programUploader, "", "4"}] != nil {
		t.Error(len(s.last), s.bytes)
	}
	_, programs := s.status(now.Add(time.Hour), testRoster())
	b, _ := json.Marshal(programs)
	if !bytes.Contains(b, []byte(`"id":"9999"`)) || len(programs) != len(s.last) {
		t.Error(len(programs))
	}
	for range 2 {
		s.take(now.Add(2*time.Hour), Report{Program: programMaker, ID: "large"}, maxReportBytes)
	}
	if len(s.last) != 1 || s.bytes != maxReportBytes {
		t.Error(len(s.last), s.bytes)
	}
	if s.forgetSilent(now.Add(48 * time.Hour)); len(s.last) != 0 || s.bytes != 0 {
		t.Error(len(s.last), s.bytes)
	}
}

func TestReportsAreCountedAsTheyAreTold(t *testing.T) {
	many := "[" + strings.TrimSuffix(strings.Repeat("{},", 10_000), ",") + "]"
	told, err := parseReport([]byte(`{"program":"maker","id":"1","targets":` + many + `,"failures":` + many + `}`))
	if err != nil || len(told.Targets) != maxTargets || cap(told.Targets) > 2*maxTargets || cap(told.Failures) > 2*maxFailures {
		t.Errorf("%v: it has %d targets and holds %d, and %d failures", err, len(told.Targets), cap(told.Targets), cap(told.Failures))
	}
	n := &networkServer{roster: testRoster(), reports: newReportBook(), now: time.Now}
	body := `{"program":"maker","id":"1","host":"` + strings.Repeat("<", 10_000) + `"}` // six bytes each, as it is told
	w := httptest.NewRecorder()
	n.report(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, pathReport, strings.NewReader(body)))
	if w.Code != http.StatusNoContent || n.reports.bytes < 60_000 {
		t.Errorf("answered %d, and it counts as %d bytes", w.Code, n.reports.bytes)
	}
}

func TestAProgramIsFullSinceItFirstSaidSo(t *testing.T) {
	s, start := newReportBook(), time.Unix(1_700_000_000, 0).UTC()
	for i, c := range []struct {
		full string
		want time.Duration
	}{{"", -1}, {"no room", 1}, {"no folder", 1}, {"", -1}, {"no room", 4}} {
		now := start.Add(time.Duration(i) * time.Second)
		s.take(now, Report{Program: programMaker, ID: "m", Full: c.full, FullSince: start}, 1)
		want := time.Time{}
		if c.want >= 0 {
			want = start.Add(c.want * time.Second)
		}
		if _, programs := s.status(now, testRoster()); programs[0].FullSince != want {
			t.Errorf("report %d: full since %s, not %s", i, programs[0].FullSince, want)
		}
	}
}

func TestAProcessThatGoesOnElsewhereLeavesNoSilentProgram(t *testing.T) {
	s, now := newReportBook(), time.Unix(1_700_000_000, 0)
	take := func(id, process string) {
		s.take(now, Report{Program: programUploader, ID: id, Process: process, Every: 5000}, 1)
	}
	left := func() (ids []string) {
		s.forgetSilent(now)
		_, programs := s.status(now, testRoster())
		for _, p := range programs {
			ids = append(ids, p.ID)
			if p.Process != "" {
				t.Error("its process is told")
			}
		}
		return ids
	}
	take("old", "p")
	take("ended", "q")
	take("of another version", "")
	if got := left(); len(got) != 3 {
		t.Error(got)
	}
	for range 4 {
		now = now.Add(5 * time.Second)
		take("new", "p")
		take("another", "")
	}
	if got := left(); !slices.Equal(got, []string{"another", "ended", "new", "of another version"}) {
		t.Error(got)
	}
}
