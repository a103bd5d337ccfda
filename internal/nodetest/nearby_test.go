package nodetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// neighbour is somebody in a frame or an answer about who is around.
type neighbour struct {
	UserID   string    `json:"userId"`
	Name     string    `json:"name"`
	Lat      float64   `json:"lat"`
	Lon      float64   `json:"lon"`
	At       time.Time `json:"at"`
	Distance float64   `json:"distance"`
	Heading  *float64  `json:"heading"`
	Speed    *float64  `json:"speed"`
	Accuracy *float64  `json:"accuracy"`
}

// seen is what a client that watches knows: all that it was told, added up.
type seen struct {
	g     testing.TB
	p     *Peer
	watch string
	users map[string]neighbour
	cells map[[2]float64]int // nil: it is told users
}

// look has a client watch something, and waits for the answer.
func look(t testing.TB, p *Peer, watch, area string) *seen {
	t.Helper()
	s := &seen{g: t, p: p, watch: watch}
	p.Send(fmt.Sprintf(`{"type":"NEARBY_WATCH","data":{"id":%q,%s},"reference":"look"}`, watch, area))
	for s.users == nil && s.cells == nil {
		f := p.Next()
		if f.Type != "NEARBY" {
			t.Fatalf("a watch is answered with %s", f.Raw)
		}
		if string(f.Reference) != `"look"` {
			t.Fatalf("the answer has not the reference: %s", f.Raw)
		}
		s.take(f)
	}
	return s
}

// take takes a frame in. What does not fit what was told before is a failure.
func (s *seen) take(f Frame) {
	s.g.Helper()
	var d struct {
		ID    string          `json:"id"`
		Users json.RawMessage `json:"users"`
		Cells []struct {
			Lat, Lon float64
			Count    int
		} `json:"cells"`
	}
	if err := json.Unmarshal(f.Data, &d); err != nil || d.ID != s.watch {
		s.g.Fatalf("got %s, %v", f.Raw, err)
	}
	var list []neighbour
	var gone []string
	if f.Type == "NEARBY_LEAVE" {
		_ = json.Unmarshal(d.Users, &gone)
	} else if d.Users != nil {
		if err := json.Unmarshal(d.Users, &list); err != nil {
			s.g.Fatalf("got %s, %v", f.Raw, err)
		}
	}
	switch f.Type {
	case "NEARBY":
		s.users, s.cells = nil, nil
		if d.Users == nil {
			s.cells = make(map[[2]float64]int)
		} else {
			s.users = make(map[string]neighbour)
		}
	case "NEARBY_ENTER", "NEARBY_MOVE", "NEARBY_LEAVE":
	default:
		s.g.Fatalf("got %s", f.Raw)
	}
	for _, n := range list {
		if _, known := s.users[n.UserID]; known != (f.Type == "NEARBY_MOVE") {
			s.g.Errorf("known is %v of %s in %s", known, n.UserID, f.Raw)
		}
		s.users[n.UserID] = n
	}
	for _, user := range gone {
		if _, known := s.users[user]; !known {
			s.g.Errorf("%s leaves, who was not there: %s", user, f.Raw)
		}
		delete(s.users, user)
	}
	for _, c := range d.Cells {
		if s.cells[[2]float64{c.Lat, c.Lon}] = c.Count; c.Count == 0 {
			delete(s.cells, [2]float64{c.Lat, c.Lon})
		}
	}
}

// until takes frames in until something is so.
func (s *seen) until(what string, so func() bool) {
	s.g.Helper()
	for deadline := time.Now().Add(Patience); !so(); {
		if time.Now().After(deadline) {
			s.g.Fatalf("not within %s: %s; the client knows %s and %v", Patience, what, s.names(), s.cells)
		}
		f, err := s.p.TryNext()
		if err != nil {
			s.g.Fatalf("%s: %v; the client knows %s and %v", what, err, s.names(), s.cells)
		}
		s.take(f)
	}
}

