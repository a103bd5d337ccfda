package match

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// takeoverRig has a on n2 and b on n3 in a match, of which the owner, n1, dies.
func takeoverRig(t *testing.T, q Request) (r *rig, a, b *device) {
	r = newRig(t, 1, "n1", "n2", "n3")
	r.own(0, "n1")
	a, b = r.open("n2", "a"), r.open("n3", "b")
	a.ask(t, q)
	b.ask(t, q)
	settle(time.Second)
	a.expect(t, "waiting", "matched [b]")
	b.expect(t, "waiting", "matched [a]")
	r.kill("n1")
	return r, a, b
}

func TestWhoReconnectsWhileThereIsNoOwnerIsTaken(t *testing.T) {
	for _, node := range []string{"n2", "n3"} {
		for _, replace := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				q := anyone
				q.Replace = replace
				r, a, b := takeoverRig(t, q)
				a.Close()
				again := r.open(node, "a")
				again.ask(t, q)
				settle(time.Second)
				r.own(0, node)
				settle(3 * time.Second)
				again.expect(t, "waiting")
				b.expect(t, "a left [] true")
			})
		}
	}
}

func TestOfTwoSessionsTheLaterOneIsInAlsoForANewOwner(t *testing.T) {
	for _, node := range []string{"n2", "n3"} {
		synctest.Test(t, func(t *testing.T) {
			q := anyone
			q.Replace = true
			r, a, _ := takeoverRig(t, q)
			later := r.open(node, "a")
			later.ask(t, q)
			settle(time.Second)
			r.own(0, "n3")
			settle(3 * time.Second)
			a.expect(t, "left  1")
			later.expect(t, "waiting")

			a.ask(t, q) // the earlier session asks once more
			settle(time.Second)
			a.expect(t, "waiting", "canceled  1")
			later.expect(t)
		})
	}
}

func TestALogWithoutBeginningsOfSessionsIsRead(t *testing.T) {
	c := newCore(0, 1, Limits{}, nil, time.UnixMilli(5_000), smallTuning)
	buf := []byte{logNoSessions, 1, recMatched}
	buf = appendText(append(buf, make([]byte, 16)...), "app")
	buf = append(appendText(buf, "pool"), 0, 2)
	for i, name := range []string{"a", "b"} {
		buf = append(append(buf, make([]byte, 15)...), byte(i))
		buf = appendText(appendText(buf, name), "n1")
		buf = append(buf, 0xa0, 0x1f) // 2000 ms, as a varint
		buf = appendProperties(buf, Properties{})
	}
	must(t, c.replay(1, buf))
	var members []string
	for _, t := range c.tickets {
		members = append(members, t.device, (t.began - t.at).String(), t.at.String())
	}
	if slices.Sort(members); !slices.Equal(members, []string{"-3s", "-3s", "0s", "0s", "a", "b"}) {
		t.Errorf("of the log came %q", members)
	}
}
