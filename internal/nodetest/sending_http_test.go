package nodetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What an app's own server sends over HTTP, and what becomes of it.

const (
	messagesPath   = "/v1/messages"
	batchPath      = "/v1/messages/batch"
	broadcastsPath = "/v1/broadcasts"
)

// backend is an app's own server. Its calls may fail, as those of a server do
// whose node is being killed.
type backend struct {
	s      *Server
	addr   string // which stays the same when the server starts again
	key    string
	client *http.Client
}

// newBackend makes a key with all scopes of app ANZ.
func newBackend(t *testing.T, s *Server) *backend {
	t.Helper()
	_, key := s.NewKey(`{"app":"ANZ","scopes":["messages:send","users:read","sessions:close","mailboxes:read","mailboxes:clear"]}`)
	transport := &http.Transport{MaxIdleConnsPerHost: 200}
	t.Cleanup(transport.CloseIdleConnections)
	return &backend{s: s, addr: s.Addr, key: key, client: &http.Client{Transport: transport}}
}

// try makes a call, with an Idempotency-Key unless that is empty.
func (b *backend) try(method, path, body, once string) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.addr+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Authorization", "Bearer "+b.key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if once != "" {
		r.Header.Set("Idempotency-Key", once)
	}
	res, err := b.client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return Answer{Status: res.StatusCode, Header: res.Header, Body: string(text)}, err
}

// want makes a call that must be answered with a status.
func (b *backend) want(status int, method, path, body string) Answer {
	b.s.t.Helper()
	a, err := b.try(method, path, body, "")
	if err != nil || a.Status != status {
		b.s.t.Fatalf("%s %s %.200s: %d %.500s, %v; want %d", method, path, body, a.Status, a.Body, err, status)
	}
	return a
}

// refused makes a call that must be refused with a code.
func (b *backend) refused(status int, code, path, body string) Answer {
	b.s.t.Helper()
	a := b.want(status, "POST", path, body)
	if a.Code() != code {
		b.s.t.Errorf("%s %.200s: %s, want %s", path, body, a.Body, code)
	}
	return a
}

// results returns what a batch is answered with, in order: the ID of what is
// stored, else the code of the refusal.
func (a Answer) results() (list []string) {
	var batch struct {
		Results []struct{ ID, Status, Code string }
	}
	if json.Unmarshal([]byte(a.Body), &batch) != nil {
		return nil
	}
	for _, r := range batch.Results {
		list = append(list, r.ID+r.Code)
	}
	return list
}

func TestAMessageOverHTTPReachesEachSessionAsIfItsUserHadSentIt(t *testing.T) {
	t.Parallel()
	s := Start(t)
	b := newBackend(t, s)
	bob, twin, master := SignIn(t, s, "ANZ-7", ""), SignIn(t, s, "ANZ-7", `{"ack":true}`), SignIn(t, s, "ANZ-123223", "")
	content := "{ \"b\" : 1.0e5,\n \"a\" : \"\\u00e9\\ud800\", \"a\" : [ ] }"
	a := b.want(201, "POST", messagesPath, `{"to":"ANZ-7","content":`+content+`,"reference":"r","confirmationEnabled":true}`)
	frame := `{"type":"MESSAGE","data":{"from":"ANZ-123223","content":` + content + `},"reference":"r"}`
	if f := bob.Expect("MESSAGE"); f.Raw != frame {
		t.Errorf("got %s", f.Raw)
	}
	if f := twin.Expect("MESSAGE"); f.ID != a.Field("id") {
		t.Errorf("the answer is %s, the frame %s", a.Body, f.Raw)
	}
	if f := after(master, "USER_CONNECTED"); f.Type != "MESSAGE_CONFIRMATION" || f.Field("reference") != "r" {
		t.Errorf("the sender got %s", f.Raw)
	}
	a = b.want(202, "POST", messagesPath, `{"to":["ANZ-7","ANZ-8"],"from":"ANZ-5","content":"now","feature":"FAST"}`)
	if a.Body != `{"status":"handed over","sessions":2}`+"\n" {
		t.Errorf("got %s", a.Body)
	}
	if f := bob.Expect("MESSAGE"); f.Raw != `{"type":"MESSAGE","data":{"from":"ANZ-5","content":"now"}}` {
		t.Errorf("got %s", f.Raw)
	}
}