func (s *seen) names() string {
	return strings.Join(slices.Sorted(maps.Keys(s.users)), " ")
}

// total is how many there are in all cells.
func (s *seen) total() (n int) {
	for _, count := range s.cells {
		n += count
	}
	return n
}

// place is a position near the test's own place on the map, some metres north of it.
func (g ground) place(north float64) (lat, lon float64) {
	return 10 + float64(g.first)/10_000 + north/111_226, 20
}

// circle is the test's own place, as what a watch looks at.
func (g ground) circle(radius float64) string {
	lat, lon := g.place(0)
	return fmt.Sprintf(`"lat":%v,"lon":%v,"radius":%v`, lat, lon, radius)
}

// stand has a user be somewhere.
func (g ground) stand(p *Peer, north float64) {
	g.Helper()
	lat, lon := g.place(north)
	p.Send(fmt.Sprintf(`{"type":"POSITION","data":{"lat":%v,"lon":%v}}`, lat, lon))
}

// as is how a user of the demo's app makes a call.
func as(user string) string { return "?appId=app-id-343&userId=" + user }

// nearOf asks over HTTP who is in a circle around the test's own place.
func (g ground) nearOf(s *Server, user string, radius float64) []neighbour {
	g.Helper()
	lat, lon := g.place(0)
	a := s.Call("GET", "/v1/nearby"+as(user)+fmt.Sprintf("&lat=%v&lon=%v&radius=%v&limit=1000", lat, lon, radius), "", "")
	var answer struct{ Users []neighbour }
	if err := json.Unmarshal([]byte(a.Body), &answer); err != nil || a.Status != 200 {
		g.Fatalf("%d %s, %v", a.Status, a.Body, err)
	}
	return answer.Users
}

func TestUsersSeeWhoIsAround(t *testing.T) {
	t.Parallel()
	onOneAndOnThree(t, demoApps+"nearby: {watches: 2, rate: 20, crowd: 30}\n", []groundTest{
		{"who comes, moves, goes and hides is told", comeMoveGo},
		{"a watch follows the map", watchFollows},
		{"the newest position counts", newestCounts},
		{"over HTTP it is the same", nearbyOverHTTP},
		{"the antimeridian and a pole are in view", seamsInView},
		{"of a crowd counts are told", crowdIsCounted},
		{"what is wrong is refused by name", wrongPositions},
		{"who sends too much is refused, and others are not", floodOfPositions},
	})
}

func comeMoveGo(g ground) {
	watcher, a, b := g.user(0, 1, ""), g.user(1, 2, ""), g.user(2, 3, "")
	g.stand(a, 100)
	Eventually(g, "the first is known", func() bool { return len(g.nearOf(g.Nodes[2], g.id(9), 1000)) == 1 })
	s := look(g, watcher, "map", g.circle(1000))
	if d := s.users[g.id(2)].Distance; s.names() != g.id(2) || math.Abs(d-100) > 1 {
		g.Fatalf("at first the client knows %s, at %v m", s.names(), d)
	}
	g.stand(b, 200)
	s.until("the second comes", func() bool { return s.names() == g.id(2)+" "+g.id(3) })
	g.stand(b, 300)
	s.until("it moves", func() bool { return math.Abs(s.users[g.id(3)].Distance-300) < 1 })
	g.stand(b, 3000)
	s.until("it goes", func() bool { return s.names() == g.id(2) })
	g.stand(b, 200)
	s.until("and comes back", func() bool { return s.names() == g.id(2)+" "+g.id(3) })
	if f := a.ask("POSITION_HIDE", "{}"); f.Type != "POSITION_HIDDEN" {
		g.Errorf("hiding is answered with %s", f.Raw)
	}
	s.until("it vanishes", func() bool { return s.names() == g.id(3) })
	if f := a.ask("POSITION_HIDE", "{}"); f.Type != "POSITION_HIDDEN" {
		g.Errorf("hiding again is answered with %s", f.Raw)
	}
	watcher.Send(`{"type":"NEARBY_UNWATCH","data":{"id":"map"}}`)
	watcher.Barrier()
	g.stand(b, 400)
	Eventually(g, "the position is known", func() bool {
		list := g.nearOf(g.Nodes[0], g.id(9), 1000)
		return len(list) == 1 && list[0].Distance > 390
	})
	if rest := watcher.Barrier(); len(rest) > 0 {
		g.Errorf("who looks away is told %s", rest[0].Raw)
	}
}

