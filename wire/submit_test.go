package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestSubmissionSaysWhatAFrameSays(t *testing.T) {
	body := ` {"to":"ANZ-1", "content" : {"a":[1, "é\n"]} ,"from":"ANZ-2","feature":"FAST","reference":"r\u0031",` +
		`"ttl":60,"confirmationEnabled":true,"app":"ANZ"} `
	s, wrong := wire.ParseSubmission([]byte(body), 10)
	if wrong != nil {
		t.Fatal(wrong)
	}
	want := `ANZ ANZ-2 [ANZ-1] [] false {"a":[1, "é\n"]} "r\u0031" true true 1m0s`
	got := fmt.Sprintf("%s %s %v %v %t %s %s %t %t %s", s.App, s.From, s.To, s.Bad, s.List, s.Content, s.Reference, s.Fast, s.Confirm, s.TTL)
	if got != want {
		t.Errorf("read %s\nwant %s", got, want)
	}
	s, wrong = wire.ParseSubmission([]byte(`{"content":0,"to":["ANZ-1","B-2","ANZ-1","x y",7],"from":null,"ttl":null,"feature":"RELIABLE"}`), 4)
	if wrong != nil || fmt.Sprint(s.To, s.Bad, s.List) != "[ANZ-1 B-2] [x y 7] true" || s.Confirm || s.Fast || s.Reference != nil || s.From != "" || s.TTL != 0 {
		t.Errorf("read %+v, %v", s, wrong)
	}
	b, wrong := wire.ParseBroadcast([]byte(`{"content":[],"app":"A"}`))
	if wrong != nil || string(b.Content) != "[]" || b.App != "A" || b.To != nil {
		t.Errorf("read %+v, %v", b, wrong)
	}
}

func TestSubmissionsThatAreWrongNameTheField(t *testing.T) {
	deep := strings.Repeat("[", wire.MaxDepth-2) + strings.Repeat("]", wire.MaxDepth-2)
	for _, c := range []struct{ body, want string }{
		{``, `NOT_JSON "" the body is not JSON, at byte 0`},
		{`{"to":"ANZ-1","content":1`, `NOT_JSON "" the body is not JSON, at byte 25`},
		{`{"to":"ANZ-1","content":1} 2`, `NOT_JSON "" the body is not JSON, at byte 27`},
		{`{"to":"ANZ-1","content":01}`, `NOT_JSON "" the body is not JSON, at byte 25`},
		{`[]`, `BAD_FIELD "" a message is a JSON object`},
		{`{"content":1}`, `MISSING_FIELD "to" to is missing, or names nobody`},
		{`{"content":1,"to":[]}`, `MISSING_FIELD "to" to is missing, or names nobody`},
		{`{"to":"ANZ-1"}`, `MISSING_FIELD "content" content is missing`},
		{`{"to":"ANZ-1","content":null}`, `MISSING_FIELD "content" content is missing`},
		{`{"to":"ANZ","content":1}`, `BAD_FIELD "to" to: a user ID is appName-number, with exactly one '-'`},
		{`{"to":{},"content":1}`, `BAD_FIELD "to" to: a user ID is appName-number, with exactly one '-'`},
		{`{"to":["A-1","A-2","A-3"],"content":1}`, `TOO_MANY_RECEIVERS "to" the message has more receivers than the limit of 2`},
		{`{"to":"A-1","content":1,"from":"A-01"}`, `BAD_FIELD "from" from: the number in a user ID has decimal digits only, without sign and leading zeros`},
		{`{"to":"A-1","content":1,"from":7}`, `BAD_FIELD "from" from: a user ID is appName-number, with exactly one '-'`},
		{`{"to":"A-1","content":1,"app":7}`, `BAD_FIELD "app" app is the name of an app`},
		{`{"to":"A-1","content":1,"feature":"SLOW"}`, `BAD_FIELD "feature" feature is RELIABLE or FAST`},
		{`{"to":"A-1","content":1,"feature":1}`, `BAD_FIELD "feature" feature is RELIABLE or FAST`},
		{`{"to":"A-1","content":1,"reference":1}`, `BAD_FIELD "reference" reference is a string`},
		{`{"to":"A-1","content":1,"ttl":0}`, `BAD_FIELD "ttl" ttl is a whole number of seconds above 0`},
		{`{"to":"A-1","content":1,"ttl":"60"}`, `BAD_FIELD "ttl" ttl is a whole number of seconds above 0`},
		{`{"to":"A-1","content":1,"ttl":1.5}`, `BAD_FIELD "ttl" ttl is a whole number of seconds above 0`},
		{`{"to":"A-1","content":1,"confirmationEnabled":"yes"}`, `BAD_FIELD "confirmationEnabled" confirmationEnabled is true or false`},
		{`{"to":"A-1","content":1,"Content":2}`, `BAD_FIELD "Content" there is no field "Content" here`},
		{`{"to":"A-1","content":1,"refrence":"x"}`, `BAD_FIELD "refrence" there is no field "refrence" here`},
		{`{"to":"A-1","content":1,"content":2}`, `BAD_FIELD "content" content is given twice`},
		{`{"to":null,"content":1,"to":"A-1"}`, `BAD_FIELD "to" to is given twice`},
		{`{"to":"A-1","content":` + deep[1:len(deep)-1] + `,"ttl":-1,"x":1}`, `BAD_FIELD "ttl" ttl is a whole number of seconds above 0`},
		{`{"to":"A-1","content":[` + deep + `]}`, `TOO_DEEP "" arrays and objects are nested more than 512 deep`},
	} {
		_, wrong := wire.ParseSubmission([]byte(c.body), 2)
		if got := said(wrong); got != c.want {
			t.Errorf("%.80s is\n\t%s, want\n\t%s", c.body, got, c.want)
		}
	}
	if _, wrong := wire.ParseBroadcast([]byte(`{"to":"A-1","content":1}`)); said(wrong) != `BAD_FIELD "to" there is no field "to" here` {
		t.Errorf("a broadcast with receivers is %s", said(wrong))
	}
}

