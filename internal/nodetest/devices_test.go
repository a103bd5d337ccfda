package nodetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// devicesOn lets devices in at the simple door.
const devicesOn = demoApps + "matching: {simple: {enabled: true, access: open}}\n"

func TestDevicesAreMatchedByPlaceAtTheSimpleDoor(t *testing.T) {
	t.Parallel()
	onOneAndOnThree(t, devicesOn, []groundTest{
		{"near ones are matched and talk, and who is left is matched anew", devicesMeet},
		{"the nearest is taken", devicesTakeTheNearest},
		{"an ID that connects again takes over", devicesTakeOver},
		{"what they do is in the journal", devicesInTheJournal},
	})
}

// at connects one of the test's devices to a node, at a place of the test's own: tests
// are far from each other.
func (g ground) at(n int, name string, lat, lon float64) *Device {
	g.Helper()
	return ConnectDevice(g.T, g.Nodes[n], g.name(name), lat+float64(g.first), lon)
}

// waiting waits until so many devices wait, as those know who keep pools: a device is
// told that it is connected before that.
func (g ground) waiting(n int) {
	g.Helper()
	Eventually(g.T, fmt.Sprint(n, " devices wait"), func() bool {
		sum := 0.0
		for i, node := range g.Nodes {
			if !slices.Contains(g.Nodes[:i], node) {
				sum += node.Metric("switchboard_match_waiting")
			}
		}
		return sum == float64(n)
	})
}

// name is the name of one of the test's devices.
func (g ground) name(name string) string { return fmt.Sprintf("%s-%d", name, g.first) }

func (g ground) matched(name string) string {
	return fmt.Sprintf("I matched with device '%s'!", g.name(name))
}
func (g ground) left(name string) string { return fmt.Sprintf("device '%s' left", g.name(name)) }
func (g ground) says(name, text string) string {
	return fmt.Sprintf("device %s says: %s", g.name(name), text)
}

func devicesMeet(g ground) {
	g.waiting(0) // those of other tests are gone
	a := g.at(0, "a", 1, 1)
	g.waiting(1)
	b := g.at(1, "b", 1, 3)
	g.waiting(2)
	c := g.at(2, "c", 1, 2) // as near to b; a has waited for longer
	a.Expect(g.matched("c"))
	c.Expect(g.matched("a"))
	a.Say("ciao")
	c.Say("ciao tu")
	c.Expect(g.says("a", "ciao"))
	a.Expect(g.says("c", "ciao tu"))
	b.Say("is anybody there?") // nobody is
	c.Close()
	a.Expect(g.left("c"))
	g.waiting(2)
	d := g.at(2, "d", 1, 1.5) // too far from b: 1.5
	d.Expect(g.matched("a"))
	a.Expect(g.matched("d"))
	a.Abort()
	d.Expect(g.left("a"))
	g.waiting(2)
	e := g.at(0, "e", 1, 2.5)
	e.Expect(g.matched("b"))
	b.Expect(g.matched("e")) // and nothing before
	f := g.at(1, "f", 1, 1.5)
	d.Expect(g.matched("f"))
	f.Expect(g.matched("d"))
}

func devicesTakeTheNearest(g ground) {
	g.waiting(0)
	far, near := g.at(0, "far", 0, 1.3), g.at(1, "near", 0, -0.5)
	g.waiting(2)
	g.at(2, "new", 0, 0).Expect(g.matched("near"))
	near.Expect(g.matched("new"))
	g.at(2, "newer", 0, 0).Expect(g.matched("far"))
	far.Expect(g.matched("newer"))
}

func devicesTakeOver(g ground) {
	a, b := g.at(0, "a", 1, 1), g.at(1, "b", 1, 1)
	a.Expect(g.matched("b"))
	b.Expect(g.matched("a"))
	again := g.at(2, "a", 1, 1)
	b.Expect(g.left("a"), g.matched("a"))
	again.Expect(g.matched("b"))
	if code := a.CloseCode(); code != 4009 {
		g.Errorf("the older connection was closed with %d", code)
	}
	b.Say("still there?")
	again.Expect(g.says("b", "still there?"))
	// One that waits is taken over, too.
	waits := g.at(0, "w", 5, 5)
	g.waiting(1) // or it might get to the owner after the one that is to take over
	g.at(1, "w", 5, 5)
	if code := waits.CloseCode(); code != 4009 {
		g.Errorf("the older connection was closed with %d", code)
	}
	g.at(2, "x", 5, 5).Expect(g.matched("w"))
}

