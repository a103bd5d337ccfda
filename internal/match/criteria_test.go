package match

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func properties(t testing.TB, text string) Properties {
	t.Helper()
	p, err := ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAQuerySaysWhatPropertiesHaveToBe(t *testing.T) {
	for _, c := range []struct {
		query, properties string
		accepts           bool
	}{
		{`{}`, `{}`, true},
		{`{"level":{"min":3,"max":8}}`, `{"level":3}`, true},
		{`{"level":{"min":3,"max":8}}`, `{"level":8}`, true},
		{`{"level":{"min":3,"max":8}}`, `{"level":8.01}`, false},
		{`{"level":{"min":3}}`, `{"level":1e9}`, true},
		{`{"level":{"max":3}}`, `{"level":-1e9}`, true},
		{`{"level":{"min":3}}`, `{"level":"3"}`, false},
		{`{"level":{"min":3}}`, `{}`, false},
		{`{"level":5}`, `{"level":5.0}`, true},
		{`{"level":5}`, `{"level":6}`, false},
		{`{"mode":"ranked"}`, `{"mode":"ranked"}`, true},
		{`{"mode":"ranked"}`, `{"mode":"Ranked"}`, false},
		{`{"mode":"ranked"}`, `{"mode":["ranked"]}`, false},
		{`{"mode":{"in":["a","b"]}}`, `{"mode":"b"}`, true},
		{`{"mode":{"in":["a","b"]}}`, `{"mode":"c"}`, false},
		{`{"size":{"in":[1,2]}}`, `{"size":2}`, true},
		{`{"langs":{"any":["de","it"]}}`, `{"langs":["en","it"]}`, true},
		{`{"langs":{"any":["de","it"]}}`, `{"langs":["en"]}`, false},
		{`{"langs":{"any":["de","it"]}}`, `{"langs":"it"}`, false},
		{`{"langs":{"all":["de","it"]}}`, `{"langs":["it","en","de"]}`, true},
		{`{"langs":{"all":["de","it"]}}`, `{"langs":["it","en"]}`, false},
		{`{"level":{"min":3},"mode":"a"}`, `{"mode":"a","level":4,"other":1}`, true},
		{`{"level":{"min":3},"mode":"a"}`, `{"mode":"a","level":2}`, false},
	} {
		q, err := ParseQuery([]byte(c.query))
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		if got := q.accepts(properties(t, c.properties)); got != c.accepts {
			t.Errorf("%s of %s: %v", c.query, c.properties, got)
		}
	}
}

func TestBadCriteriaAreRefusedByName(t *testing.T) {
	many := func(n int, f string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(f, i))
		}
		return strings.Join(all, ",")
	}
	long := strings.Repeat("x", MaxString+1)
	parse := map[string]func(string) error{
		"properties": func(s string) error { _, err := ParseProperties([]byte(s)); return err },
		"query":      func(s string) error { _, err := ParseQuery([]byte(s)); return err },
		"widen":      func(s string) error { _, err := ParseWiden([]byte(s)); return err },
	}
	for _, c := range []struct{ what, text, field string }{
		{"properties", `[]`, ""},
		{"properties", `"x"`, ""},
		{"properties", `{"a":null}`, "a"},
		{"properties", `{"a":true}`, "a"},
		{"properties", `{"a":{}}`, "a"},
		{"properties", `{"a":[1]}`, "a"},
		{"properties", `{"a":1e999}`, "a"},
		{"properties", `{"a":"` + long + `"}`, "a"},
		{"properties", `{"":1}`, ""},
		{"properties", `{"` + long[:MaxProperty+1] + `":1}`, ""},
		{"properties", `{"a":1,"a":2}`, "a"},
		{"properties", `{` + many(MaxProperties+1, `"p%d":1`) + `}`, ""},
		{"properties", `{"a":[` + many(MaxSet+1, `"s%d"`) + `]}`, "a"},
		{"query", `{"a":{}}`, "a"},
		{"query", `{"a":null}`, "a"},
		{"query", `{"a":["x"]}`, "a"},
		{"query", `{"a":{"min":"1"}}`, "a.min"},
		{"query", `{"a":{"min":2,"max":1}}`, "a"},
		{"query", `{"a":{"near":1}}`, "a.near"},
		{"query", `{"a":{"in":[]}}`, "a.in"},
		{"query", `{"a":{"in":["x",1]}}`, "a.in"},
		{"query", `{"a":{"in":[1,"x"]}}`, "a.in"},
		{"query", `{"a":{"any":[1]}}`, "a.any"},
		{"query", `{"a":{"any":["x"],"all":["x"]}}`, "a"},
		{"query", `{"a":{"min":1,"any":["x"]}}`, "a"},
		{"query", `{"a":{"min":1,"max":2,"in":[1]}}`, "a"},
		{"widen", `{}`, "over"},
		{"widen", `{"over":0}`, "over"},
		{"widen", `{"over":-1}`, "over"},
		{"widen", `{"over":1e9}`, "over"},
		{"widen", `{"over":1,"radius":"1"}`, "radius"},
		{"widen", `{"over":1,"query":{"a":"x"}}`, "query.a"},
		{"widen", `{"over":1,"query":[]}`, "query"},
		{"widen", `{"over":1,"more":1}`, "more"},
	} {
		var r *Refusal
		if err := parse[c.what](c.text); !errors.As(err, &r) || r.Code != codeBadField || r.Field != c.field || r.Reason == "" {
			t.Errorf("%s of %.60s: %v, field %q, not %q", c.what, c.text, err, r.fieldOrNone(), c.field)
		}
	}
}