func watchFollows(g ground) {
	watcher, a := g.user(0, 1, ""), g.user(1, 2, "")
	g.stand(a, 5000)
	Eventually(g, "the position is known", func() bool { return len(g.nearOf(g.Nodes[0], g.id(9), 6000)) == 1 })
	if s := look(g, watcher, "map", g.circle(1000)); s.names() != "" {
		g.Errorf("somebody far away is in view: %s", s.names())
	}
	s := look(g, watcher, "map", g.circle(6000))
	if s.names() != g.id(2) {
		g.Errorf("after zooming out the client knows %q", s.names())
	}
	look(g, watcher, "other", g.circle(10))
	if f := watcher.ask("NEARBY_WATCH", `{"id":"third",`+g.circle(10)+`}`); f.Field("code") != "TOO_MANY" {
		g.Errorf("one watch too many: %s", f.Raw)
	}
	g.refused(watcher, "NEARBY_UNWATCH", `{"id":"third"}`, "GENERAL_ERROR NOT_FOUND")
	g.stand(a, 5100)
	s.until("it moves", func() bool { return s.users[g.id(2)].Distance > 5050 })
}

func newestCounts(g ground) {
	a := g.user(0, 1, "")
	lat, lon := g.place(0)
	now := time.Now()
	send := func(north float64, ago time.Duration) {
		a.Send(fmt.Sprintf(`{"type":"POSITION","data":{"lat":%v,"lon":%v,"at":%d,"heading":360,"speed":1.5,"accuracy":7}}`, lat+north/111_226, lon, now.Add(-ago).UnixMilli()))
	}
	send(100, time.Minute)
	send(200, 2*time.Minute)
	a.Barrier()
	var at neighbour
	Eventually(g, "the position is known", func() bool {
		body := g.Nodes[1].Call("GET", "/v1/positions/me"+as(g.id(1)), "", "").Body
		return json.Unmarshal([]byte(body), &at) == nil && at.Lat != 0
	})
	if math.Abs(at.Lat-lat-100.0/111_226) > 1e-6 || at.At.UnixMilli() != now.Add(-time.Minute).UnixMilli() {
		g.Errorf("an older position has taken the place of a newer one: %+v", at)
	}
	if at.Heading == nil || *at.Heading != 0 || at.Speed == nil || *at.Speed != 1.5 || at.Accuracy == nil || *at.Accuracy != 7 {
		g.Errorf("got %+v", at)
	}
}

