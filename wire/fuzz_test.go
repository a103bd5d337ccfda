package wire_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// outline is what encoding/json has to say of a frame.
type outline struct {
	valid   bool
	object  bool
	depth   int
	members map[string]json.RawMessage
	twice   map[string]bool // members that are given twice
}

func outlineOf(b []byte) outline {
	o := outline{valid: json.Valid(b), twice: map[string]bool{}}
	o.depth = depthOf(b)
	if !o.valid {
		return o
	}
	o.object = json.Unmarshal(b, &o.members) == nil && o.members != nil
	if !o.object {
		return o
	}
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token()
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			break
		}
		o.twice[name.(string)] = seen[name.(string)]
		seen[name.(string)] = true
	}
	return o
}

// depthOf returns how deeply arrays and objects are nested, strings left out,
// up to where the text stops being JSON at the latest.
func depthOf(b []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	depth := 0
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// value returns a member, nil when it is absent or null.
func (o outline) value(name string) []byte {
	if v := o.members[name]; string(v) != "null" {
		return v
	}
	return nil
}

func (o outline) text(name string) (s string, ok bool) {
	v := o.value(name)
	return s, v != nil && json.Unmarshal(v, &s) == nil
}

var wholeNumber = regexp.MustCompile(`\A[0-9]*[1-9][0-9]*\z`)

// wantCode returns the codes that ParseFrame may refuse the frame with, none
// when it must accept it.
func (o outline) wantCode() []string {
	switch {
	case o.depth > wire.MaxDepth:
		return []string{wire.CodeTooDeep, wire.CodeNotJSON}
	case !o.valid:
		return []string{wire.CodeNotJSON}
	case !o.object:
		return []string{wire.CodeNotJSON}
	}
	for _, name := range []string{"type", "data", "reference", "feature", "confirmationEnabled", "ttl"} {
		if o.twice[name] || (o.value(name) != nil && !o.wellFormed(name)) {
			return []string{wire.CodeBadField}
		}
	}
	if o.value("type") == nil {
		return []string{wire.CodeMissingField}
	}
	name, _ := o.text("type")
	for _, known := range wire.Types() {
		if known.FromClient() && known.String() == name {
			return nil
		}
	}
	return []string{wire.CodeUnknownType}
}

func (o outline) wellFormed(name string) bool {
	v := o.value(name)
	switch name {
	case "data":
		return v[0] == '{'
	case "feature":
		s, _ := o.text(name)
		return s == "FAST" || s == "RELIABLE"
	case "confirmationEnabled":
		return v[0] == 't' || v[0] == 'f'
	case "ttl":
		return wholeNumber.Match(v)
	}
	return v[0] == '"'
}

// The parser and encoding/json agree on every input, and on what is in it.
func FuzzFrame(f *testing.F) {
	for _, seed := range frameSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		o := outlineOf(b)
		frame, err := wire.ParseFrame(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		codes := o.wantCode()
		if err != nil {
			if !slices.Contains(codes, err.Code) {
				t.Fatalf("%q: got %v, want one of %v", b, err, codes)
			}
			return
		}
		if len(codes) > 0 {
			t.Fatalf("%q: accepted, want one of %v", b, codes)
		}
		sameFrame(t, o, frame)
		if frame.Type == wire.TypeMessage {
			sameMessage(t, o, frame)
		}
		others(t, frame.Data)
	})
}

func sameFrame(t *testing.T, o outline, frame wire.Frame) {
	t.Helper()
	name, _ := o.text("type")
	feature, _ := o.text("feature")
	if frame.Type.String() != name || !bytes.Equal(frame.Data, o.value("data")) || !bytes.Equal(frame.Reference, o.value("reference")) ||
		frame.Fast != (feature == "FAST") || frame.Confirm != (string(o.value("confirmationEnabled")) != "false") ||
		(frame.TTL > 0) != (o.value("ttl") != nil) {
		t.Fatalf("got %+v", frame)
	}
	sameSeq(t, o, &frame)
}

func sameSeq(t *testing.T, o outline, frame *wire.Frame) {
	t.Helper()
	seq, err := wire.ParseSeq(frame)
	v := o.value("seq")
	var want uint64
	good := wholeNumber.Match(v) && json.Unmarshal(v, &want) == nil && want <= wire.MaxSeq
	switch {
	case o.twice["seq"]:
		good = false
	case v == nil:
		if codeOf(err) != wire.CodeMissingField {
			t.Fatalf("got %d, %v without a seq", seq, err)
		}
		return
	}
	if good != (err == nil) || good && seq != want || !good && codeOf(err) != wire.CodeBadField {
		t.Fatalf("seq %s: got %d, %v", v, seq, err)
	}
}

