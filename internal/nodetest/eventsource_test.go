package nodetest

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

// The examples of the standard, and what they leave open.
func TestEventsAreReadAsTheStandardHasIt(t *testing.T) {
	for _, c := range []struct {
		text string
		want []Event
	}{
		{"data: YHOO\ndata: +2\ndata: 10\n\n", []Event{{Data: "YHOO\n+2\n10"}}},
		{": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
			[]Event{{ID: "1", Data: "first event"}, {Data: "second event"}, {Data: " third event"}}},
		{"data\n\ndata\ndata\n\ndata:", []Event{{}, {Data: "\n"}}},
		{"data:test\n\ndata: test\n\n", []Event{{Data: "test"}, {Data: "test"}}},
		{"\ufeffdata: a\r\nid: 7\r\r\nevent: close\ndata: b\n\nid: 8\n\ndata: c\n\n",
			[]Event{{ID: "7", Data: "a"}, {ID: "7", Event: "close", Data: "b"}, {ID: "8", Data: "c"}}},
		{"id: a\x00b\ndata: a\n\nretry: x\nother: y\n\ndata: half", []Event{{Data: "a"}}},
	} {
		r := NewEventReader(strings.NewReader(c.text))
		var got []Event
		for {
			e, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q is read as %q, not %q", c.text, got, c.want)
		}
	}
}
