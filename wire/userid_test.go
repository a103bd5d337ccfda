package wire_test

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestUserIDsThatAreAccepted(t *testing.T) {
	for _, test := range []struct {
		text   string
		app    string
		number int64
	}{
		{"ANZ-123223", "ANZ", 123223},
		{"ANZ-0", "ANZ", 0},
		{"a-1", "a", 1},
		{"_-1", "_", 1},
		{"my_app2-9223372036854775807", "my_app2", math.MaxInt64},
		{"7-7", "7", 7},
		{strings.Repeat("x", wire.MaxAppName) + "-5", strings.Repeat("x", wire.MaxAppName), 5},
	} {
		u, err := wire.ParseUserID(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if string(u) != test.text || u.App() != test.app || u.Number() != test.number {
			t.Errorf("%q: got %q, app %q, number %d", test.text, u, u.App(), u.Number())
		}
		if err := wire.CheckUserID([]byte(test.text)); err != nil {
			t.Errorf("CheckUserID(%q): %v", test.text, err)
		}
	}
}

func TestUserIDsThatAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "-", "ANZ", "ANZ-", "-1", "ANZ--1", "ANZ-1-2", "ANZ-1-", "-ANZ-1",
		"ANZ-01", "ANZ-00", "ANZ-+1", "ANZ-1.0", "ANZ-0x1", "ANZ-1e3", "ANZ-1_000", "ANZ-\u0661",
		"ANZ-9223372036854775808", "ANZ-10000000000000000000", "ANZ-" + strings.Repeat("9", 1000),
		"ANZ 1", " ANZ-1", "ANZ-1 ", "ANZ-1\n", "A.Z-1", "ÄNZ-1", "ANZ\x00-1", "ANZ-1\x00",
		strings.Repeat("x", wire.MaxAppName+1) + "-5",
	} {
		if u, err := wire.ParseUserID(text); err == nil {
			t.Errorf("%q was accepted as %q", text, u)
		}
		if wire.UserID(text).Number() != 0 {
			t.Errorf("%q has number %d", text, wire.UserID(text).Number())
		}
	}
}

func TestCheckingAUserIDAllocatesNothing(t *testing.T) {
	b := []byte("ANZ-123223")
	if n := testing.AllocsPerRun(100, func() { _ = wire.CheckUserID(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzUserID(f *testing.F) {
	form := regexp.MustCompile(`\A([A-Za-z0-9_]{1,64})-(0|[1-9][0-9]*)\z`)
	for _, seed := range []string{"ANZ-123223", "a_9-0", "ANZ-9223372036854775808", "ANZ-1-2", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		part := form.FindStringSubmatch(s)
		var number int64
		want := part != nil
		if want {
			var err error
			number, err = strconv.ParseInt(part[2], 10, 64)
			want = err == nil
		}
		u, err := wire.ParseUserID(s)
		if (err == nil) != want || (wire.CheckUserID([]byte(s)) == nil) != want {
			t.Fatalf("%q: error %v, want accepted %v", s, err, want)
		}
		if want && (u.App() != part[1] || u.Number() != number) {
			t.Fatalf("%q: app %q, number %d", s, u.App(), u.Number())
		}
	})
}