// after returns the first frame that is not of a type.
func after(p *Peer, kind string) Frame {
	p.t.Helper()
	for {
		if f := p.Next(); f.Type != kind {
			return f
		}
	}
}

// The settings, and each limit with its code, as the socket has them.
func TestWhatIsNotSentOverHTTPIsRefusedWithTheSocketsCodes(t *testing.T) {
	t.Parallel()
	s := startWith(t, `
apps:
  - {appName: ANZ, appId: app-id-343, masterUserId: ANZ-1, authEnabled: false, allowApps: [SHOP]}
  - {appName: SHOP, appId: shop-id, authEnabled: false}
  - {appName: FAR, appId: far-id, authEnabled: false}
limits: {mailboxMessages: 2, groupReceivers: 3, frame: 4KiB, apiBatch: 3, httpBody: 64KiB}
`)
	b := newBackend(t, s)
	b.want(201, "POST", messagesPath, `{"to":"SHOP-1","content":1}`)
	b.refused(403, "FORBIDDEN", messagesPath, `{"to":"FAR-1","content":1}`)
	b.refused(403, "FORBIDDEN", messagesPath, `{"to":"ANZ-2","from":"SHOP-1","content":1}`)
	b.refused(404, "UNKNOWN_APP", messagesPath, `{"to":"NONE-1","content":1}`)
	b.refused(400, "TOO_MANY_RECEIVERS", messagesPath, `{"to":["ANZ-1","ANZ-2","ANZ-3","ANZ-4"],"content":1}`)
	b.refused(400, "BAD_RECEIVER", messagesPath, `{"to":["ANZ"],"content":1}`)
	b.refused(413, "MESSAGE_TOO_LARGE", messagesPath, `{"to":"ANZ-2","content":"`+strings.Repeat("x", 4096)+`"}`)
	b.refused(413, "BODY_TOO_LARGE", messagesPath, `{"to":"ANZ-2","content":"`+strings.Repeat("x", 65536)+`"}`)
	b.refused(400, "TOO_DEEP", messagesPath, `{"to":"ANZ-2","content":`+strings.Repeat("[", 600)+strings.Repeat("]", 600)+`}`)
	b.refused(400, "INVALID_REQUEST", messagesPath, `{"to":"ANZ-2","content":1,"tll":5}`)
	b.refused(400, "INVALID_REQUEST", messagesPath, "{\"to\":\"ANZ-2\",\"content\":\"\xff\"}")
	if a := b.refused(400, "INVALID_REQUEST", batchPath, `{"messages":[1,2,3,4]}`); a.Field("field") != "messages" {
		t.Errorf("got %s", a.Body)
	}
	message := `{"to":"ANZ-2","content":1}`
	a := b.want(200, "POST", batchPath, `{"messages":[`+message+`,`+message+`,`+message+`]}`)
	if r := a.results(); len(r) != 3 || len(r[0]) != 36 || len(r[1]) != 36 || r[2] != "MAILBOX_FULL" {
		t.Errorf("got %s", a.Body)
	}
	b.refused(409, "MAILBOX_FULL", messagesPath, message)
	a = b.want(201, "POST", messagesPath, `{"to":["ANZ-2","ANZ-3"],"content":1}`)
	if !strings.Contains(a.Body, `"failed":[{"to":"ANZ-2","code":"MAILBOX_FULL",`) {
		t.Errorf("got %s", a.Body)
	}
	b.want(201, "POST", messagesPath, `{"to":"ANZ-7","content":1,"ttl":1,"confirmationEnabled":true}`)
	Eventually(t, "a message expires, and its sender, who wants to know, hears so", func() bool {
		a := b.want(200, "GET", "/v1/users/ANZ-1/mailbox/messages", "")
		return strings.Contains(a.Body, `"code":"EXPIRED"`)
	})
}

