package nodetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// journalGround are tests of the journal, of devices of their own.
func journalGround() []groundTest {
	return []groundTest{
		{"what is answered is in the state on every node", stateFollowsEvents},
		{"a device without events has no state", noEventsNoState},
		{"several events at once are stored in order, and once", severalEvents},
		{"an ID is one event's of its device", sameIDs},
		{"the journal is read in pages", pagesOfTheJournal},
		{"the journal is watched from any place", streamOfTheJournal},
		{"an app's key sees its own events", eventsOfApps},
		{"states made anew are the same", statesMadeAnew},
	}
}

func TestTheJournalHoldsWhatHappenedToDevices(t *testing.T) {
	t.Parallel()
	onOneAndOnThree(t, anyApps, journalGround())
}

// device is the name of one of the test's own devices.
func (g ground) device(n int) string { return fmt.Sprintf("device-%d-%d", g.first, n) }

// adminKey makes an admin key that every node knows.
func (g ground) adminKey() string {
	g.Helper()
	_, key := g.Nodes[0].NewKey(`{"admin":true}`)
	for _, n := range g.Nodes {
		Eventually(g.T, "every node knows the key", func() bool { return n.Call("GET", "/v1/whoami", key, "").Status == 200 })
	}
	return key
}

func wantAnswer(t *testing.T, what string, a Answer, status int, body string) {
	t.Helper()
	if a.Status != status || body != "" && strings.TrimSpace(a.Body) != body {
		t.Fatalf("%s: %d %s\nwant %d %s", what, a.Status, a.Body, status, body)
	}
}

// write writes one event of a device on a node.
func (g ground) write(n int, key, device, kind string, amount int) {
	g.Helper()
	body := fmt.Sprintf(`{"deviceId":%q,"eventType":%q,"amount":%d}`, device, kind, amount)
	wantAnswer(g.T, "write", g.Nodes[n%len(g.Nodes)].Call("POST", "/device/event", key, body), 201, "")
}

func stateFollowsEvents(g ground) {
	key, d := g.adminKey(), g.device(1)
	sent, open := 0, 0
	for i := range 12 {
		g.write(i, key, d, "bytesSent", i)
		g.write(i, key, d, "connectionsOpen", 2)
		g.write(i, key, d, "connectionsClosed", 1)
		sent, open = sent+i, open+1
		want := fmt.Sprintf(`{"deviceId":%q,"connectionsOpen":%d,"bytesSent":%d}`, d, open, sent)
		for _, n := range g.Nodes {
			wantAnswer(g.T, "state", n.Call("GET", "/device/state/"+d, key, ""), 200, want)
		}
	}
	g.write(0, key, d, "bytesReceived", 5)
	g.write(0, key, d, "matched", 1)
	g.write(0, key, d, "unmatched", 1)
	a := g.Nodes[0].Call("GET", "/v1/journal/devices/"+d, key, "")
	for field, want := range map[string]string{
		"opened": "24", "closed": "12", "connectionsOpen": "12", "matched": "1", "unmatched": "1", "bytesReceived": "5", "bytesSent": "66", "events": "39",
	} {
		if a.Field(field) != want {
			g.Errorf("%s is %s, not %s: %s", field, a.Field(field), want, a.Body)
		}
	}
}