func nearbyOverHTTP(g ground) {
	s, user := g.Nodes[1], g.id(1)
	lat, lon := g.place(50)
	a := s.Call("PUT", "/v1/positions/me"+as(user), "", fmt.Sprintf(`{"lat":%v,"lon":%v,"accuracy":12}`, lat, lon))
	if a.Status != 200 || a.Field("accuracy") != "12" || a.Field("at") == "" {
		g.Fatalf("PUT: %d %s", a.Status, a.Body)
	}
	if b := g.Nodes[0].Call("GET", "/v1/positions/me"+as(user), "", ""); b.Status != 200 || b.Body != a.Body {
		g.Errorf("GET: %d %s, not %s", b.Status, b.Body, a.Body)
	}
	for what, list := range map[string][]neighbour{"a user": g.nearOf(g.Nodes[2], g.id(2), 100), "himself": g.nearOf(g.Nodes[2], user, 100)} {
		if len(list) != 1 || list[0].UserID != user || math.Abs(list[0].Distance-50) > 1 {
			g.Errorf("%s sees %+v", what, list)
		}
	}
	_, key := g.Nodes[0].NewKey(`{"app":"ANZ","scopes":["nearby:read"]}`)
	box := fmt.Sprintf("/v1/nearby?bbox=%v,%v,%v,%v", lon-0.01, lat-0.01, lon+0.01, lat+0.01)
	if a := g.Nodes[0].Call("GET", box, key, ""); a.Status != 200 || a.Field("total") != "1" || !strings.Contains(a.Body, user) {
		g.Errorf("with a key: %d %s", a.Status, a.Body)
	}
	_, other := g.Nodes[0].NewKey(`{"app":"ANZ","scopes":["users:read"]}`)
	if a := g.Nodes[0].Call("GET", box, other, ""); a.Status != 403 || a.Code() != "SCOPE_MISSING" {
		g.Errorf("with a key without the scope: %d %s", a.Status, a.Body)
	}
	if a := s.Call("DELETE", "/v1/positions/me"+as(user), "", ""); a.Status != 204 {
		g.Errorf("DELETE: %d %s", a.Status, a.Body)
	}
	if a := s.Call("GET", "/v1/positions/me"+as(user), "", ""); a.Status != 404 || a.Code() != "NOT_FOUND" {
		g.Errorf("GET after that: %d %s", a.Status, a.Body)
	}
	if list := g.nearOf(g.Nodes[2], g.id(2), 100); len(list) != 0 {
		g.Errorf("after that %+v is seen", list)
	}
}

func seamsInView(g ground) {
	east, west, pole := g.user(0, 1, ""), g.user(1, 2, ""), g.user(2, 3, "")
	shift := float64(g.first) / 1e6 // so that no other test is in view
	for p, at := range map[*Peer][2]float64{east: {60 + shift, 179.999}, west: {60 + shift, -179.999}, pole: {89.99, 100}} {
		p.Send(fmt.Sprintf(`{"type":"POSITION","data":{"lat":%v,"lon":%v}}`, at[0], at[1]))
	}
	watcher := g.user(0, 4, "")
	s := look(g, watcher, "seam", fmt.Sprintf(`"bbox":[179.99,%v,-179.99,%v]`, 59.99+shift, 60.01+shift))
	s.until("both sides of the antimeridian are in the box", func() bool { return s.names() == g.id(1)+" "+g.id(2) })
	s = look(g, watcher, "seam", fmt.Sprintf(`"lat":%v,"lon":180,"radius":200`, 60+shift))
	s.until("both are in the circle", func() bool { return s.names() == g.id(1)+" "+g.id(2) })
	s = look(g, watcher, "seam", `"lat":89.99,"lon":-80,"radius":3000`)
	s.until("the other side of the pole is in the circle", func() bool { return s.names() == g.id(3) })
	if d := s.users[g.id(3)].Distance; math.Abs(d-2225) > 5 {
		g.Errorf("over the pole it is %v m", d)
	}
	for _, p := range []*Peer{east, west, pole} {
		p.ask("POSITION_HIDE", "{}")
	}
	s.until("all are gone", func() bool { return s.names() == "" })
}

func crowdIsCounted(g ground) {
	const many = 40 // above nearby.crowd
	var peers []*Peer
	for i := range many {
		p := g.user(i%3, i+1, "")
		g.stand(p, float64(20*i))
		p.Barrier()
		peers = append(peers, p)
	}
	Eventually(g, "all are known", func() bool { return len(g.nearOf(g.Nodes[0], g.id(99), 5000)) == many })
	s := look(g, g.user(0, 99, ""), "map", g.circle(5000))
	if s.cells == nil || s.total() != many {
		g.Fatalf("of a crowd of %d the client is told %s and %v", many, s.names(), s.cells)
	}
	peers[0].ask("POSITION_HIDE", "{}")
	s.until("one less is counted", func() bool { return s.total() == many-1 })
	for _, p := range peers[1:20] {
		p.ask("POSITION_HIDE", "{}")
	}
	s.until("the few are told by name", func() bool { return len(s.users) == many-20 })
}

