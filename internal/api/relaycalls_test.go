package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/relay"
)

// aRelay has a network server that answers on command.
type aRelay struct {
	mu     sync.Mutex
	status relay.Status
	fails  error
}

func (r *aRelay) Server() string { return "10.0.0.5:9200" }

func (r *aRelay) Status(context.Context) (relay.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status, r.fails
}

// relayed is a world with a relay.
func relayed(t *testing.T) (*observed, *aRelay) {
	r := &aRelay{}
	return newObserved(t, func(rooms *Rooms) { rooms.Relay = r }), r
}

func TestTheRelayIsShownAsItsNetworkServerSees(t *testing.T) {
	x, r := relayed(t)
	at := time.Date(2026, 11, 26, 8, 0, 0, 0, time.FixedZone("", 3600))
	report := relay.Report{
		Program: "collector", ID: "c1", Host: "h", Spool: "/s", Version: "v1", Started: at, Files: 4, Bytes: 5, FileRate: 0.5, ByteRate: 1.5,
		Waiting: relay.Waiting{Files: 1, Bytes: 2, Oldest: 3}, LeftAlone: 6, Full: "the disk is full", FullSince: at,
		Targets:  []relay.Target{{Cluster: "a", ID: "c2", Address: "h:1", State: "down", Reason: "refused", Waiting: relay.Waiting{Files: 7}, Files: 8, Bytes: 9, ByteRate: 10}},
		Failures: []relay.Failure{{At: at, Name: "f", Where: "a/c2", Reason: "refused", Final: true, Count: 3}},
	}
	r.status = relay.Status{
		Version: "v1", Started: at, Now: at,
		Clusters: []relay.ClusterStatus{{Name: "a", Members: []relay.MemberStatus{
			{ID: "c1", Address: "h", Port: 9300, State: "up", Since: at, Seen: at, Report: &report}, {ID: "stranger", Address: "i", Port: 9301, State: "lost"},
		}}},
		Programs: []relay.ReportStatus{{Report: report, Seen: at, Silent: true}},
	}
	const reported = `"program":"collector","id":"c1","host":"h","spool":"/s","version":"v1","started":"2026-11-26T07:00:00.000Z","files":4,"bytes":5,"filesPerSecond":0.5,"bytesPerSecond":1.5,` +
		`"waiting":{"files":1,"bytes":2,"oldestSeconds":3},"leftAlone":6,"targets":[{"cluster":"a","id":"c2","address":"h:1","state":"down","reason":"refused","waiting":{"files":7,"bytes":0,"oldestSeconds":0},"files":8,"bytes":9,"bytesPerSecond":10}],` +
		`"failures":[{"at":"2026-11-26T07:00:00.000Z","name":"f","where":"a/c2","reason":"refused","final":true,"count":3}],"full":"the disk is full","fullSince":"2026-11-26T07:00:00.000Z"`
	const want = `{"network":"10.0.0.5:9200","version":"v1","started":"2026-11-26T07:00:00.000Z","now":"2026-11-26T07:00:00.000Z","clusters":[{"name":"a","members":[` +
		`{"id":"c1","address":"h","port":9300,"state":"up","since":"2026-11-26T07:00:00.000Z","seen":"2026-11-26T07:00:00.000Z","report":{` + reported + `}},` +
		`{"id":"stranger","address":"i","port":9301,"state":"lost"}]}],"programs":[{` + reported + `,"seen":"2026-11-26T07:00:00.000Z","silent":true}]}` + "\n"
	if a, text := ask(t, x.h, "GET", "/v1/relay", with(x.key("ANZ", keys.StatsRead))); a.StatusCode != 200 || text != want {
		t.Errorf("%d %s", a.StatusCode, text)
	}
	x.refused(403, CodeScopeMissing, "GET", "/v1/relay", with(x.key("ANZ", keys.UsersRead)))
	r.status = relay.Status{}
	if _, text := ask(t, x.h, "GET", "/v1/relay", with(x.key(""))); text != `{"network":"10.0.0.5:9200","version":"","clusters":[],"programs":[]}`+"\n" {
		t.Error(text)
	}
}

func TestARelayThatIsNotThereIsRefusedWithTheReason(t *testing.T) {
	x, r := relayed(t)
	r.fails = errors.New("connection refused")
	a, text := ask(t, x.h, "GET", "/v1/relay", with(x.key("")))
	if a.StatusCode != http.StatusBadGateway || a.Header.Get("Retry-After") == "" ||
		!strings.Contains(text, `"RELAY_UNREACHABLE"`) || !strings.Contains(text, "the network server 10.0.0.5:9200 could not be asked: connection refused") {
		t.Errorf("%d %s", a.StatusCode, text)
	}
	none := newObserved(t)
	none.refused(404, CodeRelayOff, "GET", "/v1/relay", with(none.key("")))
}

func TestTheDocumentSaysOfProgramsWhatItSaysOfReports(t *testing.T) {
	written, err := loaded(t).json()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]json.RawMessage }
		}
	}
	if err := json.Unmarshal(written, &d); err != nil {
		t.Fatal(err)
	}
	programs := d.Components.Schemas["RelayProgram"].Properties
	for name, property := range d.Components.Schemas["RelayReport"].Properties {
		if string(programs[name]) != string(property) {
			t.Errorf("%s: %s, not %s", name, programs[name], property)
		}
	}
}
