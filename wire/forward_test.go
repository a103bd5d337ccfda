package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const forwardNeeds = `"origin":"domain-01","from":"ANZ-1","to":["ANZ-7"],"hops":1,"graph":17,"sentAt":"2026-11-26T06:37:30.000Z","frame":{"type":"MESSAGE"}`

func aForward() wire.Forward {
	at := time.Date(2026, 11, 26, 6, 37, 30, 123e6, time.UTC)
	return wire.Forward{
		Origin: "domain-01", From: "ANZ-1", To: []wire.UserID{"ANZ-7", "ANZ-8"}, Hops: 3, Graph: 1764140000123, SentAt: at,
		Group: true, Quiet: true, Confirm: true, Reference: []byte(`"a\u0062"`), Expires: at.Add(time.Hour),
		Producer: "phone-1", Seq: 17, Frame: []byte(`{"type":"MESSAGE","data":{"from":"ANZ-1","content":{"a": 1}}}`),
	}
}

func TestAForwardArrivesAsItWasWritten(t *testing.T) {
	id, err := wire.NewID(time.Unix(1, 0), bytes.NewReader(make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	all, small := aForward(), aForward()
	all.Fast, all.Notice, all.Presence = true, true, true
	small.Group, small.Quiet, small.Confirm = false, false, false
	small.Reference, small.Expires, small.Producer, small.Seq = nil, time.Time{}, "", 0
	for _, f := range []wire.Forward{aForward(), all, small} {
		waits := wire.AppendForward([]byte("before "), &f)[len("before "):]
		got, err := wire.ParseForward(waits)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", waits, got, err, f)
		}
		if !wire.IsForward(waits) || wire.IsForward(f.Frame) {
			t.Errorf("%s is not known as what it is", waits)
		}
		if n := len(waits) - len(f.Frame) - 2*len(f.Reference); n > wire.ForwardOverhead+len(f.To)*wire.ForwardReceiver {
			t.Errorf("it is %d bytes larger than what is in it", n)
		}
		f.ID, f.Log, f.Place, f.Low = id, "domain-01/0 \"ä\"", 1<<63, 12
		given := wire.AppendPlace(nil, waits, f.ID, f.Log, f.Place, f.Low)
		got, err = wire.ParseForward(given)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", given, got, err, f)
		}
		frame, bad := wire.ParseServerFrame(given)
		if bad != nil || frame.Type != wire.TypeForward || frame.ID != id {
			t.Errorf("%s: a client reads %+v, %v", given, frame, bad)
		}
	}
}

