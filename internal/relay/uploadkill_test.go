package relay

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// victimFolder has this program be an uploader that is killed. Its value is the
// folder, and the collectors after it, ID=port.
const victimFolder = "RELAY_TEST_UPLOADER"

// TestUploaderThatIsKilled is that process, and nothing without the variable.
func TestUploaderThatIsKilled(t *testing.T) {
	value := os.Getenv(victimFolder)
	if value == "" {
		return
	}
	fields := strings.Split(value, "|")
	members := map[string]Member{}
	for _, f := range fields[1:] {
		id, port, _ := strings.Cut(f, "=")
		var n int
		_, _ = fmt.Sscan(port, &n) // the test below wrote it
		members[id] = Member{Address: "127.0.0.1", Port: Port(n)}
	}
	s := standardUpload(fields[0], Clusters{"next": members})
	err := RunUploader(context.Background(), UploaderOptions{
		Load: func() (UploaderSettings, error) { return s, nil }, Log: quiet(), Out: io.Discard, tuning: quickUpload,
	})
	t.Fatal(err)
}

func TestAProcessThatIsKilledHasLostNothingAndKnowsWhoHasWhat(t *testing.T) {
	a, dead := newStub(t, nil), newStub(t, refusing(500))
	dir := t.TempDir()
	const files = 40
	for i := range files {
		drop(t, dir, fmt.Sprint(i), fmt.Sprint(i))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.CommandContext(t.Context(), self, "-test.run=^TestUploaderThatIsKilled$")
	victim.Env = append(os.Environ(), fmt.Sprintf("%s=%s|a=%d|dead=%d", victimFolder, dir, a.member.Port, dead.member.Port))
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the living one has all", func() bool { return a.count() == files })
	// What it wrote down is known when the last file's answer is some saves old.
	ledgerPath := dir + "/.switchboard/uploader/ledger"
	eventually(t, "the ledger is written", func() bool {
		info, err := os.Stat(ledgerPath)
		return err == nil && info.Size() >= int64(len(ledgerMagic))+(files+2)*recordSize
	})
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	// The end of what it wrote was lost, too.
	info, err := os.Stat(ledgerPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(ledgerPath, info.Size()-recordSize-1); err != nil {
		t.Fatal(err)
	}
	dead.do(nil)
	newUpload(t, standardUpload(dir, next(map[string]*stub{"a": a, "dead": dead}))).start(quickUpload)
	eventually(t, "all are gone", func() bool { return len(visible(t, dir)) == 0 })
	if dead.count() != files || len(a.sent()) != files+2 {
		t.Errorf("the dead one has %d, and the living one was sent %d", dead.count(), len(a.sent()))
	}
}

func TestWhatIsOnItsWayAtTheEndIsCutOffAfterAWhileAndSentByTheNext(t *testing.T) {
	arrived := make(chan struct{})
	var first atomic.Bool
	c := newStub(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || first.Swap(true) {
			return false
		}
		close(arrived)
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done() // the connection is cut
		panic(http.ErrAbortHandler)
	})
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	tuning := quickUpload
	tuning.stop = time.Millisecond
	u := newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c}))).start(tuning)
	<-arrived
	u.stop()
	if !there(dir, "file") {
		t.Fatal("it is gone")
	}
	u.start(quickUpload)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
}

func TestAnUploadThatDoesNotMoveIsGivenUp(t *testing.T) {
	for name, reads := range map[string]bool{"takes nothing": false, "answers nothing": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first atomic.Bool
			end := make(chan struct{})
			defer close(end) // also where the test fails, or the stub would wait for ever
			c := newStub(t, func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut || first.Swap(true) {
					return false
				}
				if reads {
					_, _ = io.Copy(io.Discard, r.Body) // as far as it comes
				} else {
					_, _ = r.Body.Read(make([]byte, 1)) // so that the sender begins
				}
				<-end
				panic(http.ErrAbortHandler)
			})
			dir := t.TempDir()
			drop(t, dir, "file", strings.Repeat("x", 16<<20)) // more than the sockets hold
			tuning := quickUpload
			tuning.idle, tuning.answer = 2*time.Second, 2*time.Second // what a busy machine needs for the second time
			newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c}))).start(tuning)
			eventually(t, "it is gone", func() bool { return !there(dir, "file") })
		})
	}
}

func TestManyFilesForADeadCollectorTakeLittleMemory(t *testing.T) {
	dir := t.TempDir()
	const files = 10_000
	for i := range files {
		f, err := os.Create(fmt.Sprintf("%s/%06d", dir, i))
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close() // it is empty
	}
	dead := newStub(t, refusing(500))
	o := UploaderOptions{tuning: quickUpload, Log: quiet()}
	o.fill()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	u, err := startUploader(&o, standardUpload(dir, next(map[string]*stub{"dead": dead})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if _, err := u.run(ctx); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "all were counted", func() bool { return u.report().Waiting.Files == files })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if families, err := u.metrics.Gather(); err != nil || !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool {
		return f.GetName() == "switchboard_relay_waiting_files" && f.GetMetric()[0].GetGauge().GetValue() == files
	}) {
		t.Errorf("the metrics say something else, %v", err)
	}
	if err := u.ready(); err != nil {
		t.Errorf("it is not ready: %v", err)
	}
	stop()
	running.Wait()
	if more := int64(after.HeapAlloc) - int64(before.HeapAlloc); more > 4<<20 {
		t.Errorf("they take %d bytes of memory", more)
	}
	if len(u.lanes) != 1 || len(u.lanes[0].busy) > laneQueue+8 {
		t.Errorf("%d of them are held", len(u.lanes[0].busy))
	}
}
