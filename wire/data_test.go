package wire_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMessages(t *testing.T) {
	for _, test := range []struct{ data, to, content, code string }{
		{`{"to":"ANZ-1","content":"hello"}`, "ANZ-1", `"hello"`, ""},
		{`{"content": {"a" : [1, 2.50]} ,"to":"ANZ-1","x":1,"x":2}`, "ANZ-1", `{"a" : [1, 2.50]}`, ""},
		{`{"to":"\u0041NZ\u002d1","\u0063ontent":false}`, "ANZ-1", `false`, ""},
		{`{"to":"ANZ-1","content":"\ud800 \/"}`, "ANZ-1", `"\ud800 \/"`, ""},
		{`null`, "", "", wire.CodeMissingField},
		{`{}`, "", "", wire.CodeMissingField},
		{`{"to":"ANZ-1"}`, "", "", wire.CodeMissingField},
		{`{"to":"ANZ-1","content":null}`, "", "", wire.CodeMissingField},
		{`{"content":"x"}`, "", "", wire.CodeMissingField},
		{`{"to":null,"content":"x"}`, "", "", wire.CodeMissingField},
		{`{"to":["ANZ-1"],"content":"x"}`, "", "", wire.CodeBadField},
		{`{"to":"ANZ-01","content":"x"}`, "", "", wire.CodeBadField},
		{`{"to":"","content":"x"}`, "", "", wire.CodeBadField},
		{`{"to":"ANZ-1","to":"ANZ-1","content":"x"}`, "", "", wire.CodeBadField},
		{`{"to":"ANZ-1","content":null,"content":"x"}`, "", "", wire.CodeBadField},
	} {
		f, err := wire.ParseFrame([]byte(`{"type":"MESSAGE","data":` + test.data + `}`))
		if err != nil {
			t.Fatalf("%s: %v", test.data, err)
		}
		byHand := wire.Frame{Type: wire.TypeMessage, Data: f.Data}
		for _, f := range []*wire.Frame{&f, &byHand} {
			to, content, err := wire.ParseMessage(f)
			if string(to) != test.to || string(content) != test.content || codeOf(err) != test.code {
				t.Errorf("%s: to %q, content %s, error %v", test.data, to, content, err)
			}
		}
	}
}

func codeOf(err *wire.Error) string {
	if err == nil {
		return ""
	}
	return err.Code
}

func TestGroupsNameEachReceiverOnce(t *testing.T) {
	to, bad, content, err := wire.ParseGroup([]byte(
		`{"to":["ANZ-2","ANZ-1", "\u0041NZ-2","nobody",7,null,["ANZ-9"],"ANZ-3","ANZ-1"],"content":{"x": 1}}`), 100)
	if err != nil {
		t.Fatal(err)
	}
	if want := []wire.UserID{"ANZ-2", "ANZ-1", "ANZ-3"}; !slices.Equal(to, want) {
		t.Errorf("to %v, want %v", to, want)
	}
	if want := []string{"nobody", "7", "null", `["ANZ-9"]`}; !slices.Equal(bad, want) {
		t.Errorf("bad %q, want %q", bad, want)
	}
	if string(content) != `{"x": 1}` {
		t.Errorf("content %s", content)
	}
}

func TestGroupsThatAreRefused(t *testing.T) {
	for _, test := range []struct{ data, code string }{
		{``, wire.CodeMissingField},
		{`{}`, wire.CodeMissingField},
		{`{"to":["ANZ-1"]}`, wire.CodeMissingField},
		{`{"content":1}`, wire.CodeMissingField},
		{`{"to":"ANZ-1","content":1}`, wire.CodeBadField},
		{`{"to":{},"content":1}`, wire.CodeBadField},
		{`{"to":[],"content":1}`, wire.CodeBadField},
		{`{"to":["ANZ-1"],"to":["ANZ-2"],"content":1}`, wire.CodeBadField},
		{`{"to":["ANZ-1","ANZ-2","ANZ-3","ANZ-4"],"content":1}`, wire.CodeTooManyReceivers},
		{`{"to":["ANZ-1","ANZ-2","x","y"],"content":1}`, wire.CodeTooManyReceivers},
	} {
		var data []byte
		if test.data != "" {
			data = []byte(test.data)
		}
		if _, _, _, err := wire.ParseGroup(data, 3); codeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", test.data, err, test.code)
		}
	}
	if to, _, _, err := wire.ParseGroup([]byte(`{"to":["ANZ-1","ANZ-2","ANZ-3","ANZ-1"],"content":1}`), 3); err != nil || len(to) != 3 {
		t.Errorf("three receivers, one named twice: %v, %v", to, err)
	}
}

func TestWhatIsNoReceiverIsShortened(t *testing.T) {
	_, bad, _, err := wire.ParseGroup([]byte(`{"to":["`+strings.Repeat("ü", 5000)+`"],"content":1}`), 3)
	if err != nil || len(bad) != 1 || len(bad[0]) > 100 || !strings.HasSuffix(bad[0], "ü…") {
		t.Errorf("%q, %v", bad, err)
	}
}

