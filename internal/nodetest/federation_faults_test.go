package nodetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// far is a user who sends a series to another one, and gets one.
type far struct {
	*client.Client
	user wire.UserID

	mu  sync.Mutex
	got map[wire.UserID][]int // by sender, in order
}

// dialFar signs a user in where he lives.
func dialFar(t *testing.T, f *Federation, i, number int) *far {
	t.Helper()
	x := &far{user: wire.UserID(f.User(i, number)), got: make(map[wire.UserID][]int)}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{
		URL: "ws://" + f.Domains[i].Addr + "/ws", AppID: "app-id-343", UserID: x.user, Token: "t",
		Ack: true, Push: true, Producer: "p", Backoff: client.Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond},
		OnMessage: func(_ context.Context, m client.Message) error {
			var n int
			if err := json.Unmarshal(m.Content, &n); err != nil {
				return err
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			x.got[m.From] = append(x.got[m.From], n)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	x.Client = c
	return x
}

// judge counts what of 1 to n from a sender is lost, there twice, and behind a later
// one.
func (x *far) judge(from wire.UserID, n int) (lost, twice, behind int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	seen, last := make(map[int]int), 0
	for _, i := range x.got[from] {
		if seen[i]++; seen[i] > 1 {
			twice++
		} else if i < last {
			behind++
		}
		last = max(last, i)
	}
	for i := 1; i <= n; i++ {
		if seen[i] == 0 {
			lost++
		}
	}
	return lost, twice, behind
}

// Three domains in a row, of which one after the other is killed, frozen and cut off
// while users of the outer ones talk, and one of the middle.
func TestNothingIsLostBetweenDomainsWhateverFails(t *testing.T) {
	t.Parallel()
	faults, seed := 6, rand.Uint64N(1_000_000_000)
	if n, err := strconv.Atoi(os.Getenv("FAULT_ROUNDS")); err == nil {
		faults *= n
	}
	if n, err := strconv.ParseUint(os.Getenv("FAULT_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("FAULT_SEED=%d draws the same faults again", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	f := StartFederation(t, FederationOptions{Domains: 3, More: func(int) string { return "limits: {proofTimeout: 2s, ackTimeout: 4s, minDiskFree: 64MiB}\n" }})
	lines := make([]*proxy, 3) // others reach domain i by line i
	f.Describe(func(n *Network) {
		for i, s := range f.Domains {
			lines[i] = newProxy(t, s.Addr)
			n.URLs[i] = []string{"ws://" + lines[i].Addr}
		}
	})
	f.LinksUp()
	users := []*far{dialFar(t, f, 0, 1), dialFar(t, f, 1, 1), dialFar(t, f, 2, 1)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sent := make([]int, len(users)) // by user, to each of the others
	var sending sync.WaitGroup
	for i, u := range users {
		sending.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				for _, to := range users {
					if to == u {
						continue
					}
					if err := u.Send(t.Context(), to.user, n); err != nil {
						if !errors.Is(err, context.Canceled) {
							t.Errorf("%s: %v", u.user, err)
						}
						return
					}
				}
				sent[i] = n
				time.Sleep(time.Millisecond) // the pace of the load, not a hope
			}
		})
	}
	if testing.Short() {
		faults = 2
	}
	for range faults {
		i := chance.IntN(3)
		s := f.Domains[i]
		switch chance.IntN(4) {
		case 0:
			s.Kill()
			s.Start()
		case 1:
			s.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(chance.IntN(3000)) * time.Millisecond) // how long it is frozen
			s.Signal(syscall.SIGCONT)
		case 2:
			lines[i].cut()
		default: // nothing comes through, and nobody is told
			lines[i].drop()
			time.Sleep(time.Duration(chance.IntN(4000)) * time.Millisecond)
			lines[i].mend()
		}
		time.Sleep(time.Duration(chance.IntN(1000)) * time.Millisecond) // until the next one
	}
	stop()
	sending.Wait()
	deadline, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for _, u := range users {
		if err := u.Flush(deadline); err != nil {
			t.Fatalf("%s: %v", u.user, err)
		}
	}
	for _, to := range users {
		for i, from := range users {
			if from == to {
				continue
			}
			Eventually(t, fmt.Sprintf("%s has all of %s", to.user, from.user), func() bool {
				lost, _, _ := to.judge(from.user, sent[i])
				return lost == 0
			})
		}
	}
	Eventually(t, "nothing waits between domains", func() bool { return f.Waiting(0, 1)+f.Waiting(1, 0)+f.Waiting(1, 2)+f.Waiting(2, 1) == 0 })
	total := []int{0, 0, 0, 0}
	for _, to := range users {
		for i, from := range users {
			if from == to {
				continue
			}
			lost, twice, behind := to.judge(from.user, sent[i])
			total = []int{total[0] + sent[i], total[1] + lost, total[2] + twice, total[3] + behind}
		}
	}
	t.Logf("%d messages after %d faults: %d lost, %d duplicated, %d reordered", total[0], faults, total[1], total[2], total[3])
	if !slices.Equal(total[1:], []int{0, 0, 0}) {
		t.Errorf("lost, duplicated, reordered: %v", total[1:])
	}
}
