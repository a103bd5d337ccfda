package nodetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// put has a user of the demo's app be somewhere.
func put(t *testing.T, s *Server, user string, lat, lon float64) {
	t.Helper()
	if a := s.Call("PUT", "/v1/positions/me"+as(user), "", fmt.Sprintf(`{"lat":%v,"lon":%v}`, lat, lon)); a.Status != 200 {
		t.Fatalf("PUT: %d %s", a.Status, a.Body)
	}
}

// where returns how the question where a user is is answered, and when it is, until when
// it was so.
func where(s *Server, user string) int {
	return s.Call("GET", "/v1/positions/me"+as(user), "", "").Status
}

// A kill loses the last second of news at most, and nothing that was hidden comes back.
func TestPositionsOutliveAKillUntilTheirTimeIsOver(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	const ttl = 10 * time.Second
	s := startWith(t, demoApps+fmt.Sprintf("nearby: {ttl: %s}\n", ttl))
	before := s.Metric("switchboard_nearby_batches_total")
	began := time.Now()
	put(t, s, "ANZ-1", 1, 2)
	put(t, s, "ANZ-2", 1, 2)
	Eventually(t, "positions are stored", func() bool { return s.Metric("switchboard_nearby_batches_total") > before })
	if a := s.Call("DELETE", "/v1/positions/me"+as("ANZ-2"), "", ""); a.Status != 204 {
		t.Fatalf("DELETE: %d %s", a.Status, a.Body)
	}
	s.Kill()
	s.Start()
	restarted := time.Now()
	if status := where(s, "ANZ-1"); status != 200 {
		t.Errorf("after a kill the position of the first is answered with %d", status)
	}
	if status := where(s, "ANZ-2"); status != 404 {
		t.Errorf("after a kill the one who hid is answered with %d", status)
	}
	Eventually(t, "the position expires", func() bool { return where(s, "ANZ-1") == 404 })
	if since := time.Since(began); since < ttl-time.Second || time.Since(restarted) > ttl {
		t.Errorf("it expired %s after it came, and %s after the restart; it is to be there for %s", since, time.Since(restarted), ttl)
	}
}

func TestAStopLosesNoPosition(t *testing.T) {
	t.Parallel()
	s := startWith(t, demoApps)
	for i := range 50 {
		put(t, s, fmt.Sprint("ANZ-", i), 1, 2)
	}
	s.Stop()
	s.Start()
	for i := range 50 {
		if status := where(s, fmt.Sprint("ANZ-", i)); status != 200 {
			t.Fatalf("after a stop the position of ANZ-%d is answered with %d", i, status)
		}
	}
}

// Whoever expires leaves the view of whoever looks.
func TestAPositionThatExpiresLeavesTheView(t *testing.T) {
	t.Parallel()
	s := startWith(t, demoApps+"nearby: {ttl: 2s}\n")
	p := SignIn(t, s, "ANZ-1", "")
	put(t, s, "ANZ-2", 1, 2)
	view := look(t, p, "map", `"lat":1,"lon":2,"radius":100`)
	view.until("the other is in view", func() bool { return view.names() == "ANZ-2" })
	view.until("and has expired", func() bool { return view.names() == "" })
}

// Nobody finds out more by asking around than precision allows.
func TestPrecisionIsReducedBeforeAnythingIsReckoned(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, demoApps+"nearby: {precision: 500m, rate: 100}\n")
	const lat, lon = 47.3769, 8.5417
	put(t, s, "ANZ-1", lat, lon)
	var at neighbour
	if err := json.Unmarshal([]byte(s.Call("GET", "/v1/positions/me"+as("ANZ-1"), "", "").Body), &at); err != nil {
		t.Fatal(err)
	}
	off := math.Hypot((at.Lat-lat)*111_226, (at.Lon-lon)*111_226*math.Cos(lat*math.Pi/180))
	if off == 0 || off > 360 {
		t.Errorf("a position is told %v m from where it is", off)
	}
	for i := range 20 { // what others see tells nothing of where in the square somebody is
		put(t, s, "ANZ-1", lat+float64(i%3)*0.0001, lon+float64(i%2)*0.0001)
		a := s.Call("GET", fmt.Sprintf("/v1/nearby%s&lat=%v&lon=%v&radius=1", as("ANZ-2"), at.Lat, at.Lon), "", "")
		if a.Field("total") != "1" {
			t.Fatalf("in the middle of the square %s is seen", a.Body)
		}
		if a := s.Call("GET", fmt.Sprintf("/v1/nearby%s&lat=%v&lon=%v&radius=%v", as("ANZ-2"), lat, lon, off/2), "", ""); a.Field("total") != "0" {
			t.Fatalf("near the true place %s is seen", a.Body)
		}
	}
}

func TestWhereNobodyIsToBeSeenThatIsSaid(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, demoApps+"nearby: {enabled: false}\n")
	p := SignIn(t, s, "ANZ-1", "")
	if f := p.ask("POSITION", `{"lat":1,"lon":2}`); f.Field("code") != "NEARBY_OFF" {
		t.Errorf("got %s", f.Raw)
	}
	if a := s.Call("GET", "/v1/positions/me"+as("ANZ-1"), "", ""); a.Status != 404 || a.Code() != "NEARBY_OFF" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// Sign-out takes a user off the map, whose name others see while he is on it.
