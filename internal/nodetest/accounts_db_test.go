package nodetest

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/postgres"
)

func TestSigningOutOnOneNodeClosesSocketsOnAnotherWithinASecond(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	url := postgres.Database(t)
	c := StartCluster(t, 2, func(_ int, s *NodeSettings) { s.More = chatOn + "db: {url: '" + url + "'}\n" })
	here, there := c.Nodes[0], c.Nodes[1]
	ada := here.signUp("ada")
	second := there.signInAs("ada", aPassword)
	p, q := socketOf(t, there, ada), socketOf(t, there, second)
	own := socketOf(t, here, ada)

	began := time.Now()
	here.want(204, "DELETE", "/v1/sessions", ada.access, "")
	for _, x := range []*Peer{p, own} {
		if code := x.CloseCode(); code != 4002 {
			t.Errorf("closed with %d", code)
		}
	}
	took := time.Since(began)
	t.Logf("the socket on the other node was closed after %s", took)
	if took > time.Second && !raceEnabled {
		t.Errorf("it took %s", took)
	}
	for _, n := range c.Nodes {
		if a := n.Call("GET", "/v1/accounts/me", ada.access, ""); a.Status != 401 {
			t.Errorf("the token is still good: %d %s", a.Status, a.Body)
		}
	}
	q.Barrier()
	here.want(204, "DELETE", "/v1/sessions?all=true", second.access, "")
	if code := q.CloseCode(); code != 4002 {
		t.Errorf("closed with %d", code)
	}

	// Numbers and names are those of all nodes.
	if next := there.signUp("grace"); next.user != "chat-2" {
		t.Errorf("got %s", next.user)
	}
}

// What somebody sends does not come to whoever has blocked him, on whichever nodes they
// are, from then on until that is taken back; it does to others of the same group.
func TestWhoIsBlockedIsNotHeardOnWhicheverNode(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	url := postgres.Database(t)
	c := StartCluster(t, 2, func(_ int, s *NodeSettings) { s.More = chatOn + "db: {url: '" + url + "'}\n" })
	here, there := c.Nodes[0], c.Nodes[1]
	ada, bob, cat := here.signUp("ada"), there.signUp("bob"), there.signUp("cat")
	p, q, r := socketOf(t, here, ada), socketOf(t, there, bob), socketOf(t, there, cat)
	p.Message(bob.user, "before", "")
	q.Expect("MESSAGE")
	there.want(204, "PUT", "/v1/accounts/me/blocks/"+ada.user, bob.access, "")
	refused := func(frame string) bool {
		t.Helper()
		p.Send(frame)
		f := p.Next()
		return f.Type == "GENERAL_ERROR" && f.Field("code") == "FORBIDDEN" && strings.Contains(f.Raw, bob.user) && !strings.Contains(f.Raw, cat.user)
	}
	single := func(more string) string {
		return `{"type":"MESSAGE","data":{"to":"` + bob.user + `","content":"hush"},"reference":"r"` + more + `}`
	}
	// The news of it takes a moment to the other node; until then it is confirmed.
	Eventually(t, "the sender's node knows", func() bool { return refused(single("")) })
	if !refused(single(`,"feature":"FAST"`)) {
		t.Error("a FAST message was passed on")
	}
	if !refused(`{"type":"GROUP_MESSAGE","data":{"to":["` + bob.user + `","` + cat.user + `"],"content":"all"},"reference":"r"}`) {
		t.Error("a group message was passed on")
	}
	if f := r.Expect("MESSAGE"); f.Field("content") != "all" {
		t.Errorf("the other one of the group got %s", f.Raw)
	}
	again := socketOf(t, here, here.signInAs("ada", aPassword)) // knows it from the beginning
	again.Send(single(""))
	if f := again.Expect("GENERAL_ERROR"); f.Field("code") != "FORBIDDEN" {
		t.Errorf("got %s", f.Raw)
	}
	q.Message(ada.user, "I may", "")
	again.Expect("MESSAGE")
	for f := p.Next(); f.Field("content") != "I may"; f = p.Next() {
		if f.Type != "MESSAGE_CONFIRMATION" {
			t.Errorf("got %s", f.Raw)
		}
	}
	there.want(204, "DELETE", "/v1/accounts/me/blocks/"+ada.user, bob.access, "")
	Eventually(t, "it is known to be taken back", func() bool { return !refused(single("")) })
	q.Message(bob.user, "mine", "")
	got := q.Expect("MESSAGE")
	for got.Field("content") == "hush" { // what came before and after
		got = q.Expect("MESSAGE")
	}
	if got.Field("content") != "mine" {
		t.Errorf("got %s", got.Raw)
	}
}