// As many messages as one server may keep.
func TestAFullStoreRefusesOverHTTP(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonMemory)
	b := newBackend(t, startWith(t, demoApps+"limits: {waitingMessages: 5}\n"))
	b.want(201, "POST", messagesPath, `{"to":["ANZ-4","ANZ-5","ANZ-6"],"content":1}`)
	b.refused(507, "STORE_FULL", messagesPath, `{"to":["ANZ-7","ANZ-8","ANZ-9"],"content":1}`)
	b.want(201, "POST", messagesPath, `{"to":"ANZ-7","content":1}`)
	b.want(201, "POST", messagesPath, `{"to":"ANZ-8","content":1}`)
	b.refused(507, "STORE_FULL", messagesPath, `{"to":"ANZ-9","content":1}`)
}

func TestABatchArrivesInItsOrder(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	b := newBackend(t, s)
	bob := SignIn(t, s, "ANZ-7", "")
	const n = 1000
	for _, feature := range []string{"RELIABLE", "FAST"} {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"to":"ANZ-7","from":"ANZ-1","content":%q,"feature":%q}`, numbered(feature, i, 0), feature))
		}
		if r := b.want(200, "POST", batchPath, `{"messages":[`+strings.Join(list, ",")+`]}`).results(); len(r) != n {
			t.Fatalf("%d results", len(r))
		}
		wantSeries(t, "a batch of "+feature, take(bob, n), feature, 0, n)
	}
}

// tallied counts what came of numbered series against what was acknowledged.
type tallied struct{ lost, duplicated, reordered int }

// count compares what a user got with what is stored: of each series the numbers,
// in the order in which they were sent.
func (n *tallied) count(frames []Frame, stored map[string][]int, maybe map[string]bool) {
	seen, last := make(map[string]bool), make(map[string]int)
	for _, f := range frames {
		series, i := number(f)
		name := fmt.Sprint(series, " ", i)
		if seen[name] {
			n.duplicated++
			continue
		}
		seen[name] = true
		if was, there := last[series]; there && i < was {
			n.reordered++
		}
		last[series] = i
	}
	for series, list := range stored {
		for _, i := range list {
			name := fmt.Sprint(series, " ", i)
			if !seen[name] {
				n.lost++
			}
			delete(seen, name)
		}
	}
	for name := range seen { // what was sent and never answered may have arrived
		if !maybe[name] {
			n.duplicated++
		}
	}
}

func TestAHundredBackendsSendAtOnce(t *testing.T) {
	t.Parallel()
	s := startWith(t, roomyApp)
	b := newBackend(t, s)
	const senders, batches, size = 100, 5, 20
	bob, ann := SignIn(t, s, "ANZ-7", ""), SignIn(t, s, "ANZ-8", "")
	stored := make(map[string][]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for k := range senders {
		wg.Go(func() {
			for j := range batches {
				var list []string
				for i := range size {
					to := []string{`"ANZ-7"`, `["ANZ-7","ANZ-8"]`}[k%2]
					list = append(list, fmt.Sprintf(`{"to":%s,"from":"ANZ-%d","content":%q}`, to, 100+k, numbered(fmt.Sprint("s", k), j*size+i, 200)))
				}
				a, err := b.try("POST", batchPath, `{"messages":[`+strings.Join(list, ",")+`]}`, fmt.Sprint(k, "-", j))
				if err != nil || a.Status != 200 {
					t.Errorf("%v, %d %.200s", err, a.Status, a.Body)
					return
				}
				mu.Lock()
				for i, id := range a.results() {
					if len(id) == 36 {
						stored[fmt.Sprint("s", k)] = append(stored[fmt.Sprint("s", k)], j*size+i)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	const all = senders * batches * size
	var n tallied
	n.count(take(bob, all), stored, nil)
	for k := 0; k < senders; k += 2 {
		delete(stored, fmt.Sprint("s", k))
	}
	n.count(take(ann, all/2), stored, nil)
	t.Logf("of %d messages to 150 %% receivers: lost %d, duplicated %d, reordered %d", all, n.lost, n.duplicated, n.reordered)
	if n != (tallied{}) {
		t.Fail()
	}
}

// The server is killed again and again while a backend sends, one message or
// many, each request under a key. What got no answer is sent again with its key
// until it does. Then each message is there once, in order, under the ID that the
// backend was told.
func TestKilledWhileItIsSentToOverHTTPEachMessageIsStoredOnce(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	chance := rand.New(rand.NewPCG(seed(t), 11))
	s := startWith(t, roomyApp)
	b := newBackend(t, s)
	const senders = 6
	var answered, resent, replayed atomic.Int64
	stop := make(chan struct{})
	ids := make([][]string, senders) // of each sender, by number
	var running sync.WaitGroup
	for k := range senders {
		running.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond) // of asking again
			defer pace.Stop()
			for request := 0; ; request++ {
				select {
				case <-stop:
					return
				default:
				}
				n := 1 + request%3*7
				body := batchOf(k, len(ids[k]), n)
				for attempt := 0; ; attempt++ {
					a, err := b.try("POST", batchPath, body, fmt.Sprintf("k%d-%d", k, request))
					if err == nil && a.Status == 200 && len(a.results()) == n && !strings.Contains(a.Body, "refused") {
						if a.Header.Get("Idempotency-Replayed") != "" {
							replayed.Add(1)
						}
						ids[k] = append(ids[k], a.results()...)
						break
					}
					if err == nil && a.Status < 500 && a.Status != 200 {
						t.Errorf("%d %s", a.Status, a.Body)
						return
					}
					resent.Add(1)
					<-pace.C
				}
				answered.Add(1)
			}
		})
	}
	for range rounds {
		goal := answered.Load() + 20 + chance.Int64N(200)
		Eventually(t, "requests are answered", func() bool { return answered.Load() >= goal })
		s.Kill()
		s.Start()
	}
	close(stop)
	running.Wait()
	s.Kill()
	s.Start()
	lost, duplicated, reordered, renamed := judgeBackend(t, s, ids)
	t.Logf("%d requests, %d sent again, %d of them known: lost %d, duplicated %d, reordered %d, under another ID %d",
		answered.Load(), resent.Load(), replayed.Load(), lost, duplicated, reordered, renamed)
	if lost+duplicated+reordered+renamed > 0 {
		t.Fail()
	}
}

// batchOf is a batch of one sender's messages to ANZ-7, from a number on.
func batchOf(sender, first, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"to":"ANZ-7","from":"ANZ-%d","content":%q}`, 100+sender, numbered(fmt.Sprint("s", sender), first+i, 100)))
	}
	return `{"messages":[` + strings.Join(list, ",") + `]}`
}

