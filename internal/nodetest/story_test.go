package nodetest

import (
	"fmt"
	"testing"
)

// The whole job in one test: two users talk; one leaves, messages wait; the
// process is killed; they are there when it is back.
func TestTwoUsersTalkAndNothingIsLost(t *testing.T) {
	t.Parallel()
	s := Start(t)
	ann, bob := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "")

	ann.Message("ANZ-2", "hello", `"reference":"r1"`)
	got := bob.Expect("MESSAGE")
	if got.Raw != `{"type":"MESSAGE","data":{"from":"ANZ-1","content":"hello"},"reference":"r1"}` {
		t.Fatalf("got %s", got.Raw)
	}
	if c := ann.Expect("MESSAGE_CONFIRMATION"); c.Raw != `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r1"}}` {
		t.Fatalf("got %s", c.Raw)
	}

	bob.Close()
	stored := SignIn(t, s, "ANZ-3", `{"receipts":true}`)
	for i := range 10 {
		stored.Message("ANZ-2", fmt.Sprint("waiting ", i), fmt.Sprintf(`"reference":"w%d"`, i))
		stored.Expect("MESSAGE_STORED")
	}
	s.Kill()
	s.Start()

	bob = SignIn(t, s, "ANZ-2", "")
	missed, left := bob.Fetch(100)
	if len(missed) != 10 || left != "0" {
		t.Fatalf("fetched %d messages, %s left", len(missed), left)
	}
	for i, f := range missed {
		if f.Field("content") != fmt.Sprint("waiting ", i) {
			t.Fatalf("message %d is %s", i, f.Raw)
		}
	}
	stored = SignIn(t, s, "ANZ-3", `{"push":true}`)
	for i := range 10 {
		if c := stored.Expect("MESSAGE_CONFIRMATION"); c.Field("reference") != fmt.Sprint("w", i) {
			t.Fatalf("confirmation %d is %s", i, c.Raw)
		}
	}
}
