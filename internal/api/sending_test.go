package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	messages   = "/v1/messages"
	batch      = "/v1/messages/batch"
	broadcasts = "/v1/broadcasts"
)

var stored0 = `{"id":"` + idOf(0).String() + `","status":"stored"}`

func TestAMessageReachesTheStoreAsItWasSent(t *testing.T) {
	d := newDesk(t)
	content := "{ \"b\" : 1.0e5,\n\t\"a\":\"\\u00e9\\ud800\", \"a\":2 }"
	d.want(201, stored0, messages, `{"to":"ANZ-7","content":`+content+`,"reference":"r\n1","ttl":60,"from":"ANZ-5","confirmationEnabled":true}`)
	m := d.last()
	if m.frame != `{"type":"MESSAGE","data":{"from":"ANZ-5","content":`+content+`},"reference":"r\n1"}` {
		t.Errorf("the frame is %s", m.frame)
	}
	if m.From != "ANZ-5" || fmt.Sprint(m.To) != "[ANZ-7]" || m.Group || m.Fast || !m.Confirm || m.TTL != time.Minute || !m.Receipt || string(m.Reference) != `"r\n1"` {
		t.Errorf("sent %+v", m.Send)
	}
	d.want(201, stored0, messages, `{"content":0,"to":["ANZ-7","SHOP-8","ANZ-7"],"feature":"RELIABLE","ttl":null}`)
	if m = d.last(); m.From != "ANZ-1" || fmt.Sprint(m.To) != "[ANZ-7 SHOP-8]" || !m.Group || m.Confirm || m.TTL != 0 || m.Reference != nil {
		t.Errorf("sent %+v", m.Send)
	}
	if d.store.once[1] != nil {
		t.Errorf("a request without a key is %+v", d.store.once[1])
	}
}

func TestAFastMessageIsHandedOverAndSaysToHowMany(t *testing.T) {
	d := newDesk(t)
	a, b := d.connect("ANZ-7", 1), d.connect("ANZ-7", 2)
	d.want(202, `{"status":"handed over","sessions":2}`, messages, `{"to":"ANZ-7","content":1,"feature":"FAST"}`)
	d.want(202, `{"status":"handed over","sessions":0}`, messages, `{"to":"ANZ-8","content":1,"feature":"FAST"}`)
	d.want(202, `{"status":"handed over","sessions":2,"failed":[{"to":"X-1","code":"UNKNOWN_APP","reason":"no app of this name is configured here"}]}`,
		messages, `{"to":["ANZ-8","ANZ-7","X-1"],"content":2,"feature":"FAST"}`)
	const first, second = `{"type":"MESSAGE","data":{"from":"ANZ-1","content":1}}`, `{"type":"MESSAGE","data":{"from":"ANZ-1","content":2}}`
	if got := fmt.Sprint(a.frames, b.frames); got != fmt.Sprint([]string{first, second}, []string{first, second}) || len(d.store.taken) > 0 {
		t.Errorf("got %s, %d are stored", got, len(d.store.taken))
	}
}

func TestASenderIsAUserOfTheKeysApp(t *testing.T) {
	d := newDesk(t)
	admin := with(d.world.key(""))
	for _, c := range []struct{ members, from string }{
		{``, "ANZ-1"}, {`,"app":"ANZ"`, "ANZ-1"}, {`,"from":"ANZ-9"`, "ANZ-9"}, {`,"from":"ANZ-9","app":"ANZ"`, "ANZ-9"},
	} {
		if status, said := d.post(messages, `{"to":"ANZ-7","content":1`+c.members+`}`); status != 201 || d.last().From != wire.UserID(c.from) {
			t.Errorf("%s: %d %s, from %s", c.members, status, said, d.last().From)
		}
	}
	for members, from := range map[string]wire.UserID{`,"app":"SHOP"`: "SHOP-1", `,"from":"SHOP-3"`: "SHOP-3"} {
		if answer, said := ask(t, d.h, "POST", messages, admin, body(`{"to":"SHOP-7","content":1`+members+`}`)); answer.StatusCode != 201 || d.last().From != from {
			t.Errorf("%s: %s, from %s", members, said, d.last().From)
		}
	}
	sent := len(d.store.taken)
	for _, path := range []string{messages, broadcasts} {
		to := map[string]string{messages: `"to":"ANZ-7",`}[path]
		d.problem(403, CodeForbidden, path, `{`+to+`"content":1,"from":"SHOP-1"}`)
		d.problem(403, CodeForbidden, path, `{`+to+`"content":1,"app":"SHOP"}`)
		d.problem(403, CodeForbidden, path, `{`+to+`"content":1,"app":"NONE"}`)
		if p := d.problem(400, CodeInvalidRequest, path, `{`+to+`"content":1,"app":"SHOP","from":"ANZ-1"}`); p["field"] != "app" {
			t.Errorf("%v", p)
		}
		for members, want := range map[string]string{
			``: "400 INVALID_REQUEST from", `,"app":"NONE"`: "404 UNKNOWN_APP app", `,"from":"NONE-1"`: "404 UNKNOWN_APP from", `,"app":"BARE"`: "400 INVALID_REQUEST from",
		} {
			answer, said := ask(t, d.h, "POST", path, admin, body(`{`+to+`"content":1`+members+`}`))
			if got := problemLine(t, answer, said); got != want {
				t.Errorf("%s with an admin key, %q: %s, want %s", path, members, got, want)
			}
		}
	}
	if len(d.store.taken) != sent {
		t.Errorf("%d were sent all the same", len(d.store.taken)-sent)
	}
}