// judgeBackend fetches what ANZ-7 has, and compares it with what the backend was
// told.
func judgeBackend(t *testing.T, s *Server, ids [][]string) (lost, duplicated, reordered, renamed int) {
	t.Helper()
	bob := SignIn(t, s, "ANZ-7", `{"ack":true}`)
	next := make([]int, len(ids))
	seen := make(map[string]bool)
	for {
		missed, left := bob.Fetch(2000)
		for _, f := range missed {
			series, i := number(f)
			var k int
			if _, err := fmt.Sscanf(series, "s%d", &k); err != nil || k >= len(ids) || i >= len(ids[k]) {
				t.Fatalf("got %s", f.Raw)
			}
			switch name := fmt.Sprint(series, " ", i); {
			case seen[name]:
				duplicated++
			case i < next[k]:
				reordered++
			case ids[k][i] != f.ID:
				renamed++
			default:
				next[k] = i + 1
				seen[name] = true
			}
			bob.Send(fmt.Sprintf(`{"type":"MESSAGE_ACK","data":{"id":%q}}`, f.ID))
		}
		if left == "0" {
			break
		}
	}
	for k := range ids {
		lost += len(ids[k])
	}
	return lost - len(seen), duplicated, reordered, renamed
}

// A single message, too, has its ID for ever: the key brings the same answer from
// memory, after a kill from the log; and another request under the key is refused
// both times.
func TestARequestSentAgainGetsTheSameAnswerAlsoAfterAKill(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	b := newBackend(t, s)
	first := map[string]Answer{}
	bodies := map[string]string{
		messagesPath:   `{"to":"ANZ-7","from":"ANZ-1","content":"one"}`,
		batchPath:      `{"messages":[{"to":"ANZ-7","from":"ANZ-1","content":"two"},{"to":"NONE-1","from":"ANZ-1","content":"three"},{"to":["ANZ-7","ANZ-8"],"from":"ANZ-1","content":"four"}]}`,
		broadcastsPath: `{"from":"ANZ-1","content":"five"}`,
	}
	for n := range 3 {
		carol := SignIn(t, s, "ANZ-9", "") // for the broadcast
		for path, body := range bodies {
			for repeat := range 2 {
				a, err := b.try("POST", path, body, "key-of-"+path)
				if err == nil && n+repeat == 0 {
					first[path] = a
				}
				want := first[path].Body
				if path == broadcastsPath && n > 0 {
					want = `{"receivers":0}` + "\n"
				}
				if err != nil || a.Body != want || a.Status != first[path].Status || (a.Header.Get("Idempotency-Replayed") == "true") != (n+repeat > 0) {
					t.Errorf("%s, round %d, repeat %d: %v, %d %s, want %s", path, n, repeat, err, a.Status, a.Body, want)
				}
			}
		}
		if got := round(carol); len(got) != max(1-n, 0) {
			t.Errorf("round %d: carol got %v", n, got)
		}
		s.Kill()
		s.Start()
		a, err := b.try("POST", messagesPath, `{"to":"ANZ-7","from":"ANZ-1","content":"another"}`, "key-of-"+messagesPath)
		if err != nil || a.Status != 422 || a.Code() != "IDEMPOTENCY_MISMATCH" {
			t.Errorf("another request with the key: %v, %d %s", err, a.Status, a.Body)
		}
	}
	bob := SignIn(t, s, "ANZ-7", "")
	missed, _ := bob.Fetch(100)
	var contents []string
	for _, f := range missed {
		contents = append(contents, f.Field("content"))
	}
	if len(contents) != 3 || !strings.Contains(strings.Join(contents, " "), "two four") {
		t.Errorf("ANZ-7 has %v", contents)
	}
}

