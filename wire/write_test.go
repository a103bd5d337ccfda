package wire_test

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestFramesOfTheServer(t *testing.T) {
	ref := []byte(`"abc123"`)
	fail := func(e wire.Error, reference []byte) []byte { return wire.AppendFailure(nil, &e, reference) }
	deliver := wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeMailboxFull, Reason: "no room"}
	one, group, unsure := deliver, deliver, deliver
	one.To = []wire.UserID{"ANZ-2"}
	group.To, group.Group = []wire.UserID{"ANZ-2"}, true
	unsure.To, unsure.MayYetArrive = []wire.UserID{"ANZ-2", "ANZ-3"}, true

	for _, test := range []struct {
		got  []byte
		want string
	}{
		{wire.AppendMessage(nil, "ANZ-123223", []byte(`"hello"`), ref),
			`{"type":"MESSAGE","data":{"from":"ANZ-123223","content":"hello"},"reference":"abc123"}`},
		{wire.AppendMessage(nil, "ANZ-1", []byte(`{ "a" : 1.0 }`), nil),
			`{"type":"MESSAGE","data":{"from":"ANZ-1","content":{ "a" : 1.0 }}}`},
		{wire.AppendNumbered(nil, "ANZ-1", []byte(`1`), ref, "phone-1", 17),
			`{"type":"MESSAGE","data":{"from":"ANZ-1","content":1},"reference":"abc123","producer":"phone-1","seq":17}`},
		{wire.AppendConfirmation(nil, ref), `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"abc123"}}`},
		{wire.AppendConfirmation(nil, nil), `{"type":"MESSAGE_CONFIRMATION","data":{}}`},
		{wire.AppendStored(nil, ref), `{"type":"MESSAGE_STORED","data":{"reference":"abc123"}}`},
		{wire.AppendAuthReply(nil, "app-id-343", "ANZ-123223", true, "X", "y"),
			`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-123223","isAuthenticated":true}}`},
		{wire.AppendAuthRefusal(nil, "a", "b", &wire.Error{Code: wire.CodeWrongDomain, Reason: "no", Home: "wss://d2/ws"}),
			`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"a","userId":"b","isAuthenticated":false,"code":"WRONG_DOMAIN","reason":"no","home":"wss://d2/ws"}}`},
		{wire.AppendAuthRefusal(nil, "a", "b", &wire.Error{Code: wire.CodeRefused, Reason: "no"}),
			`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"a","userId":"b","isAuthenticated":false,"code":"REFUSED","reason":"no"}}`},
		{wire.AppendAuthReply(nil, `a"b`, "\x01", false, wire.CodeRefused, "no"),
			`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"a\"b","userId":"\u0001","isAuthenticated":false,"code":"REFUSED","reason":"no"}}`},
		{wire.AppendAuthRequired(nil), `{"type":"AUTH_REQUIRED","data":{}}`},
		{wire.AppendUserConnected(nil, "ANZ-7"), `{"type":"USER_CONNECTED","data":{"userId":"ANZ-7"}}`},
		{wire.AppendUserDisconnected(nil, "ANZ-7"), `{"type":"USER_DISCONNECTED","data":{"userId":"ANZ-7"}}`},
		{wire.AppendFetchComplete(nil, 25), `{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":25}}`},
		{wire.AppendReconnect(nil, "restart", 1500*time.Millisecond), `{"type":"RECONNECT","data":{"reason":"restart","afterMs":1500}}`},
		{wire.AppendReconnect(nil, "", -time.Second), `{"type":"RECONNECT","data":{"reason":"","afterMs":0}}`},
		{fail(wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeForbidden, Reason: `not "you"`}, ref),
			`{"type":"GENERAL_ERROR","data":{"code":"FORBIDDEN","reason":"not \"you\""},"reference":"abc123"}`},
		{fail(one, nil), `{"type":"DELIVER_FAILED","data":{"code":"MAILBOX_FULL","reason":"no room","to":"ANZ-2"}}`},
		{fail(group, ref), `{"type":"DELIVER_FAILED","data":{"code":"MAILBOX_FULL","reason":"no room","to":["ANZ-2"]},"reference":"abc123"}`},
		{fail(unsure, ref), `{"type":"DELIVER_FAILED","data":{"code":"MAILBOX_FULL","reason":"no room","to":["ANZ-2","ANZ-3"],"mayYetArrive":true},"reference":"abc123"}`},
	} {
		if string(test.got) != test.want {
			t.Errorf("got  %s\nwant %s", test.got, test.want)
		}
		if _, err := wire.ParseServerFrame(test.got); err != nil {
			t.Errorf("%s: %v", test.got, err)
		}
	}
}

func TestTheIDStandsBesideTheReference(t *testing.T) {
	id := newID(t, noon, "0123456789")
	frame := wire.AppendMessage(nil, "ANZ-1", []byte(`"}"`), []byte(`"r"`))
	got := wire.AppendWithID([]byte("before "), frame, id)
	want := `before {"type":"MESSAGE","data":{"from":"ANZ-1","content":"}"},"reference":"r","id":"` + id.String() + `"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := wire.AppendWithID(nil, []byte("nonsense"), id); string(got) != "nonsense" {
		t.Errorf("got %s", got)
	}
}

func TestAnErrorSaysWhatItIs(t *testing.T) {
	e := &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeNoRoute, Reason: "no way to Perth"}
	if got, want := e.Error(), "DELIVER_FAILED: NO_ROUTE: no way to Perth"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A string that is written is valid JSON, valid UTF-8, and comes back.
func FuzzString(f *testing.F) {
	for _, seed := range []string{"", "hello", "a\"b\\c/\b\f\n\r\t\x00\x1f\x7f", "ü😀\u2028", "\xff\xc3", "\ufffd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := wire.AppendString(nil, s)
		var back string
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%q became %s: %v", s, b, err)
		}
		std, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := json.Unmarshal(std, &want); err != nil {
			t.Fatal(err)
		}
		if back != want || !utf8.Valid(b) {
			t.Fatalf("%q became %s", s, b)
		}
		a, aerr := wire.ParseAuth([]byte(`{"appId":` + string(b) + `,"userId":` + string(std) + `}`))
		if aerr != nil && aerr.Code != wire.CodeBadUserID {
			t.Fatal(aerr)
		}
		if a.AppID != want || a.UserText != want {
			t.Fatalf("%q came back as %q and %q", s, a.AppID, a.UserText)
		}
	})
}