func devicesInTheJournal(g ground) {
	key := g.adminKey()
	state := func(name string) (s struct{ ConnectionsOpen, BytesSent int }) {
		a := g.Nodes[1].Call("GET", "/device/state/"+g.name(name), key, "")
		if a.Status == http.StatusOK {
			if err := json.Unmarshal([]byte(a.Body), &s); err != nil {
				g.Fatal(err)
			}
		}
		return s
	}
	a, b := g.at(0, "a", 1, 1), g.at(1, "b", 1, 1)
	a.Expect(g.matched("b"))
	b.Expect(g.matched("a"))
	a.Say("ciao")
	a.Say("è")
	b.Expect(g.says("a", "ciao"), g.says("a", "è"))
	Eventually(g.T, "the state has what was sent", func() bool { s := state("a"); return s.ConnectionsOpen == 1 && s.BytesSent == 6 })
	a.Close()
	b.Expect(g.left("a"))
	Eventually(g.T, "the state has the end", func() bool { s := state("a"); return s.ConnectionsOpen == 0 && s.BytesSent == 6 })
	counts := map[string]int{}
	Eventually(g.T, "all that happened is in the journal", func() bool {
		clear(counts)
		for _, name := range []string{"a", "b"} {
			page := g.Nodes[2].Call("GET", "/v1/journal?device="+g.name(name), key, "").Body
			for _, kind := range []string{"connectionsOpen", "connectionsClosed", "matched", "unmatched", "bytesSent", "bytesReceived"} {
				counts[name+" "+kind] = strings.Count(page, `"type":"`+kind+`"`)
			}
		}
		return counts["a unmatched"] == 1 && counts["b unmatched"] == 1 && counts["b bytesReceived"] >= 1
	})
	for what, want := range map[string]int{"a connectionsOpen": 1, "a connectionsClosed": 1, "b connectionsClosed": 0, "a matched": 1, "b matched": 1, "b bytesSent": 0} {
		if counts[what] != want {
			g.Errorf("%s stands %d times in the journal, not %d", what, counts[what], want)
		}
	}
}

func TestWhatADeviceAsksWrongIsRefusedBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	s := startWith(t, devicesOn)
	long := strings.Repeat("x", 129)
	for _, query := range []string{
		"", "id=a", "id=a&lat=1", "id=a&lon=1", "lat=1&lon=1", "id=&lat=1&lon=1", "id=" + long + "&lat=1&lon=1", "id=%ff&lat=1&lon=1", "id=a%0ab&lat=1&lon=1",
		"id=a&lat=&lon=1", "id=a&lat=x&lon=1", "id=a&lat=1&lon=1,5", "id=a&lat=NaN&lon=1", "id=a&lat=Inf&lon=1", "id=a&lat=1e10&lon=1", "id=a&lat=1&lon=-1e400",
		"id=a&id=b&lat=1&lon=1", "id=a&lat=1&lat=2&lon=1", "id=a&lat=1_0&lon=1", "id=a&lat=0x1p4&lon=1", "id=a&lat=1&lon=1&radius=5",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, status, err := TryDevice(t, s, q, nil); err == nil || status != http.StatusBadRequest {
			t.Errorf("%q: status %d, %v", query, status, err)
		}
	}
	wantCode(t, "a wrong place", atDoor(s, "id=a&lat=1&lon=x", ""), http.StatusBadRequest, "INVALID_REQUEST")
	if a := atDoor(s, "id=a&lat=1&lon=x", ""); a.Field("field") != "lon" || a.Field("detail") != "lon has to be a number from -1e9 to 1e9" {
		t.Errorf("a wrong place: %s", a.Body)
	}
	ConnectDevice(t, s, long[:128], -1e9, 1e9)
	ConnectDevice(t, s, "a's ' \"name\" & more", 0, 0)
	wantCode(t, "without a handshake", s.Call("GET", "/device/connect?id=a&lat=1&lon=1", "", ""), http.StatusUpgradeRequired, "UPGRADE_REQUIRED")
	wantCode(t, "a wrong place, without a handshake", s.Call("GET", "/device/connect?id=a&lat=1&lon=x", "", ""), http.StatusBadRequest, "INVALID_REQUEST")
	page := s.Call("GET", "/device/connect?id=a&lat=1&lon=1", "", "", "Origin", "https://evil.example")
	if wantCode(t, "a page of another origin", page, http.StatusForbidden, "ORIGIN_REFUSED"); !strings.Contains(page.Field("detail"), "the setting origins") {
		t.Errorf("a page of another origin: %s", page.Body)
	}
	if a := s.Call("POST", "/device/connect?id=a&lat=1&lon=1", "", ""); a.Status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.Status)
	}
}