func sameMessage(t *testing.T, o outline, frame wire.Frame) {
	t.Helper()
	byHand := wire.Frame{Type: frame.Type, Data: frame.Data}
	to, content, err := wire.ParseMessage(&frame)
	to2, content2, err2 := wire.ParseMessage(&byHand)
	if !bytes.Equal(to, to2) || !bytes.Equal(content, content2) || codeOf(err) != codeOf(err2) {
		t.Fatalf("with the hint %q, %q, %v; without %q, %q, %v", to, content, err, to2, content2, err2)
	}
	d := outlineOf(o.value("data"))
	receiver, ok := d.text("to")
	_, uerr := wire.ParseUserID(receiver)
	accept := ok && uerr == nil && d.value("content") != nil && !d.twice["to"] && !d.twice["content"]
	if (err == nil) != accept {
		t.Fatalf("data %s: error %v, want accepted %v", frame.Data, err, accept)
	}
	if err != nil {
		return
	}
	if string(to) != receiver || !bytes.Equal(content, d.value("content")) {
		t.Fatalf("to %q, content %s", to, content)
	}
	out := wire.AppendMessage(nil, "ANZ-1", content, frame.Reference)
	if !json.Valid(out) {
		t.Fatalf("wrote %s", out)
	}
	back, err := wire.ParseServerFrame(out)
	if err != nil || !bytes.Equal(back.Reference, frame.Reference) {
		t.Fatalf("wrote %s, read %+v, %v", out, back, err)
	}
	if _, again, err := wire.ParseDelivery(back.Data); err != nil || !bytes.Equal(again, content) {
		t.Fatalf("wrote %s, read %s, %v", out, again, err)
	}
}

// others feeds the data to all the other parsers: they must not panic, and what
// they accept must hold what they promise.
func others(t *testing.T, data []byte) {
	t.Helper()
	const limit = 5
	to, bad, content, err := wire.ParseGroup(data, limit)
	if err == nil && (len(to)+len(bad) == 0 || len(to)+len(bad) > limit || !json.Valid(content)) {
		t.Fatalf("group: %v, %v, %s", to, bad, content)
	}
	for i, u := range to {
		if wire.CheckUserID([]byte(u)) != nil || slices.Contains(to[:i], u) {
			t.Fatalf("group: %v", to)
		}
	}
	if n, err := wire.ParseFetch(data); err == nil && (n < 1 || n > wire.MaxFetch) {
		t.Fatalf("fetch: %d", n)
	}
	if u, err := wire.ParseClose(data); err == nil && wire.CheckUserID([]byte(u)) != nil {
		t.Fatalf("close: %q", u)
	}
	_, _ = wire.ParseAck(data)
	if a, err := wire.ParseAuth(data); err == nil && (string(a.User) != a.UserText || wire.CheckUserID([]byte(a.User)) != nil) {
		t.Fatalf("auth: %+v", a)
	}
}

// A client must not fall over what a server sends either.
func FuzzServerFrame(f *testing.F) {
	f.Add([]byte(`{"type":"MESSAGE","data":{"from":"ANZ-1","content":1},"reference":"r","id":"019aa125-cf59-7fff-bfff-ffffffffffff"}`))
	f.Add([]byte(`{"type":"NEWS","id":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := wire.ParseServerFrame(b)
		if err != nil {
			return
		}
		o := outlineOf(b)
		name, _ := o.text("type")
		if !o.valid || o.depth > wire.MaxDepth+2 || !bytes.Equal(frame.Data, o.value("data")) || !bytes.Equal(frame.Reference, o.value("reference")) ||
			(frame.Type != wire.TypeUnknown && frame.Type.String() != name) {
			t.Fatalf("%q: got %+v", b, frame)
		}
		_, _, _ = wire.ParseDelivery(frame.Data)
	})
}

func frameSeeds() []string {
	return []string{
		`{"type":"MESSAGE","data":{"to":"ANZ-1232121","content":"hello"},"feature":"RELIABLE","reference":"abc123"}`,
		`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-1","ANZ-2","ANZ-1","x",5],"content":{"a":[1,-2.5e+3,true,null]}},"feature":"FAST"}`,
		`{"type":"AUTH_CLIENT","data":{"appId":"a","userId":"ANZ-1","token":"t","options":{"ack":true,"presence":["ANZ-7"],"producer":"p-1"}}}`,
		`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":100}}`,
		`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-7"}}`,
		`{"type":"MESSAGE_ACK","data":{"id":"019aa125-cf59-7fff-bfff-ffffffffffff"}}`,
		`{"\u0074ype":"MESS\u0041GE","data":{"t\u006f":"ANZ-1","content":"\ud83d\ude00\ud800"},"ttl":60,"confirmationEnabled":false}`,
		" {\t\"type\" : null ,\r\n\"data\":null} ",
		`{"type":"MESSAGE","type":"MESSAGE","data":{"to":"ANZ-1","to":"ANZ-2","content":0}}`,
		`{"type":"MESSAGE","data":` + nested(wire.MaxDepth-1) + `}`,
		`{"type":"MESSAGE","x":` + nested(wire.MaxDepth) + `}`,
		`{"type":"MESSAGE","data":{"to":"ANZ-1","content":1},"seq":18}`, `{"type":"MESSAGE","seq":1,"s\u0065q":null}`, `{"type":"MESSAGE","seq":9007199254740992}`,
		`[`, `{"type"}`, `{"type":"MESSAGE"}x`, "{\"type\":\"\xff\"}", `{"a":01}`, `{"a":"` + "\x1f" + `"}`,
	}
}

func TestTheOracleCountsDepth(t *testing.T) {
	if d := depthOf([]byte(`{"a":[[{}]],"b":1}`)); d != 4 {
		t.Errorf("depth %d", d)
	}
}