func said(wrong *wire.BodyError) string {
	if wrong == nil {
		return "right"
	}
	return fmt.Sprintf("%s %q %s", wrong.Code, wrong.Field, wrong.Reason)
}

// What may be nested in a message is the same however it comes.
func TestContentIsNestedAsDeeplyAsInAFrame(t *testing.T) {
	for _, depth := range []int{wire.MaxDepth - 2, wire.MaxDepth - 1} {
		content := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		_, frame := wire.ParseFrame([]byte(`{"type":"MESSAGE","data":{"to":"A-1","content":` + content + `}}`))
		one := `{"to":"A-1","content":` + content + `}`
		_, single := wire.ParseSubmission([]byte(one), 1)
		_, many := wire.ParseSubmissions([]byte(`{"messages":[`+one+`]}`), 1, 1)
		if (frame == nil) != (single == nil) || (frame == nil) != (many == nil) {
			t.Errorf("%d deep: a frame says %v, a message %v, a message of many %v", depth, frame, single, many)
		}
	}
}

func TestOneWrongMessageOfManyStandsBesideTheOthers(t *testing.T) {
	list, wrong := wire.ParseSubmissions([]byte(`{"messages":[{"to":"A-1","content":1},7,{"to":"A-2","content":2,"ttl":-1},{"to":["A-3"],"content":3}]}`), 4, 10)
	if wrong != nil || len(list) != 4 {
		t.Fatalf("read %v, %v", list, wrong)
	}
	var got []string
	for _, it := range list {
		got = append(got, fmt.Sprint(it.To, string(it.Content), " ", said(it.Wrong)))
	}
	want := []string{
		`[A-1]1 right`, `[] BAD_FIELD "messages[1]" a message is a JSON object`,
		`[A-2]2 BAD_FIELD "messages[2].ttl" ttl is a whole number of seconds above 0`, `[A-3]3 right`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %v\nwant %v", got, want)
	}
	for body, want := range map[string]string{
		`[]`:                              `NOT_JSON "" the body is not a JSON object`,
		`{}`:                              `MISSING_FIELD "messages" messages is missing or empty`,
		`{"messages":[]}`:                 `MISSING_FIELD "messages" messages is missing or empty`,
		`{"messages":null}`:               `MISSING_FIELD "messages" messages is missing or empty`,
		`{"messages":{}}`:                 `BAD_FIELD "messages" messages is an array`,
		`{"messages":[1],"messages":[1]}`: `BAD_FIELD "messages" messages is given twice`,
		`{"messages":[1],"message":2}`:    `BAD_FIELD "message" there is no field "message" here`,
		`{"messages":[1,2,3,4,5]}`:        `BAD_FIELD "messages" messages has more entries than the limit of 4`,
		`{"messages":[{"to":"A-1","content":1},{"to":"A-`: `NOT_JSON "" the body is not JSON, at byte 47`,
		`{"messages":[{"to":"A-1","content":1}]}{}`:       `NOT_JSON "" the body is not JSON, at byte 39`,
		`{"messages":[{"to":"A-1","content":1,"x":tru}]}`: `NOT_JSON "" the body is not JSON, at byte 41`,
	} {
		if _, wrong := wire.ParseSubmissions([]byte(body), 4, 10); said(wrong) != want {
			t.Errorf("%s is\n\t%s, want\n\t%s", body, said(wrong), want)
		}
	}
}