// atDoor asks to be let in at the simple door, and returns how that is refused.
func atDoor(s *Server, query, key string) Answer {
	return s.Call("GET", "/device/connect?"+query, key, "", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

func TestTheSimpleDoorIsForWhomItsSettingLetsIn(t *testing.T) {
	t.Parallel()
	place := url.Values{"id": {"ANZ-7"}, "lat": {"1"}, "lon": {"1"}}
	with := func(name, value string) url.Values {
		q := url.Values{name: {value}}
		for k, v := range place {
			q[k] = v
		}
		return q
	}
	wants := func(t *testing.T, s *Server, what string, q url.Values, header http.Header, want int) {
		t.Helper()
		d, status, err := TryDevice(t, s, q, header)
		if status != want {
			t.Errorf("%s: status %d, %v; not %d", what, status, err, want)
		}
		if d != nil {
			d.Abort()
		}
	}
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		for text, setting := range map[string]string{
			"": "the setting matching.simple.enabled lets",
			"matching: {enabled: false, simple: {enabled: true}}\n":  "the setting matching.enabled turns",
			"matching: {enabled: false, simple: {enabled: false}}\n": "the settings matching.enabled and matching.simple.enabled let",
		} {
			s := startWith(t, demoApps+text)
			wants(t, s, "the door is off", place, nil, http.StatusNotFound)
			if a := atDoor(s, place.Encode(), ""); !strings.Contains(a.Field("detail"), setting) {
				t.Errorf("%s: %s", text, a.Body)
			}
		}
	})
	t.Run("keys", func(t *testing.T) {
		t.Parallel()
		s := startWith(t, demoApps+"matching: {simple: {enabled: true}}\n")
		_, good := s.NewKey(`{"admin":true}`)
		_, reads := s.NewKey(`{"app":"ANZ","scopes":["stats:read"]}`)
		wants(t, s, "no key", place, nil, http.StatusUnauthorized)
		wants(t, s, "a wrong key", with("auth", "sb_x_y"), nil, http.StatusUnauthorized)
		wants(t, s, "a key without the scope", with("auth", reads), nil, http.StatusForbidden)
		for key, code := range map[string]string{"": "AUTH_REQUIRED", "hello": "KEY_INVALID", good + "a": "KEY_INVALID", good[:len(good)-2]: "KEY_INVALID", reads: "SCOPE_MISSING"} {
			if a := atDoor(s, place.Encode(), key); a.Code() != code || a.Status == http.StatusUnauthorized && a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("with the key %q: %d %s", key, a.Status, a.Body)
			}
		}
		if a := atDoor(s, place.Encode(), reads); a.Field("scope") != "messages:send" {
			t.Errorf("a key without the scope: %s", a.Body)
		}
		for key, code := range map[string]string{"": "AUTH_REQUIRED", reads: "SCOPE_MISSING", good: "UPGRADE_REQUIRED"} {
			if a := s.Call("GET", "/device/connect?"+place.Encode(), key, ""); a.Code() != code {
				t.Errorf("without a handshake, with the key %q: %d %s", key, a.Status, a.Body)
			}
		}
		wants(t, s, "a key in the URL", with("auth", good), nil, http.StatusSwitchingProtocols)
		wants(t, s, "a key in the header", place, http.Header{"Authorization": {"Bearer " + good}}, http.StatusSwitchingProtocols)
	})
	t.Run("users", func(t *testing.T) {
		t.Parallel()
		s := startWith(t, demoApps+"matching: {simple: {enabled: true, access: jwt}}\n")
		wants(t, s, "no appId", place, nil, http.StatusBadRequest)
		if a := atDoor(s, place.Encode(), ""); a.Code() != "INVALID_REQUEST" || a.Field("field") != "appId" || !strings.Contains(a.Field("detail"), "appId is needed") {
			t.Errorf("no appId: %s", a.Body)
		}
		wants(t, s, "its app lets it in", with("appId", "app-id-343"), nil, http.StatusSwitchingProtocols)
		_, key := s.NewKey(`{"app":"ANZ","scopes":["journal:read"]}`)
		Eventually(t, "its app's key sees what it did", func() bool {
			return s.Call("GET", "/v1/journal/devices/"+place.Get("id"), key, "").Field("opened") == "1"
		})
		q := with("appId", "app-id-343")
		q.Set("id", "no user")
		wants(t, s, "no user ID", q, nil, http.StatusBadRequest)
		wantCode(t, "no user ID", atDoor(s, q.Encode(), ""), http.StatusBadRequest, "INVALID_REQUEST")
		wantCode(t, "another app's ID", atDoor(s, with("appId", "other").Encode(), ""), http.StatusUnauthorized, "WRONG_APP_ID")
	})
}