func TestFetches(t *testing.T) {
	for _, test := range []struct {
		data string
		want int
	}{
		{"", wire.DefaultFetch}, {`{}`, wire.DefaultFetch}, {`{"count":null}`, wire.DefaultFetch},
		{`{"count":1}`, 1}, {`{"count":2000}`, 2000}, {`{"count":2001}`, wire.MaxFetch},
		{`{"count":99999999999999999999}`, wire.MaxFetch},
		{`{"count":0}`, 0}, {`{"count":-1}`, 0}, {`{"count":-99999999999999999999}`, 0}, {`{"count":1.5}`, 0},
		{`{"count":1e2}`, 0}, {`{"count":"100"}`, 0}, {`{"count":true}`, 0}, {`{"count":[]}`, 0}, {`{"count":1,"count":2}`, 0},
	} {
		var data []byte
		if test.data != "" {
			data = []byte(test.data)
		}
		got, err := wire.ParseFetch(data)
		if got != test.want || (err == nil) != (test.want > 0) || (err != nil && err.Code != wire.CodeBadField) {
			t.Errorf("%s: %d, %v", test.data, got, err)
		}
	}
}

func TestCloses(t *testing.T) {
	if u, err := wire.ParseClose([]byte(`{"userId":"ANZ-7"}`)); err != nil || u != "ANZ-7" {
		t.Errorf("%s, %v", u, err)
	}
	for data, code := range map[string]string{
		`{}`: wire.CodeMissingField, `{"userId":null}`: wire.CodeMissingField,
		`{"userId":7}`: wire.CodeBadField, `{"userId":"ANZ"}`: wire.CodeBadField,
		`{"userId":"ANZ-1","userId":"ANZ-2"}`: wire.CodeBadField, `{`: wire.CodeNotJSON,
	} {
		if _, err := wire.ParseClose([]byte(data)); codeOf(err) != code {
			t.Errorf("%s: %v, want %s", data, err, code)
		}
	}
}

func TestAcks(t *testing.T) {
	const id = "019aa125-cf59-7fff-bfff-ffffffffffff"
	if got, err := wire.ParseAck([]byte(`{"id":"` + id + `"}`)); err != nil || got.String() != id {
		t.Errorf("%s, %v", got, err)
	}
	for data, code := range map[string]string{
		`{}`: wire.CodeMissingField, `{"id":null}`: wire.CodeMissingField, `{"id":5}`: wire.CodeBadField,
		`{"id":"5"}`: wire.CodeBadField, fmt.Sprintf(`{"id":%q}`, strings.ToUpper(id)): wire.CodeBadField,
		fmt.Sprintf(`{"id":%q,"id":%q}`, id, id): wire.CodeBadField,
	} {
		if _, err := wire.ParseAck([]byte(data)); codeOf(err) != code {
			t.Errorf("%s: %v, want %s", data, err, code)
		}
	}
}

func TestSeqIsForThoseWhoHaveAProducer(t *testing.T) {
	for in, want := range map[string]uint64{`1`: 1, `18`: 18, `9007199254740991`: wire.MaxSeq} {
		f, err := wire.ParseFrame([]byte(`{"seq":` + in + `,"type":"MESSAGE"}`))
		if err != nil {
			t.Fatal(err)
		}
		if seq, err := wire.ParseSeq(&f); err != nil || seq != want {
			t.Errorf("%s: got %d, %v", in, seq, err)
		}
	}
	for in, code := range map[string]string{
		``: wire.CodeMissingField, `,"seq":null`: wire.CodeMissingField, `,"Seq":1`: wire.CodeMissingField,
		`,"seq":0`: wire.CodeBadField, `,"seq":-1`: wire.CodeBadField, `,"seq":1.0`: wire.CodeBadField, `,"seq":1e2`: wire.CodeBadField,
		`,"seq":9007199254740992`: wire.CodeBadField, `,"seq":99999999999999999999`: wire.CodeBadField,
		`,"seq":"1"`: wire.CodeBadField, `,"seq":true`: wire.CodeBadField, `,"seq":[1]`: wire.CodeBadField, `,"seq":{}`: wire.CodeBadField,
		`,"seq":1,"seq":1`: wire.CodeBadField, `,"seq":null,"\u0073eq":1`: wire.CodeBadField,
	} {
		f, err := wire.ParseFrame([]byte(`{"type":"MESSAGE"` + in + `}`))
		if err != nil {
			t.Errorf("%s: refused for everybody: %v", in, err)
			continue
		}
		if _, err := wire.ParseSeq(&f); err == nil || err.Kind != wire.KindInvalidMessage || err.Code != code || err.Field != "seq" {
			t.Errorf("%s: got %v, want %s", in, err, code)
		}
	}
}
