package nodetest

import (
	"fmt"
	"testing"
	"time"
)

// talking is a matched pair, one of which says the same over and over.
type talking struct {
	*Server
	t    *testing.T
	key  string
	a, b *Device
	said int
}

const whatIsSaid = "ciao"

func newTalking(t *testing.T) *talking {
	t.Helper()
	Alone(t, ReasonEnds)
	x := &talking{Server: startWith(t, devicesOn), t: t}
	_, x.key = x.NewKey(`{"admin":true}`)
	x.a, x.b = ConnectDevice(t, x.Server, "a", 1, 1), ConnectDevice(t, x.Server, "b", 1, 1)
	x.a.Expect("I matched with device 'b'!")
	x.b.Expect("I matched with device 'a'!")
	return x
}

// say has a say it once, and b hear it.
func (x *talking) say() {
	x.t.Helper()
	x.a.Say(whatIsSaid)
	x.b.Expect("device a says: " + whatIsSaid)
	x.said++
}

// number returns a member of the state of a device.
func (x *talking) number(device, field string) (n int) {
	x.t.Helper()
	a := x.Call("GET", "/v1/journal/devices/"+device, x.key, "")
	if _, err := fmt.Sscan(a.Field(field), &n); err != nil {
		x.t.Fatalf("%s of %s: %v in %d %s", field, device, err, a.Status, a.Body)
	}
	return n
}

func TestACleanStopWritesAllThatMatchedDevicesSaid(t *testing.T) {
	t.Parallel()
	x := newTalking(t)
	for range 200 {
		x.say()
	}
	if code := x.Stop(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, x.Output())
	}
	x.Start()
	if got, want := x.number("a", "bytesSent"), x.said*len(whatIsSaid); got != want {
		t.Errorf("%d bytes were sent, not %d", got, want)
	}
	if got, want := x.number("b", "bytesReceived"), x.said*len(whatIsSaid); got != want {
		t.Errorf("%d bytes were received, not %d", got, want)
	}
	for _, device := range []string{"a", "b"} {
		for field, want := range map[string]int{"opened": 1, "closed": 1, "connectionsOpen": 0, "matched": 1, "unmatched": 1} {
			if got := x.number(device, field); got != want {
				t.Errorf("%s of %s is %d, not %d", field, device, got, want)
			}
		}
	}
}

// What a kill takes is the sums of the last second, and the time to write those before.
func TestAKillLosesTheLastSecondOfWhatDevicesSaidAndNothingElse(t *testing.T) {
	t.Parallel()
	x := newTalking(t)
	sums := map[string]string{"a": "bytesSent", "b": "bytesReceived"}
	var before int // was said by then
	written := func() bool {
		return x.number("a", sums["a"]) >= before && x.number("b", sums["b"]) >= before
	}
	began := time.Now()
	for time.Since(began) < 4*time.Second || !written() { // while they talk, and on a slow machine for longer
		if x.say(); time.Since(began) < 1500*time.Millisecond {
			before = x.said * len(whatIsSaid)
		}
		if time.Since(began) > Patience {
			t.Fatal("what was said is not written while they talk")
		}
	}
	x.Kill()
	x.Start()
	for device, sum := range sums {
		got, all := x.number(device, sum), x.said*len(whatIsSaid)
		t.Logf("%d of %d bytes are %s", got, all, sum)
		if got < before || got > all {
			t.Errorf("%d bytes are %s, of %d, of which %d were older", got, sum, all, before)
		}
		for field, want := range map[string]int{"opened": 1, "matched": 1} {
			if got := x.number(device, field); got != want {
				t.Errorf("%s of %s is %d, not %d", field, device, got, want)
			}
		}
	}
}