func TestReceiversOutOfReachAreNamedAndTheOthersGetIt(t *testing.T) {
	d := newDesk(t)
	d.want(201, `{"id":"`+idOf(0).String()+`","status":"stored","failed":[{"to":"BARE-1","code":"FORBIDDEN","reason":"users of your app may not reach users of that app"},`+
		`{"to":"x \"y\"","code":"BAD_RECEIVER","reason":"this is no user ID"},`+
		`{"to":"X-1","code":"UNKNOWN_APP","reason":"no app of this name is configured here"}]}`, // as they were asked for
		messages, `{"to":["BARE-1","SHOP-2","x \"y\"","X-1","ANZ-3"],"content":1}`)
	if to := fmt.Sprint(d.last().To); to != "[SHOP-2 ANZ-3]" {
		t.Errorf("sent to %s", to)
	}
	full := func(who wire.UserID) {
		d.store.outcome = func(*delivery.Send) *wire.Error {
			return &wire.Error{Code: wire.CodeMailboxFull, Reason: "full", To: []wire.UserID{who}, Group: true}
		}
	}
	full("ANZ-3")
	d.want(201, `{"id":"`+idOf(0).String()+`","status":"stored","failed":[{"to":"ANZ-3","code":"MAILBOX_FULL","reason":"full"}]}`,
		messages, `{"to":["ANZ-2","ANZ-3"],"content":1}`)
	p := d.problem(409, wire.CodeMailboxFull, messages, `{"to":["ANZ-3"],"content":1}`)
	if fmt.Sprint(p["failed"]) != "[map[code:MAILBOX_FULL reason:full to:ANZ-3]]" {
		t.Errorf("%v", p)
	}
	p = d.problem(404, wire.CodeUnknownApp, messages, `{"to":["X-3","BARE-1","no"],"content":1}`)
	if list, ok := p["failed"].([]any); !ok || len(list) != 3 {
		t.Errorf("%v", p)
	}
	if p = d.problem(400, wire.CodeBadReceiver, messages, `{"to":["a","b"],"content":1}`); p["field"] != "to" || len(p["failed"].([]any)) != 2 {
		t.Errorf("%v", p)
	}
	if p = d.problem(403, wire.CodeForbidden, messages, `{"to":"BARE-1","content":1}`); p["failed"] != nil {
		t.Errorf("%v", p)
	}
}

// What the store says reaches the sender under the socket's codes.
func TestEachRefusalOfTheStoreHasItsStatus(t *testing.T) {
	d := newDesk(t)
	for code, status := range map[string]int{
		wire.CodeMailboxFull: 409, wire.CodeStoreFull: 507, wire.CodeStoreDown: 503, wire.CodeOverloaded: 503, wire.CodeTimeout: 504,
		CodeMismatch: 422,
	} {
		d.store.failing(code, func(e *wire.Error) { e.MayYetArrive = code == wire.CodeTimeout })
		p := d.problem(status, code, messages, `{"to":"ANZ-7","content":1}`)
		if p["detail"] != "because" || (p["mayYetArrive"] == true) != (code == wire.CodeTimeout) {
			t.Errorf("%v", p)
		}
		answer, said := ask(t, d.h, "POST", batch, d.key, body(`{"messages":[{"to":"ANZ-7","content":1},{"to":"ANZ-8","content":1,"feature":"FAST"}]}`))
		if code == CodeMismatch {
			if got := problemLine(t, answer, said); got != "422 IDEMPOTENCY_MISMATCH <nil>" {
				t.Errorf("a batch under another's key: %s", got)
			}
			continue
		}
		more := map[bool]string{true: `,"mayYetArrive":true`}[code == wire.CodeTimeout]
		if want := `{"results":[{"status":"refused","code":"` + code + `","reason":"because"` + more + `},{"status":"handed over","sessions":0}]}` + "\n"; said != want {
			t.Errorf("a batch is answered with\n%s, want\n%s", said, want)
		}
	}
}