func TestABroadcastReachesWhoIsConnectedAndWaitsForWhoLeaves(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {groupReceivers: 3}\n")
	b := newBackend(t, s)
	var peers []*Peer
	for i := range 8 {
		peers = append(peers, SignIn(t, s, fmt.Sprint("ANZ-", i), ""))
	}
	peers = append(peers, SignIn(t, s, "ANZ-3", ""))
	if a := b.want(202, "POST", broadcastsPath, `{"from":"ANZ-1","content":{"n": 1},"feature":"FAST"}`); a.Body != `{"receivers":8,"sessions":9}`+"\n" {
		t.Errorf("got %s", a.Body)
	}
	peers[0].Silence(true)
	if a := b.want(202, "POST", broadcastsPath, `{"from":"ANZ-1","content":{"n": 2}}`); a.Body != `{"receivers":8}`+"\n" {
		t.Errorf("got %s", a.Body)
	}
	for i, p := range peers {
		for n := 1; n <= 2; n++ {
			if f := p.Expect("MESSAGE"); f.Raw != fmt.Sprintf(`{"type":"MESSAGE","data":{"from":"ANZ-1","content":{"n": %d}}}`, n) {
				t.Errorf("peer %d got %s", i, f.Raw)
			}
		}
	}
	peers[0].Abort() // it has not proved the second
	awaitSessions(t, s, 8)
	if missed, _ := SignIn(t, s, "ANZ-0", "").Fetch(10); len(missed) != 1 || missed[0].Field("content") != `{"n": 2}` {
		t.Errorf("who left missed %v", missed)
	}
	if missed, _ := SignIn(t, s, "ANZ-50", "").Fetch(10); len(missed) != 0 {
		t.Errorf("who was not there missed %v", missed)
	}
}