func noEventsNoState(g ground) {
	key := g.adminKey()
	for _, path := range []string{"/device/state/", "/v1/journal/devices/"} {
		wantCode(g.T, path, g.Nodes[0].Call("GET", path+g.device(1), key, ""), 404, "NOT_FOUND")
	}
	long := strings.Repeat("x", 129)
	for body, field := range map[string]string{
		`{"deviceId":"","eventType":"matched"}`:                         "deviceId",
		`{"deviceId":"` + long + `","eventType":"matched"}`:             "deviceId",
		`{"deviceId":"a\u0007","eventType":"matched"}`:                  "deviceId",
		`{"deviceId":"a","eventType":"traffic"}`:                        "eventType",
		`{"deviceId":"a","eventType":"Matched"}`:                        "eventType",
		`{"deviceId":"a","eventType":"bytesSent"}`:                      "amount",
		`{"deviceId":"a","eventType":"bytesSent","amount":-1}`:          "amount",
		`{"deviceId":"a","eventType":"bytesSent","amount":1.5}`:         "amount",
		`{"deviceId":"a","eventType":"bytesSent","amount":"4"}`:         "amount",
		`{"deviceId":"a","eventType":"matched","amount":1,"more":true}`: "more",
		`{"eventType":"matched"}`:                                       "deviceId",
		`{"deviceId":7,"eventType":"matched"}`:                          "deviceId",
	} {
		a := g.Nodes[0].Call("POST", "/device/event", key, body)
		if a.Status != 400 || a.Field("field") != field {
			g.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
	for query, field := range map[string]string{
		"?limit=0": "limit", "?limit=x": "limit", "?type=none": "type", "?from=yesterday": "from", "?after=x": "after", "?after=zz-1": "after", "?after=zz-1-1": "after", "/stream?after=zz-1-1": "after", "?device=" + long: "device", "?cursor=x": "cursor",
	} {
		a := g.Nodes[0].Call("GET", "/v1/journal"+query, key, "")
		if a.Status != 400 || a.Field("field") != field {
			g.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
	for body, field := range map[string]string{
		`{"events":[]}`: "events",
		`{"events":[{"type":"matched","device":"a"},{"type":"matched","device":""}]}`:  "events[1].device",
		`{"events":[{"type":"matched","device":""}]}`:                                  "events[0].device",
		`{"events":[{"type":"matched","device":"a","id":"a b"}]}`:                      "events[0].id",
		`{"events":[{"type":"bytesSent","device":"a"}]}`:                               "events[0].amount",
		`{"events":[{"type":"matched","device":"a","at":"2999-01-01T00:00:00Z"}]}`:     "events[0].at",
		`{"events":[{"type":"matched","device":"a","at":"1970-01-01T00:00:00Z"}]}`:     "events[0].at",
		`{"events":[{"type":"matched","device":"a","stored":"2026-01-01T00:00:00Z"}]}`: "events[0].stored",
		`{"events":[{"type":"matched","device":"a","amount":9007199254740993}]}`:       "events[0].amount",
	} {
		a := g.Nodes[0].Call("POST", "/v1/journal", key, body)
		if a.Status != 400 || a.Field("field") != field {
			g.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
}

// journaled is an event as the journal shows it.
type journaled struct {
	ID, At, Stored, Type, Device, App string
	Amount                            int64
}

type journalPage struct {
	Events     []journaled
	UpTo, Next string
}

// read reads a page of the journal.
func (g ground) read(n int, key, query string) (p journalPage) {
	g.Helper()
	a := g.Nodes[n%len(g.Nodes)].Call("GET", "/v1/journal?"+query, key, "")
	if err := json.Unmarshal([]byte(a.Body), &p); a.Status != 200 || err != nil {
		g.Fatalf("%s: %d %s", query, a.Status, a.Body)
	}
	return p
}

// all reads all pages, until there are so many events.
func (g ground) all(key, query string, want int) (list []journaled) {
	g.Helper()
	Eventually(g.T, fmt.Sprint(want, " events are read"), func() bool { // a copy may lag for a moment
		list = nil
		for i, after := 0, ""; ; i++ {
			p := g.read(i, key, query+after)
			list = append(list, p.Events...)
			if p.Next == "" {
				return len(list) >= want
			}
			after = "&after=" + p.Next
		}
	})
	if len(list) != want {
		g.Fatalf("there are %d events, not %d", len(list), want)
	}
	return list
}

func severalEvents(g ground) {
	key := g.adminKey()
	var events []string
	for i := range 100 {
		events = append(events, fmt.Sprintf(`{"id":"%s-%d","at":"2026-01-02T03:04:05.%03dZ","type":"bytesSent","device":"%s","amount":%d}`, g.device(0), i, i, g.device(i%3), i))
	}
	body := `{"events":[` + strings.Join(events, ",") + `]}`
	for i := range g.Nodes { // it is sent again, to another node
		a := g.Nodes[i].Call("POST", "/v1/journal", key, body)
		if a.Status != 201 || !strings.HasPrefix(a.Body, fmt.Sprintf(`{"ids":["%s-0","%s-1",`, g.device(0), g.device(0))) {
			g.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	for d := range 3 {
		want := 33
		if d == 0 {
			want = 34
		}
		for i, e := range g.all(key, "device="+g.device(d), want) {
			if n := 3*i + d; e.ID != fmt.Sprintf("%s-%d", g.device(0), n) || e.Amount != int64(n) || e.At != fmt.Sprintf("2026-01-02T03:04:05.%03dZ", n) || e.Stored <= e.At {
				g.Fatalf("event %d of device %d is %+v", i, d, e)
			}
		}
	}
	if a := g.Nodes[1].Call("GET", "/v1/journal/devices/"+g.device(1), key, ""); a.Field("events") != "33" || a.Field("lastAt") != "2026-01-02T03:04:05.097Z" {
		g.Error(a.Body)
	}
}

func sameIDs(g ground) {
	key := g.adminKey()
	event := func(id string, device, amount int) string {
		return fmt.Sprintf(`{"id":%q,"type":"bytesSent","device":%q,"amount":%d}`, id, g.device(device), amount)
	}
	add := func(n int, events ...string) Answer {
		return g.Nodes[n].Call("POST", "/v1/journal", key, `{"events":[`+strings.Join(events, ",")+`]}`)
	}
	wantAnswer(g.T, "write", add(0, event("a", 1, 4), event("a", 2, 5)), 201, `{"ids":["a","a"]}`)
	a := add(1, event("a", 1, 4), event("a", 2, 6), event("b", 2, 1))
	wantCode(g.T, "another event", a, 409, "CONFLICT")
	if a.Field("field") != "events[1].id" || a.Field("conflicts") != "[1]" {
		g.Error(a.Body)
	}
	for d, want := range map[int]string{1: "4", 2: "6"} {
		if s := g.Nodes[2].Call("GET", "/v1/journal/devices/"+g.device(d), key, ""); s.Field("bytesSent") != want {
			g.Errorf("device %d: %s", d, s.Body)
		}
	}
}

func TestARepeatedRequestWithItsKeyCountsOnceAfterARestart(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	s := startWith(t, plainApp)
	_, key := s.NewKey(`{"admin":true}`)
	const one, two = `{"deviceId":"a","eventType":"bytesSent","amount":4}`, `{"events":[{"type":"bytesSent","device":"b","amount":1},{"type":"bytesSent","device":"b","amount":1}]}`
	write := func(path, body, once string) Answer { return s.Call("POST", path, key, body, "Idempotency-Key", once) }
	first := write("/device/event", one, "1")
	wantAnswer(t, "write", first, 201, "")
	wantAnswer(t, "write", write("/v1/journal", two, "2"), 201, "")
	s.Stop()
	s.Start()
	wantAnswer(t, "again", write("/v1/journal", two, "2"), 201, "")
	if again := write("/device/event", one, "1"); again.Status != 201 || again.Field("id") != first.Field("id") {
		t.Errorf("first %s\nthen %s", first.Body, again.Body)
	}
	for device, want := range map[string]string{"a": "4", "b": "2"} {
		if a := s.Call("GET", "/v1/journal/devices/"+device, key, ""); a.Field("bytesSent") != want {
			t.Errorf("%s: %s", device, a.Body)
		}
	}
	s.Stop()
	s.Start()
	wantCode(t, "another request with the key", write("/device/event", strings.Replace(one, "4", "5", 1), "1"), 422, "IDEMPOTENCY_MISMATCH")
}

func pagesOfTheJournal(g ground) {
	key := g.adminKey()
	for i := range 20 {
		g.write(i, key, g.device(i%2), []string{"bytesSent", "bytesReceived"}[i/2%2], i)
	}
	mine := "device=" + g.device(1)
	if all := g.all(key, mine+"&limit=3", 10); all[0].Amount != 1 || all[9].Amount != 19 {
		g.Errorf("they are %+v", all)
	}
	for i, e := range g.all(key, mine+"&type=bytesReceived&limit=1", 5) {
		if e.Amount != int64(4*i+3) || e.Type != "bytesReceived" {
			g.Errorf("event %d is %+v", i, e)
		}
	}
	all := g.all(key, mine, 10)
	if later := g.all(key, mine+"&from="+all[4].At, 6); later[0].ID != all[4].ID {
		g.Errorf("from a time on there are %+v", later)
	}
	if earlier := g.all(key, mine+"&to="+all[4].At, 4); earlier[3].ID != all[3].ID {
		g.Errorf("before a time there are %+v", earlier)
	}
	end := g.read(0, key, mine)
	g.write(0, key, g.device(1), "bytesSent", 99)
	if more := g.all(key, mine+"&after="+end.UpTo, 1); more[0].Amount != 99 {
		g.Errorf("behind the end there is %+v", more)
	}
}

// follow opens a stream of the journal.
func (g ground) follow(n int, key, query, last string) *EventReader {
	g.Helper()
	ctx, cancel := context.WithCancel(g.Context())
	g.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+g.Nodes[n].Addr+"/v1/journal/stream?"+query, nil)
	if err != nil {
		g.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != 200 {
		g.Fatal(res, err)
	}
	g.Cleanup(func() { _ = res.Body.Close() })
	return NewEventReader(res.Body)
}

// next reads an event of a stream.
func (g ground) next(r *EventReader) (e journaled, id string) {
	g.Helper()
	event, err := r.Next()
	if err != nil {
		g.Fatal(err)
	}
	if err := json.Unmarshal([]byte(event.Data), &e); err != nil || event.Event != "journal" {
		g.Fatal(event, err)
	}
	return e, event.ID
}

func streamOfTheJournal(g ground) {
	key := g.adminKey()
	for _, end := range []string{"/", "//b", "/../b"} {
		g.write(0, key, g.device(3)+end, "matched", 1)
		if a := g.Nodes[1].Call("GET", "/v1/journal/devices/"+url.PathEscape(g.device(3)+end), key, ""); a.Field("matched") != "1" {
			g.Errorf("of %s there is %d %s", end, a.Status, a.Body)
		}
	}
	if a := g.Nodes[0].Call("POST", "/device/event", key, `{"deviceId":"..","eventType":"matched","amount":1}`); a.Status != 400 {
		g.Errorf("a device .. is answered %d %s", a.Status, a.Body)
	}
	g.write(0, key, g.device(1), "matched", 1)
	place := g.all(key, "device="+g.device(1), 1)
	upTo := g.read(0, key, "device="+g.device(1)).UpTo
	live := g.follow(1, key, "device="+g.device(1)+"&after="+upTo, "")
	for i := range 10 {
		g.write(i, key, g.device(1+i%2), "bytesSent", i)
	}
	var ids []string
	for i := range 5 {
		e, id := g.next(live)
		if e.Amount != int64(2*i) || e.Device != g.device(1) || e.ID == place[0].ID {
			g.Fatalf("event %d is %+v", i, e)
		}
		ids = append(ids, id)
	}
	quiet := g.read(0, key, "device="+g.device(1)+"&from="+time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339)).UpTo
	if e, _ := g.next(g.follow(0, key, "device="+g.device(1)+"&after=0-0-0", "")); e.ID != place[0].ID {
		g.Errorf("a stream from the beginning begins with %+v", e)
	}
	if quiet == "0-0-0" {
		g.Errorf("a page of what is to come ends at the beginning")
	}
	again := g.follow(2, key, "device="+g.device(1), ids[2])
	for i := 3; i < 5; i++ {
		if e, id := g.next(again); e.Amount != int64(2*i) || id != ids[i] {
			g.Fatalf("event %d is %+v at %s", i, e, id)
		}
	}
}

func eventsOfApps(g ground) {
	keys := map[string]string{}
	for _, app := range []string{"ANZ", "SHOP"} {
		_, key := g.Nodes[0].NewKey(`{"app":"` + app + `","scopes":["journal:read","journal:write"]}`)
		for _, n := range g.Nodes {
			Eventually(g.T, "every node knows the key", func() bool { return n.Call("GET", "/v1/whoami", key, "").Status == 200 })
		}
		keys[app] = key
	}
	d := g.device(1)
	g.write(0, keys["ANZ"], d, "bytesSent", 10)
	wantCode(g.T, "the other app", g.Nodes[0].Call("GET", "/device/state/"+d, keys["SHOP"], ""), 404, "NOT_FOUND")
	g.write(1, keys["SHOP"], d, "bytesSent", 1)
	for app, want := range map[string]int{"ANZ": 10, "SHOP": 1} {
		a := g.Nodes[2].Call("GET", "/device/state/"+d, keys[app], "")
		wantAnswer(g.T, app, a, 200, fmt.Sprintf(`{"deviceId":%q,"connectionsOpen":0,"bytesSent":%d}`, d, want))
		if list := g.all(keys[app], "device="+d, 1); list[0].App != app {
			g.Errorf("%s sees %+v", app, list)
		}
	}
	a := g.Nodes[2].Call("GET", "/device/state/"+d, g.adminKey(), "")
	wantAnswer(g.T, "the operator", a, 200, fmt.Sprintf(`{"deviceId":%q,"connectionsOpen":0,"bytesSent":11}`, d))
	wantCode(g.T, "for the other app", g.Nodes[0].Call("POST", "/device/event?app=SHOP", keys["ANZ"], `{"deviceId":"a","eventType":"matched"}`), 403, "FORBIDDEN")
}

func statesMadeAnew(g ground) {
	key := g.adminKey()
	states := func() (all string) {
		for d := range 20 {
			all += g.Nodes[d%3].Call("GET", "/v1/journal/devices/"+g.device(d), key, "").Body
		}
		return all
	}
	for i := range 60 {
		g.write(i, key, g.device(i%20), []string{"bytesSent", "connectionsOpen", "matched"}[i%3], i)
	}
	before := states()
	_, apps := g.Nodes[1].NewKey(`{"app":"ANZ","scopes":["journal:write"]}`)
	wantCode(g.T, "an app's key", g.Nodes[1].Call("POST", "/v1/journal/rebuild", apps, ""), 403, "FORBIDDEN")
	a := g.Nodes[1].Call("POST", "/v1/journal/rebuild", key, "")
	if a.Status != 200 || a.Field("changed") != "0" || a.Field("events") == "0" || a.Field("devices") == "0" {
		g.Fatalf("%d %s", a.Status, a.Body)
	}
	if after := states(); after != before || strings.Count(after, `"events":3,`) != 20 {
		g.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

func TestTheDemosDevicesNeedNoKey(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonDemo)
	s := Start(t)
	wantAnswer(t, "write", s.Call("POST", "/device/event", "", `{"deviceId":"a","eventType":"bytesSent","amount":4}`), 201, "")
	wantAnswer(t, "state", s.Call("GET", "/device/state/a", "", ""), 200, `{"deviceId":"a","connectionsOpen":0,"bytesSent":4}`)
	wantCode(t, "a bad key", s.Call("GET", "/device/state/a", "letmein", ""), 401, "KEY_INVALID")
	wantCode(t, "the journal itself", s.Call("GET", "/v1/journal", "", ""), 401, "AUTH_REQUIRED")
}

func TestWhatTheDiskHasNoRoomForIsRefusedAndStatesAreShown(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	s := startWith(t, plainApp)
	_, key := s.NewKey(`{"admin":true}`)
	wantAnswer(t, "write", s.Call("POST", "/device/event", key, `{"deviceId":"a","eventType":"matched"}`), 201, "")
	s.Stop()
	s.Args = append(s.Args, "--set", "limits.minDiskFree=1024GiB")
	s.Start()
	wantCode(t, "write", s.Call("POST", "/device/event", key, `{"deviceId":"a","eventType":"matched"}`), 507, "STORE_FULL")
	if a := s.Call("GET", "/v1/journal/devices/a", key, ""); a.Field("matched") != "1" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestStreamsOfTheJournalAreBoundedAndEndWithTheNode(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonShare)
	s := startWith(t, plainApp+"journal: {streams: 1, devices: 1}\n")
	_, key := s.NewKey(`{"admin":true}`)
	g := ground{t, &Cluster{t: t, Nodes: []*Server{s}}, 1}
	r := g.follow(0, key, "", "")
	Eventually(t, "a second stream is refused", func() bool { return s.Call("GET", "/v1/journal/stream", key, "").Code() == "BUSY" })
	g.write(0, key, "a", "matched", 1)
	if e, _ := g.next(r); e.Device != "a" {
		t.Errorf("the stream shows %+v", e)
	}
	wantCode(t, "a second device", s.Call("POST", "/device/event", key, `{"deviceId":"b","eventType":"matched"}`), 507, "STORE_FULL")
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if e, err := r.Next(); err == nil {
		t.Errorf("it goes on with %+v", e)
	}
	if strings.Contains(s.Output(), "cut off") {
		t.Error(s.Output())
	}
}