func TestAMessageThatIsWrongIsRefusedByItsField(t *testing.T) {
	d := newDesk(t)
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		body, field, code string
		status            int
	}{
		{`{"to":"ANZ-7","content":1,"refrence":"x"}`, "refrence", CodeInvalidRequest, 400},
		{`{"to":"ANZ-7","Content":1}`, "Content", CodeInvalidRequest, 400},
		{`{"to":"ANZ-7","content":1,"content":2}`, "content", CodeInvalidRequest, 400},
		{`{"to":"ANZ-7"}`, "content", CodeInvalidRequest, 400},
		{`{"content":1}`, "to", CodeInvalidRequest, 400},
		{`{"to":"ANZ7","content":1}`, "to", CodeInvalidRequest, 400},
		{`{"to":["ANZ-1","ANZ-2","ANZ-3","ANZ-4","ANZ-5","ANZ-6"],"content":1}`, "to", wire.CodeTooManyReceivers, 400},
		{`{"to":"ANZ-7","content":"` + long + `"}`, "content", CodeMessageTooLong, 413},
		{`{"to":"ANZ-7","content":1,"reference":"` + long + `"}`, "content", CodeMessageTooLong, 413},
		{`{"to":"ANZ-7","content":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, "", wire.CodeTooDeep, 400},
		{`{"to":"ANZ-7","content":1}}`, "", CodeInvalidRequest, 400},
		{`[{"to":"ANZ-7","content":1}]`, "", CodeInvalidRequest, 400},
		{"{\"to\":\"ANZ-7\",\"content\":\"\xff\"}", "", CodeInvalidRequest, 400},
	} {
		if p := d.problem(c.status, c.code, messages, c.body); p["field"] != c.field && (p["field"] != nil || c.field != "") {
			t.Errorf("%.80s: %v", c.body, p)
		}
		all := `{"messages":[{"to":"ANZ-7","content":7},` + c.body + `]}`
		if c.field == "" {
			if !strings.HasPrefix(c.body, "[") { // which is one message of a wrong form
				d.problem(c.status, c.code, batch, all)
			}
			continue
		}
		status, said := d.post(batch, all)
		if status != 200 || !strings.Contains(said, stored0) || !strings.Contains(said, `"code":"`+c.code+`"`) || !strings.Contains(said, `"field":"messages[1].`+c.field+`"`) {
			t.Errorf("%.80s in a batch: %d %s", c.body, status, said)
		}
	}
	exact := 2000 - len(`{"type":"MESSAGE","data":{"from":"ANZ-1","content":"","reference":}}`)
	d.want(201, stored0, messages, `{"to":"ANZ-7","content":"`+long[:exact]+`"}`)
	if n := len(d.last().frame); n > 2000 || n < 1980 {
		t.Errorf("the largest frame has %d bytes", n)
	}
}

func TestABatchIsAnsweredInItsOrderAndStoredInOne(t *testing.T) {
	d := newDesk(t)
	d.connect("ANZ-7", 1)
	d.store.outcome = func(s *delivery.Send) *wire.Error {
		if s.To[0] == "ANZ-9" {
			return &wire.Error{Code: wire.CodeMailboxFull, Reason: "full", To: s.To}
		}
		return nil
	}
	d.want(200, `{"results":[{"status":"refused","code":"MAILBOX_FULL","reason":"full"},{"status":"handed over","sessions":1},`+
		`{"status":"refused","code":"BAD_RECEIVER","reason":"none of the receivers is a user ID","field":"messages[2].to","failed":[{"to":"a","code":"BAD_RECEIVER","reason":"this is no user ID"}]},`+
		`{"id":"`+idOf(3).String()+`","status":"stored","failed":[{"to":"X-2","code":"UNKNOWN_APP","reason":"no app of this name is configured here"}]}]}`,
		batch, `{"messages":[{"to":"ANZ-9","content":0},{"to":"ANZ-7","content":1,"feature":"FAST"},{"to":["a"],"content":2},{"to":["ANZ-8","X-2"],"content":3}]}`,
		header(onceHeader, "k"))
	if len(d.store.once) != 1 || d.store.once[0].Count != 4 || len(d.store.taken) != 2 || d.store.taken[1].Index != 3 {
		t.Errorf("the store got %+v as %+v", d.store.taken, d.store.once)
	}
	if p := d.problem(400, CodeInvalidRequest, batch, `{"messages":[1,2,3,4,5]}`); p["field"] != "messages" {
		t.Errorf("%v", p)
	}
	d.problem(400, CodeInvalidRequest, batch, `{"messages":[]}`)
	d.problem(400, CodeInvalidRequest, batch, `{"messages":[{"to":"ANZ-7","content":1}],"from":"ANZ-2"}`)
	d.want(200, `{"results":[{"status":"refused","code":"FORBIDDEN","reason":"the key is of app ANZ, this is about app SHOP"}]}`,
		batch, `{"messages":[{"to":"ANZ-7","content":1,"from":"SHOP-1"}]}`)
}

// Who waits for the store does not wait for ever. What is known by then is said.
func TestARequestWaitsForTheStoreNoLongerThanItsLimit(t *testing.T) {
	d := newDesk(t)
	d.limits.Wait = time.Nanosecond
	d.store.silent = func(s *delivery.Send) bool { return s.To[0] == "ANZ-9" }
	if p := d.problem(504, wire.CodeTimeout, messages, `{"to":"ANZ-9","content":0}`); p["mayYetArrive"] != true {
		t.Errorf("%v", p)
	}
	d.want(200, `{"results":[`+stored0+`,{"status":"refused","code":"TIMEOUT","reason":"the message store did not answer; the message may yet arrive","mayYetArrive":true}]}`,
		batch, `{"messages":[{"to":"ANZ-7","content":0},{"to":"ANZ-9","content":1}]}`)
	d.connect("ANZ-9", 1)
	if p := d.problem(504, wire.CodeTimeout, broadcasts, `{"content":0}`); p["mayYetArrive"] != true {
		t.Errorf("%v", p)
	}
}

// A repeat that this process does not remember any more is known to the store.
func TestWhatTheStoreKnowsAlreadyIsAnsweredAsAReplay(t *testing.T) {
	d := newDesk(t)
	known := make(map[[16]byte]uint32)
	d.store.outcome = func(s *delivery.Send) *wire.Error {
		once := d.store.once[len(d.store.once)-1]
		if print, there := known[once.Key]; there {
			s.Repeated = print == once.Print
		}
		known[once.Key] = once.Print
		return nil
	}
	d.connect("ANZ-7", 1)
	for _, c := range []struct{ path, body, first, again string }{
		{messages, `{"to":"ANZ-7","content":1}`, stored0, stored0},
		{batch, `{"messages":[{"to":"ANZ-7","content":1}]}`, `{"results":[` + stored0 + `]}`, `{"results":[` + stored0 + `]}`},
		{broadcasts, `{"content":1}`, `{"receivers":1}`, `{"receivers":0}`},
	} {
		key := header(onceHeader, "k"+c.path)
		for i, want := range []string{c.first, c.again} {
			answer, said := ask(t, d.h, "POST", c.path, d.key, key, body(c.body))
			if said != want+"\n" || (answer.Header.Get(replayHeader) == "true") != (i == 1) {
				t.Errorf("%s, time %d: %s, replayed %q", c.path, i+1, said, answer.Header.Get(replayHeader))
			}
			d.now = d.now.Add(time.Hour) // this process forgets
		}
	}
}

// A batch of which the store refused some is carried out again when it is
// repeated; one that will never be better is not.
func TestABatchThatIsNotSettledIsTriedAgainUnderItsKey(t *testing.T) {
	d := newDesk(t)
	full := true
	d.store.outcome = func(s *delivery.Send) *wire.Error {
		if full && s.To[0] == "ANZ-9" {
			return &wire.Error{Code: wire.CodeMailboxFull, Reason: "full", To: s.To}
		}
		return nil
	}
	key := header(onceHeader, "k")
	body := `{"messages":[{"to":"ANZ-7","content":0},{"to":"ANZ-9","content":1},{"to":"X-9","content":1}]}`
	const never = `{"status":"refused","code":"UNKNOWN_APP","reason":"no app of this name is configured here"}`
	for range 2 {
		d.want(200, `{"results":[`+stored0+`,{"status":"refused","code":"MAILBOX_FULL","reason":"full"},`+never+`]}`, batch, body, key)
	}
	full = false
	for range 3 {
		d.want(200, `{"results":[`+stored0+`,{"id":"`+idOf(1).String()+`","status":"stored"},`+never+`]}`, batch, body, key)
	}
	if len(d.store.once) != 3 || *d.store.once[0] != *d.store.once[2] {
		t.Errorf("the store was asked %d times", len(d.store.once))
	}
}

func TestABroadcastSaysWhomItReaches(t *testing.T) {
	d := newDesk(t)
	d.want(202, `{"receivers":0}`, broadcasts, `{"content":1}`)
	var all []*caller
	for i := range 8 {
		all = append(all, d.connect(wire.UserID(fmt.Sprint("ANZ-", i)), byte(i)))
	}
	d.connect("SHOP-1", 100)
	all = append(all, d.connect("ANZ-3", 101))
	d.want(202, `{"receivers":8,"sessions":9}`, broadcasts, `{"content":{"a": 1},"feature":"FAST","reference":"r"}`)
	for _, c := range all {
		if len(c.frames) != 1 || c.frames[0] != `{"type":"MESSAGE","data":{"from":"ANZ-1","content":{"a": 1}},"reference":"r"}` {
			t.Errorf("%s got %v", c.user, c.frames)
		}
	}
	d.want(202, `{"receivers":8}`, broadcasts, `{"content":1,"ttl":5,"from":"ANZ-2"}`)
	if m := d.last(); len(d.store.taken) != 2 || m.From != "ANZ-2" || m.TTL != 5*time.Second || !m.Group || fmt.Sprint(m.To) != "[ANZ-5 ANZ-6 ANZ-7]" {
		t.Errorf("%d records, the last %+v", len(d.store.taken), m.Send)
	}
	d.store.failing(wire.CodeMailboxFull, func(e *wire.Error) { e.To = e.To[:1] })
	d.want(202, `{"receivers":6,"refused":2,"failed":[{"to":"ANZ-0","code":"MAILBOX_FULL","reason":"because"},{"to":"ANZ-5","code":"MAILBOX_FULL","reason":"because"}]}`,
		broadcasts, `{"content":1}`)
	d.store.failing(wire.CodeStoreFull)
	d.problem(507, wire.CodeStoreFull, broadcasts, `{"content":1}`)
	for _, wrong := range []string{`{"to":"ANZ-1","content":1}`, `{}`, `{"content":"` + strings.Repeat("x", 2000) + `"}`} {
		if status, said := d.post(broadcasts, wrong); status != 400 && status != 413 {
			t.Errorf("%.40s: %d %s", wrong, status, said)
		}
	}
}

func TestABroadcastNamesOnlySomeOfVeryManyFailures(t *testing.T) {
	d := newDesk(t)
	d.limits.Receivers = 80
	for i := range 200 {
		d.connect(wire.UserID(fmt.Sprint("ANZ-", i)), byte(i))
	}
	d.store.failing(wire.CodeMailboxFull)
	status, said := d.post(broadcasts, `{"content":1}`)
	if status != 202 || !strings.HasPrefix(said, `{"receivers":0,"refused":200,`) || strings.Count(said, "MAILBOX_FULL") != mostFailures {
		t.Errorf("%d %.200s", status, said)
	}
}

// problemLine returns status, code and field of a problem.
func problemLine(t *testing.T, answer *http.Response, said string) string {
	t.Helper()
	p := decoded(t, said)
	return fmt.Sprint(answer.StatusCode, " ", p["code"], " ", p["field"])
}

func BenchmarkBatch100(b *testing.B) {
	d := newDesk(b)
	d.limits = MessageLimits{Frame: 64 << 10, Receivers: 10, Batch: 1000, Wait: time.Minute}
	who := Identity{App: "ANZ"}
	r := Rooms{Keys: d.ring, Apps: someApps{"ANZ"}, Hub: d.hub, Mailboxes: d.store, Messages: func() MessageLimits { return d.limits }}
	one := `{"to":"ANZ-7","content":"` + strings.Repeat("x", 1000) + `","reference":"abc123"}`
	request := batchRequest{Body: Raw[batchBody](`{"messages":[` + strings.Repeat(one+",", 99) + one + `]}`)}
	d.store.forget = true
	b.SetBytes(int64(len(request.Body)))
	b.ReportAllocs()
	for b.Loop() {
		answer, err := r.sendBatch(b.Context(), who, request)
		if err != nil || len(answer.appendJSON(nil)) < 1000 {
			b.Fatal(err)
		}
	}
}