func wrongPositions(g ground) {
	p := g.user(0, 1, "")
	for _, c := range [][2]string{
		{"POSITION", `{"lat":91,"lon":0}`},
		{"POSITION", `{"lat":"NaN","lon":0}`},
		{"POSITION", `{"lat":1e999,"lon":0}`},
		{"POSITION", fmt.Sprintf(`{"lat":1,"lon":0,"at":%d}`, time.Now().Add(time.Minute).UnixMilli())},
		{"POSITION", fmt.Sprintf(`{"lat":1,"lon":0,"at":%d}`, time.Now().Add(-time.Hour).UnixMilli())},
		{"POSITION", `{"lat":1,"lon":0,"heading":-1}`},
		{"NEARBY_WATCH", `{"id":"m","lat":1,"lon":0,"radius":0}`},
		{"NEARBY_WATCH", `{"id":"m","lat":1,"lon":0,"radius":500001}`},
		{"NEARBY_WATCH", `{"id":"m","bbox":[1,3,2,2]}`},
		{"NEARBY_WATCH", `{"id":"m","bbox":[1,3,2,91]}`},
	} {
		g.refused(p, c[0], c[1], "INVALID_MESSAGE BAD_FIELD")
	}
	if list := g.nearOf(g.Nodes[0], g.id(1), 500_000); slices.ContainsFunc(list, func(n neighbour) bool { return n.UserID == g.id(1) }) {
		g.Error("somebody who sent no position is seen")
	}
	for path, field := range map[string]string{
		"&lat=91&lon=0&radius=1": "lat", "&lat=1&lon=0&radius=0": "radius", "&lat=1&lon=0&radius=500001": "radius", "&lat=1&lon=0&radius=NaN": "radius", "&lat=1&radius=1": "lon",
		"&bbox=1,3,2,2": "bbox", "&bbox=1,2,3": "bbox", "&bbox=1,2,3,Inf": "bbox", "&bbox=1,2,3,4&lat=1": "lat", "&lat=1&lon=1&radius=1&limit=1001": "limit", "&lat=1&lon=1&radius=1&limit=0": "limit", "": "lat",
	} {
		if a := g.Nodes[1].Call("GET", "/v1/nearby"+as(g.id(1))+path, "", ""); a.Status != 400 || a.Field("field") != field {
			g.Errorf("%s: %d %s, not about %s", path, a.Status, a.Body, field)
		}
	}
	for body, field := range map[string]string{
		`{"lat":1}`: "lon", `{"lat":-91,"lon":1}`: "lat", `{"lat":1,"lon":181}`: "lon", `{"lat":1,"lon":1,"at":"2040-01-01T00:00:00Z"}`: "at", `{"lat":1,"lon":1,"speed":-1}`: "speed", `{"lat":1,"lon":1,"more":1}`: "more",
	} {
		if a := g.Nodes[1].Call("PUT", "/v1/positions/me"+as(g.id(1)), "", body); a.Status != 400 || a.Field("field") != field {
			g.Errorf("%s: %d %s, not about %s", body, a.Status, a.Body, field)
		}
	}
}

func floodOfPositions(g ground) {
	p, other := g.user(0, 1, ""), g.user(0, 2, "")
	const sent = 400
	for range sent {
		g.stand(p, 10)
	}
	refused := 0
	for _, f := range p.Barrier() {
		if f.Field("code") == "TOO_MANY" {
			refused++
		}
	}
	Eventually(g, "most are refused", func() bool {
		for _, f := range p.Barrier() {
			if f.Field("code") == "TOO_MANY" {
				refused++
			}
		}
		return refused >= sent/2
	})
	if a := other.ask("POSITION_HIDE", "{}"); a.Type != "POSITION_HIDDEN" {
		g.Errorf("another user is answered %s", a.Raw)
	}
}