func TestWhoSignsOutIsOffTheMap(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	ada, grace := s.signUp("ada"), s.signUp("grace")
	p := DialShown(t, s, "?auth="+grace.access, "")
	p.Expect("AUTH_CLIENT_REPLY")
	s.want(200, "PUT", "/v1/positions/me", ada.access, `{"lat":1,"lon":2}`)
	view := look(t, p, "map", `"lat":1,"lon":2,"radius":100`)
	view.until("ada is in view", func() bool { return view.users[ada.user].Name == "ada" })
	if a := s.want(200, "GET", "/v1/nearby?lat=1&lon=2&radius=5", grace.access, ""); !strings.Contains(a.Body, `"name":"ada"`) {
		t.Errorf("over HTTP %s is seen", a.Body)
	}
	second := s.signInAs("ada", aPassword)
	s.want(204, "DELETE", "/v1/sessions", ada.access, "")
	if a := s.want(200, "GET", "/v1/nearby?lat=1&lon=2&radius=5", grace.access, ""); a.Field("total") != "1" {
		t.Errorf("who is signed in elsewhere is off the map: %s", a.Body)
	}
	s.want(204, "DELETE", "/v1/sessions", second.access, "")
	if a := s.want(200, "GET", "/v1/nearby?lat=1&lon=2&radius=5", grace.access, ""); a.Field("total") != "0" {
		t.Errorf("after signing out %s is seen", a.Body)
	}
	view.until("ada is gone", func() bool { return view.names() == "" })

	bob := s.signUp("bob")
	s.want(200, "PUT", "/v1/positions/me", bob.access, `{"lat":1,"lon":2}`)
	view.until("bob is in view", func() bool { return view.users[bob.user].Name == "bob" })
	s.want(204, "DELETE", "/v1/accounts/me", bob.access, `{"password":"`+aPassword+`"}`)
	view.until("who has deleted his account is gone", func() bool { return view.names() == "" })
}

// Also when he has just said as often where he is as he may.
func TestWhoSignsOutWhileHeMovesIsOffTheMap(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn+"nearby: {rate: 1}\n")
	ada, grace := s.signUp("ada"), s.signUp("grace")
	Eventually(t, "one more position in a second is refused", func() bool {
		s.Call("PUT", "/v1/positions/me", ada.access, `{"lat":1,"lon":2}`)
		return s.Call("PUT", "/v1/positions/me", ada.access, `{"lat":1,"lon":2}`).Status == 429
	})
	s.want(204, "DELETE", "/v1/sessions", ada.access, "")
	if a := s.want(200, "GET", "/v1/nearby?lat=1&lon=2&radius=5", grace.access, ""); a.Field("total") != "0" {
		t.Errorf("after signing out %s is seen", a.Body)
	}
	s.want(401, "PUT", "/v1/positions/me", ada.access, `{"lat":1,"lon":2}`)
}

// Of three nodes one is killed while users move about and others look: what those were
// told adds up to what is so.
func TestWhatIsToldAddsUpWhenANodeIsKilled(t *testing.T) {
	t.Parallel()
	c := three(t, demoApps+"nearby: {rate: 1000}\n")
	const movers = 60
	random := rand.New(rand.NewPCG(1, 2))
	area := `"lat":30,"lon":40,"radius":2000`
	var views []*seen
	for i, n := range c.Nodes[:2] {
		views = append(views, look(t, SignIn(t, n, fmt.Sprint("ANZ-", 900+i), ""), "map", area))
	}
	var peers []*Peer
	for i := range movers {
		peers = append(peers, SignIn(t, c.Nodes[i%2], fmt.Sprint("ANZ-", 100+i), ""))
	}
	move := func(p *Peer) {
		p.Send(fmt.Sprintf(`{"type":"POSITION","data":{"lat":%v,"lon":%v}}`, 30+random.Float64()*0.04-0.02, 40+random.Float64()*0.04-0.02))
	}
	for i := range 40 {
		for _, p := range peers {
			move(p)
		}
		if i == 20 {
			c.Nodes[2].Kill()
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i, p := range peers {
		if i%10 == 0 {
			p.Send(`{"type":"POSITION_HIDE"}`)
		}
	}
	c.AwaitReady(c.Nodes[:2]...)
	// All move once more, now that all is taken in again, and then stand still.
	Eventually(t, "both nodes answer", func() bool {
		return where(c.Nodes[0], "ANZ-101") != 503 && c.Nodes[1].Call("GET", "/v1/nearby"+as("ANZ-900")+"&lat=30&lon=40&radius=2000", "", "").Status == 200
	})
	fresh := func(s *Server) (list []string) {
		a := s.Call("GET", "/v1/nearby"+as("ANZ-900")+"&lat=30&lon=40&radius=2000&limit=1000", "", "")
		var answer struct{ Users []neighbour }
		if a.Status != 200 || json.Unmarshal([]byte(a.Body), &answer) != nil {
			return []string{a.Body}
		}
		for _, n := range answer.Users {
			list = append(list, fmt.Sprintf("%s %v %v", n.UserID, n.Lat, n.Lon))
		}
		slices.Sort(list)
		return list
	}
	told := func(v *seen) (list []string) {
		for _, n := range v.users {
			list = append(list, fmt.Sprintf("%s %v %v", n.UserID, n.Lat, n.Lon))
		}
		slices.Sort(list)
		return list
	}
	for i, v := range views {
		for deadline := time.Now().Add(Patience); !slices.Equal(told(v), fresh(c.Nodes[i])); {
			if time.Now().After(deadline) {
				t.Fatalf("what the client on node %d was told adds up to\n%v\nnot to\n%v", i+1, told(v), fresh(c.Nodes[i]))
			}
			for _, f := range v.p.Barrier() {
				v.take(f)
			}
		}
		if len(v.users) == 0 || len(v.users) == movers {
			t.Errorf("%d of %d are in view, which shows little", len(v.users), movers)
		}
	}
	if a, b := fresh(c.Nodes[0]), fresh(c.Nodes[1]); !slices.Equal(a, b) {
		t.Errorf("node 1 answers\n%v\nand node 2\n%v", a, b)
	}
}