// The names of devices, and who is near, are each app's own; so is what the journal has.
func TestKeysOfAppsKeepTheirDevicesApart(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps+"matching: {simple: {enabled: true}}\n")
	keys := map[string]string{}
	enter := func(app, id string) *Device {
		d, status, err := TryDevice(t, s, url.Values{"id": {id}, "lat": {"1"}, "lon": {"1"}, "auth": {keys[app]}}, nil)
		if err != nil {
			t.Fatalf("%s of %s: status %d, %v", id, app, status, err)
		}
		t.Cleanup(d.Abort)
		d.Next()
		return d
	}
	apps := []string{"ANZ", "SHOP"}
	for _, app := range apps {
		_, keys[app] = s.NewKey(`{"app":"` + app + `","scopes":["messages:send","journal:read"]}`)
	}
	anz, shop := enter("ANZ", "a"), enter("SHOP", "a")
	enter("ANZ", "b").Expect("I matched with device 'a'!")
	enter("SHOP", "c").Expect("I matched with device 'a'!")
	anz.Expect("I matched with device 'b'!")
	shop.Expect("I matched with device 'c'!")
	for _, app := range apps {
		Eventually(t, "the app's key sees what its own device did", func() bool {
			page := s.Call("GET", "/v1/journal?device=a", keys[app], "").Body
			return strings.Count(page, `"type":"connectionsOpen"`) == 1 && strings.Count(page, `"type":"matched"`) == 1 && !strings.Contains(page, `"connectionsClosed"`)
		})
	}
}

func TestHowFarDevicesMayBeApartIsASetting(t *testing.T) {
	t.Parallel()
	s := startWith(t, demoApps+"matching: {simple: {enabled: true, access: open, maxDistance: 2.5}}\n")
	a := ConnectDevice(t, s, "a", 1, 1)
	ConnectDevice(t, s, "far", 1, 3.5)
	b := ConnectDevice(t, s, "b", 1, 3.4) // the first that is near enough to far
	b.Expect("I matched with device 'far'!")
	ConnectDevice(t, s, "c", 1, 3).Expect("I matched with device 'a'!")
	a.Expect("I matched with device 'c'!")
}

func TestDevicesAreToldToGoWhenTheServerStops(t *testing.T) {
	Alone(t, ReasonEnds)
	t.Parallel()
	s := Start(t) // the demo, in which the door is open
	a, b := ConnectDevice(t, s, "a", 1, 1), ConnectDevice(t, s, "b", 1, 1)
	a.Expect("I matched with device 'b'!")
	b.Expect("I matched with device 'a'!")
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
	for _, d := range []*Device{a, b} {
		if code := d.CloseCode(); code != 1012 {
			t.Errorf("%s was closed with %d", d.Name, code)
		}
	}
	s.Start()
	ConnectDevice(t, s, "a", 1, 1)
	ConnectDevice(t, s, "b", 1, 1).Expect("I matched with device 'a'!")
}

func TestADeviceThatDoesNotReadLosesWhatIsSaidToItAndNothingElse(t *testing.T) {
	t.Parallel()
	s := startWith(t, demoApps+"matching: {simple: {enabled: true, access: open, queue: 16}}\n")
	a, b := ConnectDevice(t, s, "a", 1, 1), ConnectDevice(t, s, "b", 1, 1)
	a.Expect("I matched with device 'b'!")
	dropped := `switchboard_devices_dropped_total{reason="full"}`
	text := strings.Repeat("x", 60_000)
	for i := 0; s.Metric(dropped) == 0; i++ { // b takes 100 lines, and what the systems between hold
		if i > 10_000 {
			t.Fatal("nothing was dropped")
		}
		a.Say(text)
	}
	b.Expect("I matched with device 'a'!", "device a says: "+text)
	c, d := ConnectDevice(t, s, "c", 9, 9), ConnectDevice(t, s, "d", 9, 9)
	c.Expect("I matched with device 'd'!")
	c.Say("hello")
	d.Expect("I matched with device 'c'!", "device c says: hello")
}