// The receivers of the messages of one body share memory, but not a place.
func TestReceiversOfManyMessagesAreApart(t *testing.T) {
	var body bytes.Buffer
	body.WriteString(`{"messages":[`)
	for i := range 50 {
		fmt.Fprintf(&body, `{"to":"A-%d"},{"to":"B-%d","content":1},`, i, i)
	}
	body.WriteString(`{}]}`)
	list, wrong := wire.ParseSubmissions(body.Bytes(), 101, 10)
	if wrong != nil {
		t.Fatal(wrong)
	}
	for i := range 50 {
		list[2*i].To = append(list[2*i].To, "X-1")
		if want := fmt.Sprintf("[B-%d]", i); fmt.Sprint(list[2*i+1].To) != want {
			t.Fatalf("message %d goes to %v", 2*i+1, list[2*i+1].To)
		}
	}
}

// FuzzSubmission compares with encoding/json: what is accepted, and what is read.
func FuzzSubmission(f *testing.F) {
	for _, seed := range []string{
		`{"to":"ANZ-1","content":{"a":1},"reference":"r","ttl":7,"feature":"FAST","confirmationEnabled":true,"from":"A-1","app":"A"}`,
		`{"to":["A-1","A-1","b"],"content":"\ud800"}`, `{"\u0074o":"A-1","content":[]}`, `{"to":"A-1","content":1,"content":1}`,
		`{"messages":[{"to":"A-1","content":1}]}`, `{`, `[]`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, wrong := wire.ParseSubmission(b, 3)
		o := outlineOf(b)
		deep := o.depth+1 > wire.MaxDepth
		if notJSON := wrong != nil && wrong.Code == wire.CodeNotJSON; !deep && notJSON == o.valid {
			t.Fatalf("%q: valid is %t, but %s", b, o.valid, said(wrong))
		}
		list, many := wire.ParseSubmissions([]byte(`{"messages":[`+string(b)+`]}`), 1, 3)
		if wrong == nil && (many != nil || len(list) != 1 || list[0].Wrong != nil || !same(list[0].Submission, s)) {
			t.Fatalf("%q: alone it is %+v, among many %v, %v", b, s, list, many)
		}
		if wrong != nil {
			return
		}
		compareSubmission(t, b, s, o)
	})
}

func same(a, b wire.Submission) bool {
	return fmt.Sprintf("%q", fmt.Sprint(a)) == fmt.Sprintf("%q", fmt.Sprint(b))
}

func compareSubmission(t *testing.T, b []byte, s wire.Submission, o outline) {
	for name, twice := range o.twice {
		if twice {
			t.Fatalf("%q: %s is given twice", b, name)
		}
	}
	for name := range o.members {
		if !strings.Contains(" to content from app feature reference ttl confirmationEnabled ", " "+name+" ") {
			t.Fatalf("%q: %q is no field", b, name)
		}
	}
	if !bytes.Equal(s.Content, o.value("content")) || !bytes.Equal(s.Reference, o.value("reference")) {
		t.Fatalf("%q: content is %s, reference %s", b, s.Content, s.Reference)
	}
	var ttl float64
	if v := o.value("ttl"); v != nil && (json.Unmarshal(v, &ttl) != nil || ttl < 1e9 && s.TTL != time.Duration(ttl)*time.Second) {
		t.Fatalf("%q: ttl is %s", b, s.TTL)
	}
	if from, ok := o.text("from"); ok && wire.UserID(from) != s.From {
		t.Fatalf("%q: from is %s", b, s.From)
	}
	if app, ok := o.text("app"); ok && app != s.App {
		t.Fatalf("%q: app is %s", b, s.App)
	}
	if to, ok := o.text("to"); ok && (len(s.To) != 1 || wire.UserID(to) != s.To[0] || s.List) {
		t.Fatalf("%q: to is %v", b, s.To)
	}
	for _, to := range s.To {
		if wire.CheckUserID([]byte(to)) != nil {
			t.Fatalf("%q: to is %v", b, s.To)
		}
	}
}

// What a request of 100 messages of 1000 characters costs, for each of them.
func BenchmarkSubmissions100(b *testing.B) {
	one := `{"to":"ANZ-1232121","content":"` + strings.Repeat("0123456789", 100) + `","reference":"abc123"}`
	body := []byte(`{"messages":[` + strings.Repeat(one+",", 99) + one + `]}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := wire.ParseSubmissions(body, 1000, 10); err != nil {
			b.Fatal(err)
		}
	}
}
