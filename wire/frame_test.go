package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestFramesThatAreAccepted(t *testing.T) {
	const msg = `"type":"MESSAGE"`
	for _, test := range []struct {
		name, in string
		want     wire.Frame
	}{
		{"nothing but a type", `{` + msg + `}`, wire.Frame{Confirm: true}},
		{"white space", " \t\r\n{ \"type\" : \"MESSAGE\" , \"data\" : { } } \n", wire.Frame{Confirm: true, Data: []byte(`{ }`)}},
		{"everything", `{` + msg + `,"data":{"to":"ANZ-1","content":[1]},"feature":"FAST","reference":"a\"b","confirmationEnabled":false,"ttl":60}`,
			wire.Frame{Fast: true, TTL: time.Minute, Reference: []byte(`"a\"b"`), Data: []byte(`{"to":"ANZ-1","content":[1]}`)}},
		{"any order", `{"ttl":1,"confirmationEnabled":true,"reference":"","data":{},"feature":"RELIABLE",` + msg + `}`,
			wire.Frame{Confirm: true, TTL: time.Second, Reference: []byte(`""`), Data: []byte(`{}`)}},
		{"null is absent", `{` + msg + `,"data":null,"feature":null,"reference":null,"confirmationEnabled":null,"ttl":null}`, wire.Frame{Confirm: true}},
		{"unknown members, also twice", `{"x":{"a":[]},"x":-1.5e+3,` + msg + `,"Type":5,"seq":18}`, wire.Frame{Confirm: true}},
		{"escaped names and values", `{"\u0074ype":"MESS\u0041GE","\u0066eature":"F\u0041ST"}`, wire.Frame{Confirm: true, Fast: true}},
		{"a ttl beyond all bounds", `{` + msg + `,"ttl":99999999999999999999999999}`, wire.Frame{Confirm: true, TTL: wire.MaxTTL}},
		{"as deep as it may be", `{` + msg + `,"data":{"x":` + nested(wire.MaxDepth-2) + `}}`,
			wire.Frame{Confirm: true, Data: []byte(`{"x":` + nested(wire.MaxDepth-2) + `}`)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := wire.ParseFrame([]byte(test.in))
			if err != nil {
				t.Fatal(err)
			}
			w := test.want
			if f.Type != wire.TypeMessage || string(f.Data) != string(w.Data) || string(f.Reference) != string(w.Reference) ||
				(f.Data == nil) != (w.Data == nil) || (f.Reference == nil) != (w.Reference == nil) ||
				f.Fast != w.Fast || f.Confirm != w.Confirm || f.TTL != w.TTL {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func nested(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

func TestFramesThatAreRefused(t *testing.T) {
	for _, test := range []struct{ name, in, code string }{
		{"nothing", ``, wire.CodeNotJSON},
		{"an array", `[{"type":"MESSAGE"}]`, wire.CodeNotJSON},
		{"a string", `"MESSAGE"`, wire.CodeNotJSON},
		{"two objects", `{"type":"MESSAGE"}{}`, wire.CodeNotJSON},
		{"a byte order mark", "\ufeff{\"type\":\"MESSAGE\"}", wire.CodeNotJSON},
		{"a zero byte after it", "{\"type\":\"MESSAGE\"}\x00", wire.CodeNotJSON},
		{"cut off", `{"type":"MESSAGE","data":{"content":"hel`, wire.CodeNotJSON},
		{"a comma too many", `{"type":"MESSAGE",}`, wire.CodeNotJSON},
		{"a comma too many in content", `{"type":"MESSAGE","data":{"content":[1,]}}`, wire.CodeNotJSON},
		{"brackets that do not match", `{"type":"MESSAGE","data":{"content":[1}}}`, wire.CodeNotJSON},
		{"a control character", "{\"type\":\"MESSAGE\",\"data\":{\"content\":\"a\nb\"}}", wire.CodeNotJSON},
		{"half an escape", `{"type":"MESSAGE","data":{"content":"\u12g4"}}`, wire.CodeNotJSON},
		{"a leading zero", `{"type":"MESSAGE","data":{"content":01}}`, wire.CodeNotJSON},
		{"a point without digits", `{"type":"MESSAGE","data":{"content":1.}}`, wire.CodeNotJSON},
		{"an exponent without digits", `{"type":"MESSAGE","data":{"content":1e}}`, wire.CodeNotJSON},
		{"a plus sign", `{"type":"MESSAGE","data":{"content":+1}}`, wire.CodeNotJSON},
		{"a word that is none", `{"type":"MESSAGE","data":{"content":nul}}`, wire.CodeNotJSON},
		{"single quotes", `{'type':'MESSAGE'}`, wire.CodeNotJSON},
		{"broken after an error in a field", `{"type":5,"data":}`, wire.CodeNotJSON},
		{"too deep", `{"type":"MESSAGE","data":{"x":` + nested(wire.MaxDepth-1) + `}}`, wire.CodeTooDeep},
		{"too deep and open", `{"type":"MESSAGE","x":` + strings.Repeat(`{"a":[`, 100_000), wire.CodeTooDeep},
		{"no type", `{}`, wire.CodeMissingField},
		{"type null", `{"type":null}`, wire.CodeMissingField},
		{"type no string", `{"type":1}`, wire.CodeBadField},
		{"type unknown", `{"type":"message"}`, wire.CodeUnknownType},
		{"type of the server", `{"type":"AUTH_REQUIRED"}`, wire.CodeUnknownType},
		{"type twice", `{"type":"MESSAGE","type":"MESSAGE"}`, wire.CodeBadField},
		{"type twice, once in disguise", `{"type":"MESSAGE","\u0074ype":"MESSAGE_ACK"}`, wire.CodeBadField},
		{"type twice, once null", `{"type":null,"type":"MESSAGE"}`, wire.CodeBadField},
		{"data twice", `{"type":"MESSAGE","data":{},"data":{}}`, wire.CodeBadField},
		{"data no object", `{"type":"MESSAGE","data":[]}`, wire.CodeBadField},
		{"reference a number", `{"type":"MESSAGE","reference":12}`, wire.CodeBadField},
		{"feature unknown", `{"type":"MESSAGE","feature":"QUICK"}`, wire.CodeBadField},
		{"feature no string", `{"type":"MESSAGE","feature":true}`, wire.CodeBadField},
		{"confirmationEnabled a string", `{"type":"MESSAGE","confirmationEnabled":"false"}`, wire.CodeBadField},
		{"ttl zero", `{"type":"MESSAGE","ttl":0}`, wire.CodeBadField},
		{"ttl negative", `{"type":"MESSAGE","ttl":-5}`, wire.CodeBadField},
		{"ttl no whole number", `{"type":"MESSAGE","ttl":1.5}`, wire.CodeBadField},
		{"ttl a string", `{"type":"MESSAGE","ttl":"60"}`, wire.CodeBadField},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := wire.ParseFrame([]byte(test.in))
			if err == nil {
				t.Fatalf("accepted as %v", f.Type)
			}
			if err.Kind != wire.KindInvalidMessage || err.Code != test.code || err.Reason == "" {
				t.Errorf("got %v, want code %s", err, test.code)
			}
			if len(err.Reason) > 300 {
				t.Errorf("a reason of %d bytes", len(err.Reason))
			}
		})
	}
}

func TestARefusedFrameKeepsItsReference(t *testing.T) {
	for _, in := range []string{
		`{"type":"NONSENSE","reference":"abc"}`,
		`{"reference":"abc","type":7}`,
		`{"reference":"abc","data":{"content":"hel`,
		`{"reference":"abc","type":"MESSAGE","data":` + strings.Repeat("[", 600),
		`{"reference":"abc","type":"MESSAGE","reference":"def"}`,
	} {
		f, err := wire.ParseFrame([]byte(in))
		if err == nil || string(f.Reference) != `"abc"` {
			t.Errorf("%.60s: reference %s, error %v", in, f.Reference, err)
		}
	}
}

func TestParsingAMessageAllocatesNothing(t *testing.T) {
	in, out := benchmarkFrame(), make([]byte, 0, 2048)
	n := testing.AllocsPerRun(100, func() {
		f, _ := wire.ParseFrame(in)
		to, content, err := wire.ParseMessage(&f)
		if err != nil || string(to) != "ANZ-1232121" {
			t.Error(err)
		}
		out = wire.AppendMessage(out[:0], "ANZ-123223", content, f.Reference)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestServerFrames(t *testing.T) {
	f, err := wire.ParseServerFrame([]byte(`{"type":"MESSAGE","data":{"from":"ANZ-2","content":{"a": 1}},"reference":"r","id":"019aa125-cf59-7fff-bfff-ffffffffffff","seq":5}`))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != wire.TypeMessage || string(f.Reference) != `"r"` || f.ID.String() != "019aa125-cf59-7fff-bfff-ffffffffffff" {
		t.Errorf("got %+v", f)
	}
	from, content, err := wire.ParseDelivery(f.Data)
	if err != nil || from != "ANZ-2" || string(content) != `{"a": 1}` {
		t.Errorf("from %s, content %s, error %v", from, content, err)
	}

	f, err = wire.ParseServerFrame([]byte(`{"type":"NEWS","data":{}}`))
	if err != nil || f.Type != wire.TypeUnknown || string(f.TypeName) != "NEWS" || !f.ID.IsZero() {
		t.Errorf("an unknown type gave %+v, %v", f, err)
	}
	for _, bad := range []string{
		`[]`, `{}`, `{"type":"MESSAGE","id":5}`, `{"type":"MESSAGE","id":"x"}`, `{"type":"MESSAGE"`, `{"type":"MESSAGE","data":5}`,
		`{"type":"MESSAGE","id":null,"id":null}`,
	} {
		if f, err := wire.ParseServerFrame([]byte(bad)); err == nil {
			t.Errorf("%s was accepted as %+v", bad, f)
		}
	}
	for _, bad := range []string{`{}`, `{"from":"ANZ-1"}`, `{"content":1}`, `{"from":1,"content":1}`, `{"from":"x","content":1}`, `[]`} {
		if _, _, err := wire.ParseDelivery([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