// The largest of everything stays within what a link may take besides the frame.
func TestAForwardIsLittleLargerThanWhatIsInIt(t *testing.T) {
	user := wire.UserID(strings.Repeat("a", wire.MaxAppName) + "-9223372036854775807")
	f := aForward()
	f.Origin, f.From, f.Producer, f.Seq = strings.Repeat("d", wire.MaxLogName), user, strings.Repeat("p", wire.MaxProducer), wire.MaxSeq
	f.Fast, f.Notice, f.Presence, f.Graph, f.Hops = true, true, true, 1<<64-1, 65536
	f.To = nil
	for i := range wire.MaxForwardReceivers {
		f.To = append(f.To, user[:len(user)-4]+wire.UserID(fmt.Sprintf("%04d", i)))
	}
	frame := wire.AppendPlace(nil, wire.AppendForward(nil, &f), wire.ID{6: 0x70, 8: 0x80}, strings.Repeat("l", wire.MaxLogName), 1<<64-1, 1<<64-1)
	if n := len(frame) - len(f.Frame) - 2*len(f.Reference); n > wire.ForwardOverhead+len(f.To)*wire.ForwardReceiver {
		t.Errorf("it is %d bytes larger than what is in it", n)
	}
	if _, err := wire.ParseForward(frame); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoForwardIsRefused(t *testing.T) {
	many := make([]string, wire.MaxForwardReceivers+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"ANZ-%d"`, i)
	}
	with := func(old, new string) string {
		if !strings.Contains(forwardNeeds, old) {
			t.Fatalf("there is no %s", old)
		}
		return `{"type":"FORWARD","data":{` + strings.Replace(forwardNeeds, old, new, 1) + `}}`
	}
	more := func(member string) string { return `{"type":"FORWARD","data":{` + forwardNeeds + "," + member + `}}` }
	beside := func(member string) string { return `{"type":"FORWARD","data":{` + forwardNeeds + `},` + member + `}` }
	for _, c := range []struct{ frame, code, field string }{
		{``, wire.CodeNotJSON, ""},
		{`[]`, wire.CodeNotJSON, ""},
		{`{"type":"FORWARD","data":{}`, wire.CodeNotJSON, ""},
		{more(`"x":1}`) + `}`, wire.CodeNotJSON, ""},
		{more(`"x":` + nested(wire.MaxDepth+1)), wire.CodeTooDeep, ""},
		{`{"data":{` + forwardNeeds + `}}`, wire.CodeMissingField, "type"},
		{`{"type":"MESSAGE","data":{` + forwardNeeds + `}}`, wire.CodeBadField, "type"},
		{`{"type":"FORWARD"}`, wire.CodeMissingField, "data"},
		{`{"type":"FORWARD","data":[]}`, wire.CodeBadField, "data"},
		{`{"type":"FORWARD","data":{` + forwardNeeds + `},"data":{}}`, wire.CodeBadField, "data"},
		{with(`"origin":"domain-01",`, ``), wire.CodeMissingField, "data.origin"},
		{with(`"domain-01"`, `""`), wire.CodeBadField, "data.origin"},
		{with(`"from":"ANZ-1",`, `"from":null,`), wire.CodeMissingField, "data.from"},
		{with(`"ANZ-1"`, `"ANZ"`), wire.CodeBadField, "data.from"},
		{with(`["ANZ-7"]`, `"ANZ-7"`), wire.CodeBadField, "data.to"},
		{with(`["ANZ-7"]`, `[]`), wire.CodeBadField, "data.to"},
		{with(`["ANZ-7"]`, `["ANZ-7",7]`), wire.CodeBadField, "data.to"},
		{with(`["ANZ-7"]`, `[`+strings.Join(many, ",")+`]`), wire.CodeTooManyReceivers, "data.to"},
		{with(`"hops":1`, `"hops":0`), wire.CodeBadField, "data.hops"},
		{with(`"hops":1`, `"hops":65537`), wire.CodeBadField, "data.hops"},
		{with(`"hops":1`, `"hops":-1`), wire.CodeBadField, "data.hops"},
		{with(`17`, `1.5`), wire.CodeBadField, "data.graph"},
		{with(`17`, `18446744073709551616`), wire.CodeBadField, "data.graph"},
		{with(`2026-11-26T06:37:30.000Z`, `yesterday`), wire.CodeBadField, "data.sentAt"},
		{with(`{"type":"MESSAGE"}`, `[]`), wire.CodeBadField, "data.frame"},
		{with(`,"frame":{"type":"MESSAGE"}`, ``), wire.CodeMissingField, "data.frame"},
		{more(`"group":1`), wire.CodeBadField, "data.group"},
		{more(`"hops":1`), wire.CodeBadField, "data.hops"},
		{more(`"reference":1`), wire.CodeBadField, "data.reference"},
		{more(`"expires":"2026"`), wire.CodeBadField, "data.expires"},
		{more(`"expires":"9999-12-31T23:59:59-01:00"`), wire.CodeBadField, "data.expires"}, // in UTC it is in the year 10000
		{with(`2026-11-26T06:37:30.000Z`, `0000-01-01T00:00:00+01:00`), wire.CodeBadField, "data.sentAt"},
		{more(`"producer":"a b","seq":1`), wire.CodeBadField, "data.producer"},
		{more(`"seq":1`), wire.CodeBadField, "data.producer"},
		{more(`"producer":"a"`), wire.CodeBadField, "data.seq"},
		{more(`"producer":"a","seq":9007199254740992`), wire.CodeBadField, "data.seq"},
		{beside(`"id":"x"`), wire.CodeBadField, "id"},
		{beside(`"id":7`), wire.CodeBadField, "id"},
		{beside(`"log":""`), wire.CodeBadField, "log"},
		{beside(`"log":"` + strings.Repeat("l", wire.MaxLogName+1) + `"`), wire.CodeBadField, "log"},
		{beside(`"place":"1"`), wire.CodeBadField, "place"},
		{beside(`"low":-1`), wire.CodeBadField, "low"},
		{beside(`"low":1,"low":1`), wire.CodeBadField, "low"},
	} {
		f, err := wire.ParseForward([]byte(c.frame))
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field {
			t.Errorf("%.200s:\ngot %+v, %v; want %s of %q", c.frame, f, err, c.code, c.field)
		}
	}
	for _, frame := range []string{
		with("{", "{"), more(`"news":[{}]`), more(`"group":null`), beside(`"news":1`), beside(`"id":null`), more(`"fast":false`),
	} {
		if _, err := wire.ParseForward([]byte(frame)); err != nil {
			t.Errorf("%s: %v", frame, err)
		}
	}
}

// What a client may send nests as deeply as it may, and crosses a link all the same.
func TestADeepMessageCrossesALink(t *testing.T) {
	in := []byte(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":` + nested(wire.MaxDepth-2) + `}}`)
	frame, bad := wire.ParseFrame(in)
	if bad != nil {
		t.Fatal(bad)
	}
	_, content, bad := wire.ParseMessage(&frame)
	if bad != nil {
		t.Fatal(bad)
	}
	f := aForward()
	f.Frame = wire.AppendMessage(nil, f.From, content, nil)
	out := wire.AppendForward(nil, &f)
	if _, err := wire.ParseForward(out); err != nil {
		t.Error(err)
	}
	if _, bad := wire.ParseServerFrame(out); bad != nil {
		t.Error(bad)
	}
}

