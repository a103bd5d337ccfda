package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/internal/link"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const row = `
domains:
  - {name: domain-01, urls: ["ws://127.0.0.1:1"]}
  - {name: domain-02, urls: ["ws://localhost:2", "ws://[::1]:2"]}
  - {name: perth, urls: ["wss://perth.example.org", "ws://127.0.0.1:3"]}
  - {name: eu-west, linkUser: EUWEST-7, urls: ["ws://127.0.0.1:4"]}
domainLinks: [{n1: domain-01, n2: domain-02}, {n1: domain-02, n2: perth}, {n1: domain-01, n2: eu-west}]
clientApps:
  - appName: ANZ
    appId: app-id-343
    masterUserId: ANZ-1
    authEnabled: false
    userDistributions: [{domainName: domain-01, from: 0, to: 9}, {domainName: domain-02, from: 10, to: 19}, {domainName: perth, from: 20, to: 29}, {domainName: eu-west, from: 30, to: 39}]
  - {appName: FREE, appId: free, authEnabled: false}
`

// knowing returns a node of domain-01 with settings and a description.
func knowing(t *testing.T, s config.Settings, yaml string) *node {
	t.Helper()
	n := &node{}
	n.settings.Store(&s)
	n.abroad = &abroad{node: n, self: "domain-01", known: make(chan struct{})}
	n.abroad.nameApps()
	if yaml == "" {
		return n
	}
	described, _, err := domains.Parse([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	n.abroad.see(described.WithVersion(17))
	return n
}

func TestWhereAMessageGoesNext(t *testing.T) {
	a := knowing(t, config.Settings{}, row).abroad
	for user, want := range map[wire.UserID]delivery.Hop{
		"ANZ-9":     {Local: true, Domain: "domain-01", Graph: 17},
		"ANZ-10":    {Domain: "domain-02", Link: "domain2-1", Graph: 17},
		"ANZ-29":    {Domain: "perth", Link: "domain2-1", Graph: 17},
		"ANZ-30":    {Domain: "eu-west", Link: "EUWEST-7", Graph: 17},
		"ANZ-40":    {Graph: 17}, // nobody knows
		"FREE-30":   {Local: true, Graph: 17},
		"OTHER-30":  {Local: true, Graph: 17},
		"domain2-1": {Local: true, Graph: 17},
	} {
		if got := a.Next(user); got != want {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
	if hop := knowing(t, config.Settings{}, "").abroad.Next("ANZ-10"); !hop.Local {
		t.Errorf("before there is a description: %+v", hop)
	}
	if n := testing.AllocsPerRun(100, func() { a.Next("ANZ-29") }); n != 0 {
		t.Errorf("a look-up takes %v allocations", n)
	}
}

func TestAUserIsAtHomeWhereHisNumberIs(t *testing.T) {
	a := knowing(t, config.Settings{}, row).abroad
	for _, test := range []struct {
		app    string
		number int64
		domain string
		local  bool
		url    string
	}{
		{"ANZ", 0, "domain-01", true, "ws://127.0.0.1:1/ws"},
		{"ANZ", 10, "domain-02", false, "ws://localhost:2/ws"},
		{"ANZ", 20, "perth", false, "wss://perth.example.org/ws"},
		{"ANZ", 40, "", false, ""},
		{"FREE", 30, "", true, ""},
	} {
		domain, local := a.home(test.app, test.number)
		if domain != test.domain || local != test.local || a.homeURL(domain) != test.url {
			t.Errorf("%s-%d: %q, %v, %q", test.app, test.number, domain, local, a.homeURL(domain))
		}
	}
}

func TestWhoIsALink(t *testing.T) {
	a := knowing(t, config.Settings{Apps: []config.App{{Name: "link_app"}}}, row).abroad
	for user, want := range map[wire.UserID]bool{
		"domain2-1": true, "link_perth-1": true, "domain99-1": true, // of a domain that was described once
		"EUWEST-7": true, "EUWEST-1": false,
		"domain2-2": false, "domain-1": false, "domainX-1": false, "ANZ-1": false, "link_app-1": false,
	} {
		if got := a.isLink(user); got != want {
			t.Errorf("%s: %v", user, got)
		}
	}
}

func TestALinkMayDoWithoutASecretWhereBothDomainsAreOnThisMachine(t *testing.T) {
	a := knowing(t, config.Settings{Links: config.Links{Secrets: map[string]config.Secret{"domain-02": "s"}}}, row).abroad
	if l, ok := a.link("domain2-1"); !ok || l != (apps.Link{Domain: "domain-02", Secret: "s", Loopback: true}) {
		t.Errorf("%+v, %v", l, ok)
	}
	if l, ok := a.link("link_perth-1"); ok { // no neighbour
		t.Errorf("%+v", l)
	}
	far := knowing(t, config.Settings{InsecureLinks: true}, strings.Replace(row, "domain-02, n2: perth", "domain-01, n2: perth", 1)).abroad
	if l, ok := far.link("link_perth-1"); !ok || l != (apps.Link{Domain: "perth", Open: true}) {
		t.Errorf("%+v, %v", l, ok)
	}
	missing := knowing(t, config.Settings{Links: config.Links{SecretFile: "/no/such/file"}}, row).abroad
	if l, ok := missing.link("domain2-1"); !ok || l.Err == nil {
		t.Errorf("%+v, %v", l, ok)
	}
}

func TestAppsOfTheNetworkAndOfTheSettingsGoTogether(t *testing.T) {
	n := knowing(t, config.Settings{}, row)
	list, passed := n.allApps(config.Settings{Apps: []config.App{
		{Name: "ANZ", ID: "app-id-343", Master: "ANZ-2", AuthEnabled: true, AuthURL: "http://localhost/auth", AllowApps: []string{"FREE", "GONE"}},
		{Name: "OWN", ID: "own", AllowApps: []string{"ANZ"}},
		{Name: "domain2", ID: "x"},
	}})
	var names []string
	for _, a := range list {
		names = append(names, fmt.Sprint(a.Name, a.AllowApps, a.AuthEnabled))
	}
	if want := []string{"ANZ[FREE] true", "OWN[ANZ] false", "FREE[] false"}; !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	var said []string
	for _, p := range passed {
		said = append(said, p.app)
	}
	if want := []string{"domain2", "ANZ", "ANZ"}; !slices.Equal(said, want) { // its name; another master; GONE
		t.Errorf("passed over %+v", passed)
	}
	if err := apps.Check(list); err != nil {
		t.Error(err)
	}
	if list, _ := knowing(t, config.Settings{}, "").allApps(config.Settings{}); len(list) != 0 {
		t.Errorf("without a description: %+v", list)
	}
}

// An app of the description with which nobody could sign in here, or that has the ID of
// one of the settings, costs the others nothing.
func TestABadAppOfTheNetworkIsPassedOver(t *testing.T) {
	n := knowing(t, config.Settings{}, strings.Replace(row, "clientApps:\n", "clientApps:\n  - {appName: SHOP, appId: shop}\n  - {appName: TWIN, appId: own, authEnabled: false}\n", 1))
	list, passed := n.allApps(config.Settings{Apps: []config.App{{Name: "OWN", ID: "own", AllowApps: []string{"SHOP"}}}})
	var names, said []string
	for _, a := range list {
		names = append(names, a.Name)
	}
	for _, p := range passed {
		said = append(said, p.app)
	}
	if slices.Contains(names, "SHOP") || slices.Contains(names, "TWIN") || !slices.Contains(names, "OWN") || !slices.Contains(names, "FREE") {
		t.Errorf("in effect are %q", names)
	}
	if want := []string{"SHOP", "TWIN", "OWN"}; !slices.Equal(said, want) { // the last for its allowApps
		t.Errorf("passed over %+v", passed)
	}
	if err := apps.Check(list); err != nil {
		t.Error(err)
	}
}

func TestLinksAreSpreadOverNodesEvenlyAndMoveAlone(t *testing.T) {
	nodes := []string{"a", "b", "c"}
	holder := func(nodes []string, neighbour string) (best string) {
		most := uint64(0)
		for _, n := range nodes {
			if sum := spread(n, neighbour); best == "" || sum > most {
				best, most = n, sum
			}
		}
		return best
	}
	count := map[string]int{}
	for i := range 300 {
		neighbour := fmt.Sprint("domain-", i)
		had := holder(nodes, neighbour)
		count[had]++
		if has := holder(nodes[:2], neighbour); had != "c" && has != had {
			t.Errorf("%s moved from %s to %s though c has gone", neighbour, had, has)
		}
	}
	for _, n := range nodes {
		if count[n] < 60 {
			t.Errorf("%v", count)
		}
	}
}

func TestWhatOtherNodesToldOfLinksCountsForAWhile(t *testing.T) {
	var told toldLinks
	now := time.Now()
	message, err := json.Marshal([]link.State{{Domain: "domain-02", Mine: true, Up: true, RoundTrip: 5 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	told.hear("other", message, now)
	told.hear("another", []byte("?"), now)
	if id, s := told.find("domain-02", now.Add(linksOld)); id != "other" || !s.Up || s.RoundTrip != 5*time.Millisecond {
		t.Errorf("%s, %+v", id, s)
	}
	if id, s := told.find("domain-02", now.Add(linksOld+1)); id != "" || s.Up {
		t.Errorf("%s, %+v", id, s)
	}
	told.hear("third", []byte("[]"), now.Add(linksOld+1))
	if len(told.by) != 1 {
		t.Errorf("%d nodes are remembered", len(told.by))
	}
}

func TestWhyANeighbourIsNotConnectedIsKnownOnAllNodesOfADomain(t *testing.T) {
	var here lostLinks
	here.note("domain-02", "it may not")
	here.note("domain-02", "it may not")
	mine, _ := here.find("domain-02")
	message, err := json.Marshal([]tellsOfLink{{State: link.State{Domain: "perth", Up: true}}, {Lost: &mine}})
	if err != nil {
		t.Fatal(err)
	}
	var there toldLinks
	now := time.Now()
	there.hear("other", message, now)
	if node, s := there.find("perth", now); node != "other" || !s.Up {
		t.Errorf("%s, %+v", node, s)
	}
	if node, s := there.find("domain-02", now); node != "" { // of the other direction nothing was told
		t.Errorf("%s, %+v", node, s)
	}
	node, last := there.findLost("domain-02", now)
	if node != "other" || last.Why != "it may not" || !last.Since.Equal(mine.Since) {
		t.Errorf("%s, %+v", node, last)
	}
	if _, old := there.findLost("domain-02", now.Add(time.Hour)); old.Why != "" {
		t.Errorf("after an hour %+v", old)
	}
	for at, want := range map[time.Duration]string{
		0: "it may not", time.Hour: "domain-02 is not connected to this domain; what was seen last: it may not",
	} {
		if got := last.says("domain-02", last.At.Add(at)); got != want {
			t.Errorf("after %s %q", at, got)
		}
	}
	if got := (lostLink{}).says("perth", now); got != "perth is not connected to this domain" {
		t.Errorf("%q", got)
	}
}

func TestASecretForALinkToADomainThatThereIsNotIsToldByName(t *testing.T) {
	n := knowing(t, config.Settings{Links: config.Links{Secrets: map[string]config.Secret{"domain-02": "s", "pert": "s"}}}, row)
	var said bytes.Buffer
	n.log = slog.New(slog.NewTextHandler(&said, nil))
	n.abroad.warnStrangers(n.abroad.inEffect())
	if text := said.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, "did you mean perth?") {
		t.Errorf("logged:\n%s", text)
	}
}
