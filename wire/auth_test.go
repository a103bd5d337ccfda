package wire_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestSignIns(t *testing.T) {
	const who = `"appId":"app-id-343","userId":"ANZ-123223","token":"token-12345"`
	base := wire.Auth{AppID: "app-id-343", Token: "token-12345", User: "ANZ-123223", UserText: "ANZ-123223"}
	with := func(o wire.Options) wire.Auth {
		a := base
		a.Options = o
		return a
	}
	for _, test := range []struct {
		data string
		want wire.Auth
		any  bool
	}{
		{`{` + who + `}`, base, false},
		{`{` + who + `,"options":null,"device":"phone"}`, base, false},
		{`{` + who + `,"options":{}}`, base, false},
		{`{` + who + `,"options":{"ack":false,"presence":[],"push":null,"later":{"x":1}}}`, base, false},
		{`{` + who + `,"options":{"ack":true}}`, with(wire.Options{Ack: true}), true},
		{`{` + who + `,"options":{"receipts":true}}`, with(wire.Options{Receipts: true}), true},
		{`{` + who + `,"options":{"push":true}}`, with(wire.Options{Push: true}), true},
		{`{` + who + `,"options":{"presence":["ANZ-7","ANZ-8","ANZ-7"]}}`, with(wire.Options{Presence: []wire.UserID{"ANZ-7", "ANZ-8"}}), true},
		{`{` + who + `,"options":{"producer":"phone-1.a_B"}}`, with(wire.Options{Producer: "phone-1.a_B"}), true},
		{`{"appId":"\ud83d\ude00\n","userId":"\u0041-1"}`, wire.Auth{AppID: "😀\n", User: "A-1", UserText: "A-1"}, false},
	} {
		got, err := wire.ParseAuth([]byte(test.data))
		if err != nil {
			t.Errorf("%s: %v", test.data, err)
			continue
		}
		if len(got.Options.Presence) == 0 {
			got.Options.Presence = nil
		}
		if !reflect.DeepEqual(got, test.want) || got.Options.Any() != test.any {
			t.Errorf("%s: got %+v", test.data, got)
		}
	}
}

func TestSignInsThatAreRefused(t *testing.T) {
	const who = `"appId":"a","userId":"ANZ-1","token":"t"`
	for data, code := range map[string]string{
		`{}`:                             wire.CodeMissingField,
		`{"appId":"a","token":"t"}`:      wire.CodeMissingField,
		`{"userId":"ANZ-1","token":"t"}`: wire.CodeMissingField,
		`{"appId":null,"userId":"ANZ-1","token":"t"}`:                                            wire.CodeMissingField,
		`{"appId":1,"userId":"ANZ-1","token":"t"}`:                                               wire.CodeBadField,
		`{"appId":"a","userId":1,"token":"t"}`:                                                   wire.CodeBadField,
		`{"appId":"a","userId":"ANZ-1","token":{}}`:                                              wire.CodeBadField,
		`{` + who + `,"token":"u"}`:                                                              wire.CodeBadField,
		`{` + who + `,"options":[]}`:                                                             wire.CodeBadField,
		`{` + who + `,"options":{"ack":1}}`:                                                      wire.CodeBadField,
		`{` + who + `,"options":{"ack":true,"ack":false}}`:                                       wire.CodeBadField,
		`{` + who + `,"options":{"presence":"ANZ-1"}}`:                                           wire.CodeBadField,
		`{` + who + `,"options":{"presence":["ANZ-1",""]}}`:                                      wire.CodeBadField,
		`{` + who + `,"options":{"producer":""}}`:                                                wire.CodeBadField,
		`{` + who + `,"options":{"producer":7}}`:                                                 wire.CodeBadField,
		`{` + who + `,"options":{"producer":"a b"}}`:                                             wire.CodeBadField,
		`{` + who + `,"options":{"producer":"` + strings.Repeat("x", wire.MaxProducer+1) + `"}}`: wire.CodeBadField,
	} {
		got, err := wire.ParseAuth([]byte(data))
		if codeOf(err) != code || err.Kind != wire.KindInvalidMessage || !reflect.DeepEqual(got, wire.Auth{}) {
			t.Errorf("%s: %+v, %v, want %s", data, got, err, code)
		}
	}
}

func TestASignInWithABadUserIDCanBeAnswered(t *testing.T) {
	got, err := wire.ParseAuth([]byte(`{"appId":"a","userId":"ANZ-01","token":"t"}`))
	if err == nil || err.Kind != wire.KindAuthReply || err.Code != wire.CodeBadUserID {
		t.Fatalf("got %v", err)
	}
	if got.AppID != "a" || got.UserText != "ANZ-01" || got.User != "" {
		t.Errorf("got %+v", got)
	}
}