func TestSeveralNodesWithoutADatabaseServeAllButChatAndSaySo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	c := StartCluster(t, 2, func(_ int, s *NodeSettings) { s.More = chatOn })
	for _, n := range c.Nodes {
		if a := n.Call("POST", "/v1/accounts", "", credentials("ada", aPassword)); a.Status != 404 || a.Code() != "CHAT_OFF" || !strings.Contains(a.Body, "db.url") {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		if a := n.Call("GET", "/v1/accounts/me", "x", ""); a.Code() != "CHAT_OFF" {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		status, body := n.Get("/readyz")
		if status != 200 || !strings.Contains(body, "db.url has to be set") || !strings.Contains(n.Output(), "db.url has to be set") {
			t.Errorf("got %d %s\n%s", status, body, n.Output())
		}
	}
	p, q := SignIn(t, c.Nodes[0], "ANZ-7", ""), SignIn(t, c.Nodes[1], "ANZ-8", "")
	p.Message("ANZ-8", "hello", "")
	q.Expect("MESSAGE")
}

func TestWhileTheDatabaseIsGoneAllElseIsServedAndThenAccountsToo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	server := postgres.Start(t)
	server.Stop() // not there yet when the node starts
	s := startWith(t, chatOn+"db: {url: '"+server.URL("postgres")+"'}\n")
	down := func() {
		t.Helper()
		if a := s.Call("POST", "/v1/accounts", "", credentials("ada", aPassword)); a.Status != 503 || a.Code() != "STORE_DOWN" || a.Header.Get("Retry-After") == "" {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		if status, body := s.Get("/readyz"); status != http.StatusOK || !strings.Contains(body, "the database does not answer") {
			t.Errorf("got %d %s", status, body)
		}
		p := SignIn(t, s, "ANZ-7", "")
		p.Message("ANZ-7", "me", "")
		p.Expect("MESSAGE")
	}
	down()
	server.Start()
	Eventually(t, "accounts are there", func() bool {
		return s.Call("POST", "/v1/accounts", "", credentials("ada", aPassword)).Status == 201
	})
	ada := s.signInAs("ada", aPassword)
	p := socketOf(t, s, ada)
	server.Kill()
	down()
	p.Message(ada.user, "me", "") // who is signed in stays so
	p.Expect("MESSAGE")
	q := Dial(t, s)
	q.Send(signInFrame(ada, ada.access))
	for _, x := range []*Peer{q, DialShown(t, s, "?auth="+ada.access, "")} { // and may come again
		if f := x.Expect("AUTH_CLIENT_REPLY"); f.Field("code") != "STORE_DOWN" {
			t.Errorf("got %s", f.Raw)
		}
		if code := x.CloseCode(); code != 1012 {
			t.Errorf("closed with %d", code)
		}
	}
	server.Start()
	Eventually(t, "accounts are back", func() bool { return s.Call("GET", "/v1/accounts/me", ada.access, "").Status == 200 })
	socketOf(t, s, ada)
}

func TestADatabaseOfANewerProgramEndsTheStartWithAWordToTheOperator(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	server := postgres.Start(t)
	config := Settings(t, chatOn+"db: {url: '"+server.URL("postgres")+"'}\n")
	data := filepath.Join(t.TempDir(), "data")
	s := StartIn(t, data, "--config", config)
	if code := s.Stop(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	server.Ask("postgres", "INSERT INTO switchboard_migrations (version_id, is_applied) VALUES (999, true)")
	if s.Starts() {
		t.Fatal("it started")
	}
	if code := s.Wait(); code == 0 || !strings.Contains(s.Output(), "it is at version 999") {
		t.Errorf("ended with %d:\n%s", code, s.Output())
	}
}

func TestTheFileOfAccountsIsItsOwnersOnly(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	s := startWith(t, chatOn)
	s.signUp("ada")
	files, err := filepath.Glob(filepath.Join(s.Data, "switchboard.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

func TestADamagedFileOfAccountsEndsTheStartWithItsNameAndWhatToDo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	data := filepath.Join(t.TempDir(), "data")
	s := StartIn(t, data, "--config", Settings(t, chatOn))
	if code := s.Stop(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	file := filepath.Join(data, "switchboard.db")
	if err := os.WriteFile(file, bytes.Repeat([]byte("garbage "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Starts() {
		t.Fatal("it started")
	}
	if code := s.Wait(); code == 0 || !strings.Contains(s.Output(), file+" is damaged") || !strings.Contains(s.Output(), "put a copy from before in its place") {
		t.Errorf("ended with %d:\n%s", code, s.Output())
	}
}
