package nodetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A bit flips in a file of the log while the server is stopped, or was killed.
// The server refuses to start and names the file; it never delivers what nobody
// sent.
func TestAFlippedBitIsFoundAtTheStart(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	chance := rand.New(rand.NewPCG(seed(t), 17))
	const n = 400
	for _, stopped := range []bool{true, false} {
		t.Run(fmt.Sprintf("stopped=%v", stopped), func(t *testing.T) {
			s := StartShipped(t, "--config", Settings(t, roomyApp)) // which reads its log faster
			post(t, SignIn(t, s, "ANZ-1", `{"receipts":true}`), "ANZ-2", "m", 0, n, 30_000)
			if stopped {
				s.Stop()
			} else {
				s.Kill()
			}
			found := 0
			for range rounds {
				if flipAndStart(t, s, chance, stopped, n) {
					found++
				}
			}
			t.Logf("%d bits flipped: found %d times, wrong messages 0", rounds, found)
			if found < rounds/2 {
				t.Error("that is too rarely")
			}
		})
	}
}

// flipAndStart flips one bit in a copy of the server's data and starts it
// there. It says whether the server refused.
func flipAndStart(t *testing.T, original *Server, chance *rand.Rand, stopped bool, n int) (refused bool) {
	t.Helper()
	data := t.TempDir()
	_ = os.Remove(filepath.Join(original.Data, "control.sock")) // which a kill leaves there; a socket cannot be copied
	if err := os.CopyFS(data, os.DirFS(original.Data)); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(data, "jetstream", "$G", "streams", "SB_LOG_0", "msgs", "*.blk"))
	if err != nil || len(blocks) < 2 {
		t.Fatalf("%d files of the log, %v", len(blocks), err)
	}
	block := blocks[chance.IntN(len(blocks))]
	content, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	at, bit := chance.IntN(len(content)), chance.IntN(8)
	content[at] ^= 1 << bit
	if err := os.WriteFile(block, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, path: original.path, Addr: "127.0.0.1:0", Admin: "127.0.0.1:0", Data: data, Args: original.Args}
	where := fmt.Sprintf("bit %d of byte %d of %d in %s", bit, at, len(content), filepath.Base(block))
	if !s.Starts() {
		if !strings.Contains(s.Output(), "damaged") || !strings.Contains(s.Output(), filepath.Base(block)) && !strings.Contains(s.Output(), "index.db") {
			t.Errorf("%s: the refusal does not say where:\n%s", where, s.Output())
		}
		return true
	}
	defer s.Kill()
	missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(2000)
	for i, f := range missed {
		if series, k := number(f); series != "m" || k != i || f.Field("content") != numbered("m", i, 30_000) {
			t.Fatalf("%s: message %d is %.100s", where, i, f.Raw)
		}
	}
	// Only after a crash may damage at the very end look like a torn tail.
	if stopped || at < len(content)/2 || block != blocks[len(blocks)-1] {
		t.Errorf("%s: the server started, with %d messages of %d", where, len(missed), n)
	}
	return false
}