// ParseForward and encoding/json agree on every input, and on what is in it.
func FuzzForward(f *testing.F) {
	full := aForward()
	f.Add(wire.AppendForward(nil, &full))
	f.Add([]byte(`{"type":"FORWARD","data":{` + forwardNeeds + `},"id":"019aa125-cf59-7fff-bfff-ffffffffffff","log":"l","place":3,"low":2}`))
	f.Add([]byte(`{"t\u0079pe":"FORW\u0041RD","d\u0061ta":{` + forwardNeeds + `,"fast":true,"reference":"r","x":[[]]},"log":null}`))
	f.Add([]byte(`{"type":"FORWARD","data":{` + forwardNeeds + `,"from":"A-1"},"log":1}`))
	f.Add([]byte(`{"type":"FORWARD","data":{` + forwardNeeds + `,"expires":"9999-12-31T23:59:59-01:00"},"id":"019aa125-cf59-7fff-bfff-ffffffffffff","log":"l","place":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		got, err := wire.ParseForward(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		want, ok := forwardOf(outlineOf(b))
		if ok != (err == nil) {
			t.Fatalf("%q: %v, but encoding/json says %v", b, err, ok)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q:\ngot  %+v\nwant %+v", b, got, want)
		}
		again, err := wire.ParseForward(wire.AppendPlace(nil, wire.AppendForward(nil, &got), got.ID, got.Log, got.Place, got.Low))
		if got.ID.IsZero() || got.Log == "" { // then it has no place either
			return
		}
		got.SentAt, got.Expires = got.SentAt.Truncate(time.Millisecond), got.Expires.Truncate(time.Millisecond)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%q: written and read again\n%+v, %v\nwas\n%+v", b, again, err, got)
		}
	})
}

// forwardOf reads a FORWARD by encoding/json.
func forwardOf(o outline) (f wire.Forward, ok bool) {
	if !o.valid || !o.object || o.depth > wire.MaxDepth+2 {
		return f, false
	}
	d := outlineOf(o.value("data"))
	for _, name := range []string{"type", "data", "id", "log", "place", "low"} {
		if o.twice[name] {
			return f, false
		}
	}
	for _, name := range []string{
		"origin", "from", "to", "hops", "graph", "sentAt", "fast", "group", "notice", "presence", "quiet", "confirm",
		"reference", "expires", "producer", "seq", "frame",
	} {
		if d.twice[name] {
			return f, false
		}
	}
	name, ok := o.text("type")
	if !ok || name != wire.NameForward || !d.object {
		return f, false
	}
	good := true
	must := func(ok bool) { good = good && ok }
	if o.value("id") != nil {
		text, ok := o.text("id")
		id, err := wire.ParseID(text)
		must(ok && err == nil)
		f.ID = id
	}
	f.Log = wordOf(o, "log", must)
	f.Place, f.Low = numberOf(o, "place", must), numberOf(o, "low", must)
	for _, name := range []string{"origin", "from", "to", "hops", "graph", "sentAt", "frame"} {
		must(d.value(name) != nil)
	}
	if !good {
		return f, false
	}
	f.Origin = wordOf(d, "origin", must)
	from, ok := d.text("from")
	must(ok && wire.CheckUserID([]byte(from)) == nil)
	f.From = wire.UserID(from)
	f.To = usersOf(d.value("to"), must)
	hops := numberOf(d, "hops", must)
	must(hops >= 1 && hops <= 65536)
	f.Hops, f.Graph, f.SentAt = int(hops), numberOf(d, "graph", must), timeOf(d, "sentAt", must)
	f.Frame = d.value("frame")
	must(f.Frame[0] == '{')
	for name, flag := range map[string]*bool{
		"fast": &f.Fast, "group": &f.Group, "notice": &f.Notice, "presence": &f.Presence, "quiet": &f.Quiet, "confirm": &f.Confirm,
	} {
		if v := d.value(name); v != nil {
			must(json.Unmarshal(v, flag) == nil)
		}
	}
	if f.Reference = d.value("reference"); f.Reference != nil {
		must(f.Reference[0] == '"')
	}
	if d.value("expires") != nil {
		f.Expires = timeOf(d, "expires", must)
	}
	if d.value("producer") != nil || d.value("seq") != nil {
		f.Producer, ok = d.text("producer")
		f.Seq = numberOf(d, "seq", must)
		must(ok && wire.ValidProducer(f.Producer) && f.Seq >= 1 && f.Seq <= wire.MaxSeq)
	}
	return f, good
}

func wordOf(o outline, name string, must func(bool)) string {
	if o.value(name) == nil {
		return ""
	}
	s, ok := o.text(name)
	must(ok && s != "" && len(s) <= wire.MaxLogName)
	return s
}

func numberOf(o outline, name string, must func(bool)) uint64 {
	v := o.value(name)
	if v == nil {
		return 0
	}
	var n json.Number
	must(v[0] != '"' && json.Unmarshal(v, &n) == nil)
	u, err := strconv.ParseUint(n.String(), 10, 64)
	must(err == nil)
	return u
}

func timeOf(o outline, name string, must func(bool)) time.Time {
	s, ok := o.text(name)
	at, err := time.Parse(time.RFC3339, s)
	must(ok && err == nil && at.UTC().Year() >= 0 && at.UTC().Year() <= 9999)
	return at.UTC()
}

func usersOf(raw []byte, must func(bool)) (list []wire.UserID) {
	var texts []*string
	must(json.Unmarshal(raw, &texts) == nil)
	for _, text := range texts {
		must(text != nil && wire.CheckUserID([]byte(*text)) == nil)
		if text != nil && !slices.Contains(list, wire.UserID(*text)) {
			list = append(list, wire.UserID(*text))
		}
	}
	must(len(list) >= 1 && len(list) <= wire.MaxForwardReceivers)
	return list
}

func BenchmarkForward(b *testing.B) {
	f := aForward()
	f.Frame = []byte(`{"type":"MESSAGE","data":{"from":"ANZ-1","content":"` + strings.Repeat("0123456789", 100) + `"}}`)
	in := wire.AppendForward(nil, &f)
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		got, err := wire.ParseForward(in)
		if err != nil {
			b.Fatal(err)
		}
		out = wire.AppendForward(out[:0], &got)
	}
}