func TestARefusedValueIsToldWhatWouldBeGood(t *testing.T) {
	const every, set = "a number, a string, or an array of strings", "an array of 0 to 32 strings of at most 256 bytes"
	for text, want := range map[string]string{
		`{"a":true}`: "a has to be " + every, `{"a":null}`: "a has to be " + every, `{"a":{}}`: "a has to be " + every,
		`{"a":[1]}`: "a has to be " + set, `{"a":["x",null]}`: "a has to be " + set,
		`{"a":1e999}`: "a has to be a number from -1.7e308 to 1.7e308",
	} {
		var r *Refusal
		if _, err := ParseProperties([]byte(text)); !errors.As(err, &r) || r.Reason != want {
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"a":["x"]}`:          "a has to be a number, a string, or an object with min and max, or with one of in, any, all",
		`{"a":{"in":["x",1]}}`: "a.in has to be an array of 1 to 32 numbers, or of as many strings of at most 256 bytes",
		`{"a":{"in":[1,"x"]}}`: "a.in has to be an array of 1 to 32 numbers, or of as many strings of at most 256 bytes",
		`{"a":{"all":[]}}`:     "a.all has to be an array of 1 to 32 strings of at most 256 bytes",
	} {
		var r *Refusal
		if _, err := ParseQuery([]byte(text)); !errors.As(err, &r) || r.Reason != want {
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
}

func TestATimeThatIsTooLongIsRefusedWithItsBound(t *testing.T) {
	q := anyone
	q.Timeout = 11 * time.Minute
	const want = "timeout has to be at most 600 seconds, as the server's setting matching.timeout has it"
	if r := q.check(Limits{}.orDefaults()); r == nil || r.Field != "timeout" || r.Reason != want {
		t.Errorf("%v", r)
	}
}

func (r *Refusal) fieldOrNone() string {
	if r == nil {
		return "(none)"
	}
	return r.Field
}

func TestPropertiesAreWrittenAsTheyWereRead(t *testing.T) {
	const text = `{"a":1.5,"b":"x\"y","c":["de","it"],"d":[],"e":-3,"f":1e+30}`
	if got := string(properties(t, text).AppendJSON(nil)); got != text {
		t.Errorf("%s became %s", text, got)
	}
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]any{
			"n": rapid.Float64Range(-1e300, 1e300).Draw(t, "n"),
			"s": rapid.StringN(0, -1, MaxString).Draw(t, "s"),
		}
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseProperties(raw)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(p.AppendJSON(nil), &out); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%s became %s: %v", raw, p.AppendJSON(nil), err)
		}
		r := reader{b: appendProperties(nil, p)}
		if again := r.properties(); r.err != nil || len(r.b) > 0 || !reflect.DeepEqual(again, p) {
			t.Fatalf("%v became %v", p, again)
		}
	})
}

func TestRequestsThatMakeNoSenseAreRefusedByName(t *testing.T) {
	limits := Limits{}.orDefaults()
	query, err := ParseQuery([]byte(`{"level":{"min":3,"max":8},"mode":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	somewhere := &Point{52, 13}
	for field, change := range map[string]func(*Request){
		"pool":              func(q *Request) { q.Pool.Name = "" },
		"min":               func(q *Request) { q.Min = 1 },
		"max":               func(q *Request) { q.Max = MaxGroup + 1 },
		"key":               func(q *Request) { q.Key = strings.Repeat("k", MaxKey+1) },
		"gesture":           func(q *Request) { q.Gesture, q.Max = SwipeLeft, 3 },
		"timeout":           func(q *Request) { q.Timeout = -1 },
		"patience":          func(q *Request) { q.Patience = -1 },
		"radius":            func(q *Request) { q.Radius = 5 },
		"lat":               func(q *Request) { q.At = &Point{90.1, 0} },
		"lon":               func(q *Request) { q.At = &Point{0, -180.1} },
		"widen.over":        func(q *Request) { q.At, q.Radius, q.Widen.Radius = somewhere, 1, 2 },
		"widen.radius":      func(q *Request) { q.At, q.Radius, q.Widen = somewhere, 10, Widen{Over: time.Second, Radius: 5} },
		"widen.query.level": func(q *Request) { q.Query, q.Widen = query, Widen{Over: time.Second, Ranges: []Range{{"level", 4, 9}}} },
		"widen.query.mode":  func(q *Request) { q.Query, q.Widen = query, Widen{Over: time.Second, Ranges: []Range{{"mode", 4, 9}}} },
		"widen.query.absent": func(q *Request) {
			q.Query, q.Widen = query, Widen{Over: time.Second, Ranges: []Range{{"absent", 4, 9}}}
		},
	} {
		q := anyone
		change(&q)
		if r := q.check(limits); r == nil || r.Field != field || !strings.HasPrefix(r.Reason, field) {
			t.Errorf("%s: %v", field, r)
		}
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), -1, MaxRadius + 1} {
		q := anyone
		q.At, q.Radius = somewhere, bad
		if r := q.check(limits); r == nil || r.Field != "radius" {
			t.Errorf("a radius of %v: %v", bad, r)
		}
	}
	for _, bad := range []Point{{math.NaN(), 0}, {0, math.Inf(-1)}} {
		for _, plane := range []bool{false, true} {
			q := anyone
			q.At, q.Plane = &bad, plane
			if r := q.check(limits); r == nil {
				t.Errorf("%v is a place", bad)
			}
		}
	}
	good := anyone
	if r := good.check(limits); r != nil || good.Min != 2 || good.Max != 2 || good.Timeout != limits.Timeout {
		t.Errorf("%v, %+v", r, good)
	}
}

// FuzzTake: what another node says may be of another version, and breaks nothing.
func FuzzTake(f *testing.F) {
	e := entry{pool: Pool{"app", "pool"}, device: "d", request: request{min: 2, max: 2, located: true, widen: Widen{Over: time.Second, Radius: 1}}}
	f.Add(append(appendEntry(appendRequestHeader(nil, 1, true), &e), cmdSynced))
	f.Add([]byte{1, 1, cmdCancel})
	f.Fuzz(func(t *testing.T, request []byte) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		c := newCrowd(criteria()["key"]).core
		_, _ = c.take(now, "m", request)
		c.tick(now.Add(time.Hour))
		r := reader{b: slices.Clone(request)}
		b := &batch{}
		for len(r.b) > 0 && r.err == nil {
			c.replayOne(&r, b, logVersion)
		}
	})
}

func TestNullIsRefusedWithinWhatIsAskedFor(t *testing.T) {
	_, inProperties := ParseProperties([]byte(`{"a":null}`))
	_, inQuery := ParseQuery([]byte(`{"a":null}`))
	_, inRange := ParseQuery([]byte(`{"a":{"min":null}}`))
	_, inWiden := ParseWiden([]byte(`{"over":1,"radius":null}`))
	for i, err := range []error{inProperties, inQuery, inRange, inWiden} {
		if err == nil {
			t.Errorf("%d: null is taken", i)
		}
	}
}

func TestAWideningWithinNoTimeIsRefusedForThat(t *testing.T) {
	if _, err := ParseWiden([]byte(`{"over":1e-12}`)); err == nil || err.Error() == "over is needed" || !strings.Contains(err.Error(), "billionth") {
		t.Error(err)
	}
}
