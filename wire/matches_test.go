package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	aMatch  = "0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"
	aTicket = "0199a3e2-8d00-7000-8000-000000000001"
)

// matchAsk parses a frame about matches.
func matchAsk(t *testing.T, typ wire.Type, data string) (wire.MatchAsk, *wire.Error) {
	t.Helper()
	f, err := wire.ParseFrame([]byte(`{"type":"` + typ.String() + `","data":` + data + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return wire.ParseMatch(&f)
}

func TestFramesAboutMatchesSayWhatTheyAskFor(t *testing.T) {
	match, _ := wire.ParseID(aMatch)
	ticket, _ := wire.ParseID(aTicket)
	for _, c := range []struct {
		typ  wire.Type
		data string
		want wire.MatchAsk
	}{
		{wire.TypeMatchRequest, `{"pool":"chess"}`, wire.MatchAsk{Pool: "chess"}},
		{wire.TypeMatchRequest, `{"pool":"\u0061","lat":-90,"lon":1.5e2,"radius":0.5,"key":"k","policy":"nearest"}`, wire.MatchAsk{Pool: "a", Located: true, Lat: -90, Lon: 150, Radius: 0.5, Key: "k", Nearest: true}},
		{wire.TypeMatchRequest, `{"pool":"p","min":2,"max":8,"timeout":1.5,"patience":99999999,"policy":"oldest"}`, wire.MatchAsk{Pool: "p", Min: 2, Max: 8, Timeout: 1500 * time.Millisecond, Patience: wire.MaxMatchTimeout}},
		{wire.TypeMatchRequest, `{"pool":"p","gesture":"swipe-left","properties":{"a":1},"query":{"a":{"min":1}},"widen":{"over":3}}`, wire.MatchAsk{Pool: "p", Gesture: "swipe-left", Properties: []byte(`{"a":1}`), Query: []byte(`{"a":{"min":1}}`), Widen: []byte(`{"over":3}`)}},
		{wire.TypeMatchRequest, `{"pool":"p","lat":null,"max":null,"match":null}`, wire.MatchAsk{Pool: "p"}},
		{wire.TypeMatchCancel, `{"ticket":"` + aTicket + `"}`, wire.MatchAsk{Ticket: ticket}},
		{wire.TypeMatchLeave, `{"match":"` + aMatch + `"}`, wire.MatchAsk{Match: match}},
		{wire.TypeMatchMessage, `{"match":"` + aMatch + `","content":[1, 2]}`, wire.MatchAsk{Match: match, Content: []byte(`[1, 2]`)}},
		{wire.TypeMatchMessage, `{"match":"` + aMatch + `","content":"","to":["ANZ-1","ANZ-2","ANZ-1"]}`, wire.MatchAsk{Match: match, Content: []byte(`""`), To: []wire.UserID{"ANZ-1", "ANZ-2"}}},
	} {
		c.want.Type = c.typ
		got, err := matchAsk(t, c.typ, c.data)
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(c.want)
		if err != nil || string(a) != string(b) {
			t.Errorf("%s %s:\ngot  %s %v\nwant %s", c.typ, c.data, a, err, b)
		}
	}
}

func TestWhatIsWrongWithAFrameAboutMatchesIsNamed(t *testing.T) {
	long := strings.Repeat("x", wire.MaxMatchKey+1)
	for _, c := range []struct {
		typ         wire.Type
		data        string
		code, field string
	}{
		{wire.TypeMatchRequest, `{}`, wire.CodeMissingField, "data.pool"},
		{wire.TypeMatchRequest, `{"pool":""}`, wire.CodeBadField, "data.pool"},
		{wire.TypeMatchRequest, `{"pool":7}`, wire.CodeBadField, "data.pool"},
		{wire.TypeMatchRequest, `{"pool":"` + long[:wire.MaxPoolName+1] + `"}`, wire.CodeBadField, "data.pool"},
		{wire.TypeMatchRequest, `{"pool":"a","pool":"b"}`, wire.CodeBadField, "data.pool"},
		{wire.TypeMatchRequest, `{"pool":"a","lat":1}`, wire.CodeMissingField, "data.lon"},
		{wire.TypeMatchRequest, `{"pool":"a","lon":1}`, wire.CodeMissingField, "data.lat"},
		{wire.TypeMatchRequest, `{"pool":"a","lat":"1","lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypeMatchRequest, `{"pool":"a","lat":90.1,"lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypeMatchRequest, `{"pool":"a","lat":1,"lon":-180.5}`, wire.CodeBadField, "data.lon"},
		{wire.TypeMatchRequest, `{"pool":"a","lat":1e999,"lon":1}`, wire.CodeBadField, "data.lat"},
		{wire.TypeMatchRequest, `{"pool":"a","radius":5}`, wire.CodeBadField, "data.radius"},
		{wire.TypeMatchRequest, `{"pool":"a","lat":1,"lon":1,"radius":0}`, wire.CodeBadField, "data.radius"},
		{wire.TypeMatchRequest, `{"pool":"a","lat":1,"lon":1,"radius":3e7}`, wire.CodeBadField, "data.radius"},
		{wire.TypeMatchRequest, `{"pool":"a","key":"` + long + `"}`, wire.CodeBadField, "data.key"},
		{wire.TypeMatchRequest, `{"pool":"a","min":1}`, wire.CodeBadField, "data.min"},
		{wire.TypeMatchRequest, `{"pool":"a","max":2.5}`, wire.CodeBadField, "data.max"},
		{wire.TypeMatchRequest, `{"pool":"a","max":9}`, wire.CodeBadField, "data.max"},
		{wire.TypeMatchRequest, `{"pool":"a","min":3,"max":2}`, wire.CodeBadField, "data.max"},
		{wire.TypeMatchRequest, `{"pool":"a","radiuss":5}`, wire.CodeBadField, "data.radiuss"},
		{wire.TypeMatchRequest, `{"pool":"a","Key":"k"}`, wire.CodeBadField, "data.Key"},
		{wire.TypeMatchRequest, `{"pool":"a","ma\u0074ch":{}}`, wire.CodeBadField, "data.match"},
		{wire.TypeMatchRequest, `{"pool":"a","":1}`, wire.CodeBadField, "data."},
		{wire.TypeMatchRequest, `{"pool":"a","timeout":86401}`, wire.CodeBadField, "data.timeout"},
		{wire.TypeMatchRequest, `{"pool":"a","timeout":0}`, wire.CodeBadField, "data.timeout"},
		{wire.TypeMatchRequest, `{"pool":"a","patience":-1}`, wire.CodeBadField, "data.patience"},
		{wire.TypeMatchRequest, `{"pool":"a","policy":"best"}`, wire.CodeBadField, "data.policy"},
		{wire.TypeMatchRequest, `{"pool":"a","properties":[]}`, wire.CodeBadField, "data.properties"},
		{wire.TypeMatchRequest, `{"pool":"a","query":"x"}`, wire.CodeBadField, "data.query"},
		{wire.TypeMatchRequest, `{"pool":"a","widen":3}`, wire.CodeBadField, "data.widen"},
		{wire.TypeMatchCancel, `{"ticket":"x"}`, wire.CodeBadField, "data.ticket"},
		{wire.TypeMatchCancel, `{"match":"` + aMatch + `"}`, wire.CodeMissingField, "data.ticket"},
		{wire.TypeMatchLeave, `{"match":7}`, wire.CodeBadField, "data.match"},
		{wire.TypeMatchMessage, `{"match":"` + aMatch + `","content":null}`, wire.CodeMissingField, "data.content"},
		{wire.TypeMatchMessage, `{"match":"` + aMatch + `","content":1,"to":[]}`, wire.CodeBadField, "data.to"},
		{wire.TypeMatchMessage, `{"match":"` + aMatch + `","content":1,"to":"ANZ-1"}`, wire.CodeBadField, "data.to"},
		{wire.TypeMatchMessage, `{"match":"` + aMatch + `","content":1,"to":["x"]}`, wire.CodeBadField, "data.to"},
		{wire.TypeMatchMessage, `{"match":"` + aMatch + `","content":1,"to":["a-1","a-2","a-3","a-4","a-5","a-6","a-7","a-8"]}`, wire.CodeBadField, "data.to"},
	} {
		_, err := matchAsk(t, c.typ, c.data)
		if err == nil || err.Kind != wire.KindInvalidMessage || err.Code != c.code || err.Field != c.field {
			t.Errorf("%s %s: %+v, not %s of %s", c.typ, c.data, err, c.code, c.field)
		}
	}
	for _, typ := range []wire.Type{wire.TypeMatchRequest, wire.TypeMatchCancel, wire.TypeMatchLeave, wire.TypeMatchMessage} {
		f, err := wire.ParseFrame([]byte(`{"type":"` + typ.String() + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.ParseMatch(&f); err == nil || err.Field != "data" {
			t.Errorf("%s without data: %v", typ, err)
		}
	}
}

func TestFramesAboutMatchesAreWrittenAsThePageSays(t *testing.T) {
	match, _ := wire.ParseID(aMatch)
	ticket, _ := wire.ParseID(aTicket)
	ref := []byte(`"r"`)
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{wire.AppendMatchTicket(nil, wire.TypeMatchWaiting, &wire.MatchTicket{Ticket: ticket, Pool: "a \"b\""}, ref), `{"type":"MATCH_WAITING","data":{"ticket":"` + aTicket + `","pool":"a \"b\""},"reference":"r"}`},
		{wire.AppendMatchTicket(nil, wire.TypeMatchTimeout, &wire.MatchTicket{Ticket: ticket, Pool: "p"}, nil), `{"type":"MATCH_TIMEOUT","data":{"ticket":"` + aTicket + `","pool":"p"}}`},
		{wire.AppendMatchTicket(nil, wire.TypeMatchCanceled, &wire.MatchTicket{Ticket: ticket, Pool: "p", Reason: wire.ReasonOver}, nil), `{"type":"MATCH_CANCELED","data":{"ticket":"` + aTicket + `","pool":"p","reason":"over"}}`},
		{wire.AppendMatched(nil, &wire.Matched{Match: match, Ticket: ticket, Pool: "p", Peers: []wire.MatchPeer{{User: "a-1"}, {User: "a-2", Properties: []byte(`{"x":1}`)}}, Ambiguous: true}, ref), `{"type":"MATCHED","data":{"match":"` + aMatch + `","ticket":"` + aTicket + `","pool":"p","peers":["a-1","a-2"],"properties":{"a-2":{"x":1}},"ambiguous":true},"reference":"r"}`},
		{wire.AppendMatchMessage(nil, match, "a-1", []byte(`{"x": 1}`), nil), `{"type":"MATCH_MESSAGE","data":{"match":"` + aMatch + `","from":"a-1","content":{"x": 1}}}`},
		{wire.AppendMatchPeerLeft(nil, match, "p", "a-1", true), `{"type":"MATCH_PEER_LEFT","data":{"match":"` + aMatch + `","pool":"p","peer":"a-1","ended":true}}`},
		{wire.AppendMatchLeft(nil, match, "p", wire.ReasonReplaced, ref), `{"type":"MATCH_LEFT","data":{"match":"` + aMatch + `","pool":"p","reason":"replaced"},"reference":"r"}`},
	} {
		if string(c.got) != c.want || !json.Valid(c.got) {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}

func TestAFeatureThatIsGivenIsToldFromTheDefault(t *testing.T) {
	for text, want := range map[string][2]bool{``: {}, `,"feature":null`: {}, `,"feature":"FAST"`: {true, false}, `,"feature":"RELIABLE"`: {false, true}} {
		f, err := wire.ParseFrame([]byte(`{"type":"MATCH_MESSAGE","data":{}` + text + `}`))
		if err != nil || f.Fast != want[0] || f.Reliable != want[1] {
			t.Errorf("%q: fast %v, reliable %v, %v", text, f.Fast, f.Reliable, err)
		}
	}
}

// Whatever a client sends about matches is read or refused by name, and what was read is
// within what the type may have.
func FuzzParseMatch(f *testing.F) {
	f.Add([]byte(`{"type":"MATCH_REQUEST","data":{"pool":"a","lat":1,"lon":2,"radius":3,"min":2,"max":3,"timeout":1}}`))
	f.Add([]byte(`{"type":"MATCH_REQUEST","data":{"pool":"a","properties":{"a":[]},"query":{},"widen":{"over":1}}}`))
	f.Add([]byte(`{"type":"MATCH_MESSAGE","data":{"match":"` + aMatch + `","content":{"a":[1]},"to":["a-1"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := wire.ParseFrame(b)
		if err != nil || !frame.Type.OfMatches() {
			return
		}
		ask, err := wire.ParseMatch(&frame)
		switch {
		case err != nil && (err.Kind != wire.KindInvalidMessage || err.Field == "" || err.Code == ""):
			t.Fatalf("%s: %+v", b, err)
		case err == nil && ask.Type == wire.TypeMatchRequest && (ask.Pool == "" || ask.Max > 0 && ask.Max < ask.Min || ask.Radius < 0 || ask.Timeout < 0 || ask.Lat > 90):
			t.Fatalf("%s: %+v", b, ask)
		}
	})
}

func TestContentCountsWithoutQuotesAndEscapes(t *testing.T) {
	for raw, want := range map[string]int{`"ciao"`: 4, `""`: 0, `"\u00e8"`: 2, `"è\n"`: 3, `{"a": "b"}`: 10, `17`: 2, `true`: 4} {
		if got := wire.ContentSize([]byte(raw)); got != want {
			t.Errorf("%s counts %d bytes, not %d", raw, got, want)
		}
	}
}
