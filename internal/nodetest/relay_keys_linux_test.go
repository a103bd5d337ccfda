package nodetest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// The power fails while senders with keys send to a collector, some twice. When all
// is sent again, each file is in the spool once.
func TestAfterAPowerCutAFileThatIsSentAgainIsStoredOnce(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	chance := rand.New(rand.NewPCG(seed(t), 35))
	for round := range 4 * numberFromEnvironment(t, "FAULT_ROUNDS", 1) {
		rule := ruleOf(uint64(round))
		t.Run(fmt.Sprint(rule, " ", round), func(t *testing.T) {
			d := newDisk(t, rule)
			c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\nlimits: {free: 0}\n", portsFor(t, 1)[0], d.data()))
			send := func(client *http.Client, name, content string) bool {
				sum := sha256.Sum256([]byte(content))
				key := sha256.Sum256([]byte("key of " + content))
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+c.addr()+"/"+name, strings.NewReader(content))
				if err != nil {
					t.Error(err)
					return false
				}
				r.Header.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
				r.Header.Set("Idempotency-Key", `"`+hex.EncodeToString(key[:])+`"`)
				answer, err := client.Do(r)
				if err != nil {
					return false // the power is off
				}
				_ = answer.Body.Close()
				return answer.StatusCode == http.StatusOK
			}
			var mu sync.Mutex
			sent, answered := map[string]string{}, 0
			enough := make(chan struct{})
			most := 20 + chance.IntN(200)
			var senders sync.WaitGroup
			for i := range 8 {
				senders.Go(func() {
					client := &http.Client{Transport: &http.Transport{}}
					defer client.CloseIdleConnections()
					for n := 0; ; n++ {
						name, content := fmt.Sprintf("%d-%04d", i, n), strings.Repeat(fmt.Sprint(i, n, " "), 100)
						mu.Lock()
						sent[name] = content
						mu.Unlock()
						if !send(client, name, content) || n%3 == 0 && !send(client, name, content) {
							return
						}
						mu.Lock()
						if answered++; answered == most {
							close(enough)
						}
						mu.Unlock()
					}
				})
			}
			<-enough
			d.cut(c.cmd.Process, func() { <-c.done }, chance, anySurvival(chance))
			senders.Wait()
			c.start()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			want := map[string][32]byte{}
			for name, content := range sent {
				want[name] = sha256.Sum256([]byte(content))
				if !send(client, name, content) {
					t.Errorf("%s is not taken", name)
				}
			}
			wantFiles(t, "the spool", d.data(), want)
		})
	}
}
