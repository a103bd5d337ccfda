package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

func TestACollectorThatCannotBeUsedIsToldOnceAndTheOthersGetTheirFiles(t *testing.T) {
	n, a := newLister(t), newStub(t, nil)
	dir, log := t.TempDir(), &heard{}
	good := fmt.Sprintf(`"a":{"address":"127.0.0.1","port":"%d"}`, a.member.Port)
	n.say("", `{"next":{`+good+`,"b":{"address":"127.0.0.1","port":"undefined"}}}`)
	drop(t, dir, "file", "content")
	u := newUpload(t, followed(n, dir))
	u.log = log.log()
	u.start(quickUpload)
	eventually(t, "it is gone", func() bool { return a.has("file") && !there(dir, "file") })
	n.say("", `{"next":{`+good+`,"b":{"address":"127.0.0.1","port":"undefined"},"c":{"address":"a/b","port":1}}}`)
	n.polled(t)
	for id, reason := range map[string]string{"b": "port undefined", "c": "is no host"} {
		if got := log.lines("level=WARN", "next/"+id, reason); len(got) != 1 {
			t.Errorf("of %s it was told %q", id, got)
		}
	}
	if got := log.lines("WARN"); len(got) != 2 {
		t.Errorf("it warned %q", got)
	}
}

func TestAKnownCollectorWhoseNewAddressCannotBeUsedKeepsItsOwn(t *testing.T) {
	n, a := newLister(t), newStub(t, nil)
	dir := t.TempDir()
	n.has(t, "one", next(map[string]*stub{"a": a}))
	newUpload(t, followed(n, dir)).start(quickUpload)
	eventually(t, "it is known", func() bool { return n.reported("a").State == stateUp })
	n.say("one", `{"next":{"a":{"address":"not a host","port":1}}}`)
	n.polled(t)
	drop(t, dir, "file", "content")
	eventually(t, "it has the file", func() bool { return a.has("file") && !there(dir, "file") })
}

func TestAnAddressThatCannotBeCalledIsNotAndSaysWhy(t *testing.T) {
	a := newStub(t, nil)
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	s := standardUpload(dir, Clusters{"next": {"a": a.member}})
	p, err := newPlan(s, uploadTuning{}, "")
	if err != nil {
		t.Fatal(err)
	}
	u := laneBoard(t, p)
	u.members.known = map[string]map[string]knownMember{"next": {"a": {Member: Member{Address: "a b", Port: 1}}}}
	u.settle()
	u.settle()
	l := u.byName["next"]["a"]
	l.queue = []*item{{}}
	if got := l.target(); got.State != stateDown || !strings.Contains(got.Reason, "is no host") || l.ready(1) {
		t.Errorf("it is %+v", got)
	}
	u.members.known["next"]["a"] = knownMember{Member: Member{Address: "[::1]", Port: 1}}
	l.queue = nil
	u.settle()
	if got := l.target(); got.State != stateUp || got.Reason != "" || got.Address != "[::1]:1" || l.base != "http://[::1]:1" {
		t.Errorf("at an address that can be called it is %+v", got)
	}
}

func TestAClusterWithoutACollectorIsWarnedOfOnceAndReportedWithWhatWaits(t *testing.T) {
	n, a := newLister(t), newStub(t, nil)
	dir, log := t.TempDir(), &heard{}
	n.has(t, "one", next(map[string]*stub{"a": a}))
	drop(t, dir, "x.csv", "content")
	s := followed(n, dir)
	s.NextHop = []Rule{{"*.txt", "next"}, {"*.csv", "nxet"}}
	u := newUpload(t, s)
	u.log = log.log()
	u.start(quickUpload)
	var got Target
	eventually(t, "it is reported", func() bool {
		got = n.reported("")
		return got.Waiting.Files == 1
	})
	if got.Cluster != "nxet" || got.State != stateNone || !strings.Contains(got.Reason, "nexthop[1].cluster") || got.Waiting.Bytes != 7 {
		t.Errorf("it is %+v", got)
	}
	n.polled(t)
	n.polled(t)
	if got := log.lines("level=WARN", "no collector", "cluster=nxet", "nexthop[1].cluster"); len(got) != 1 || len(log.lines("level=WARN")) != 1 {
		t.Errorf("it warned %q", got)
	}
	n.has(t, "one", Clusters{"nxet": {"a": a.member}, "next": {"a": a.member}})
	eventually(t, "it is gone", func() bool { return a.has("x.csv") && !there(dir, "x.csv") })
	eventually(t, "it is no longer reported", func() bool { return n.reported("").State == "" })
}

// laneBoard is an uploader that has nothing but its lanes.
func laneBoard(t *testing.T, p *plan) *uploader {
	t.Helper()
	o := &UploaderOptions{}
	o.fill()
	u := &uploader{
		o: o, plan: p, ledger: &ledger{slots: map[laneID]int{}, files: map[fileKey]held{}, arriving: map[fileID]uint64{}}, clock: newClock(o.Now), tally: newTally(o.Now),
		members: &members{}, room: make(chan struct{}, 1), again: make(chan struct{}, 1), byName: map[string]map[string]*lane{}, quieted: map[*trouble]string{},
	}
	u.talk = newTalk(o.Log, u.clock.since)
	return u
}

func TestWhatWentWrongAtAnOldAddressIsNotSaidOfTheNewOne(t *testing.T) {
	arrived, let := make(chan struct{}, 9), make(chan struct{})
	n, old, a := newLister(t), newStub(t, nil), newStub(t, nil)
	old.do(func(w http.ResponseWriter, r *http.Request) bool {
		arrived <- struct{}{}
		<-let
		return refusing(500)(w, r)
	})
	dir, log := t.TempDir(), &heard{}
	n.has(t, "one", next(map[string]*stub{"a": old}))
	drop(t, dir, "file", "content")
	u := newUpload(t, followed(n, dir))
	u.log = log.log()
	u.start(quickUpload)
	<-arrived
	n.has(t, "one", next(map[string]*stub{"a": a}))
	n.polled(t)
	close(let)
	eventually(t, "it is gone", func() bool { return a.has("file") && !there(dir, "file") })
	n.polled(t)
	if got := n.reported("a"); got.State != stateUp || got.Reason != "" {
		t.Errorf("it is %+v", got)
	}
	if got := log.lines("does not take files"); len(got) > 0 {
		t.Errorf("it is told %q", got)
	}
	if got := log.lines("level=INFO", "another address", "next/a", addressOf(a.member)); len(got) != 1 {
		t.Errorf("of the move is told %q", got)
	}
}

func TestANetworkServerThatIsNotThereYetIsAWarningAndItsAnswerIsTold(t *testing.T) {
	var there, blamed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !there.Load() {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		var report Report
		if r.URL.Path == pathReport && json.NewDecoder(r.Body).Decode(&report) == nil {
			blamed.Store(slices.ContainsFunc(report.Failures, func(f Failure) bool { return f.Where == whereNetwork }))
		}
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(server.Close)
	dir, log := t.TempDir(), &heard{}
	s := standardUpload(dir, nil)
	s.Network = AtNetwork{Server: server.Listener.Addr().String(), Heartbeat: 5 * time.Millisecond}
	u := newUpload(t, s)
	u.log = log.log()
	u.start(quickUpload)
	eventually(t, "it warns", func() bool {
		return len(log.lines("level=WARN", "the network server does not say", "it is asked again")) == 1
	})
	there.Store(true)
	eventually(t, "it says that it is well", func() bool {
		return len(log.lines("level=INFO", "the network server says which collectors there are")) == 1
	})
	eventually(t, "it reports that the network server failed, and not its spool", blamed.Load)
	if got := log.lines("level=ERROR"); len(got) > 0 {
		t.Errorf("there are errors: %q", got)
	}
}

func TestManyThatAreDownLeaveConnectionsToTheLiving(t *testing.T) {
	n, a, dead := newLister(t), newStub(t, nil), newStub(t, refusing(500))
	dir := t.TempDir()
	all := map[string]*stub{"a": a}
	const down = 20
	for i := range down {
		all[fmt.Sprint("dead", i)] = dead
	}
	n.has(t, "one", next(all))
	s := followed(n, dir)
	s.MaxConn = 4
	drop(t, dir, "first", "x")
	newUpload(t, s).start(quickUpload)
	eventually(t, "the others are known to be down", func() bool {
		for i := range down {
			if n.reported(fmt.Sprint("dead", i)).State != stateDown {
				return false
			}
		}
		return a.has("first")
	})
	let := make(chan struct{})
	var mu sync.Mutex
	hang, most := 0, 0
	dead.do(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		hang++
		most = max(most, hang)
		mu.Unlock()
		<-let
		return refusing(500)(w, r)
	})
	eventually(t, "they hang", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return hang > 1
	})
	for i := range 30 {
		drop(t, dir, fmt.Sprint(i), "x")
	}
	eventually(t, "the living one has all", func() bool { return a.count() == 31 })
	mu.Lock()
	if most > 2 {
		t.Errorf("%d of 4 connections were used to see whether others are back", most)
	}
	mu.Unlock()
	close(let)
}

func TestVeryManyCollectorsNeedLittle(t *testing.T) {
	p, err := newPlan(standardUpload(t.TempDir(), Clusters{}), uploadTuning{}, "")
	if err != nil {
		t.Fatal(err)
	}
	u := laneBoard(t, p)
	u.stopping = true // nothing is sent
	list := map[string]knownMember{"first": {Member: Member{Address: "h", Port: 1}}}
	u.members.known = map[string]map[string]knownMember{"next": list}
	u.settle()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range mostMembers {
		list[fmt.Sprint(i)] = knownMember{Member: Member{Address: "h", Port: 1}}
		if i == 10 {
			u.settle()
			for i := range 2 * laneQueue {
				u.byName["next"]["first"].offer(fileID{file: fileKey{byte(i), byte(i >> 8)}}, spool.Entry{}, 1, 0)
			}
			if got := len(u.byName["next"]["first"].queue); got != laneQueue {
				t.Errorf("one of few has %d files in memory", got)
			}
		}
	}
	u.settle()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / mostMembers; each > 3<<10 { // what others let go of may be more
		t.Errorf("one that has nothing to do needs %d bytes", each)
	}
	queued := 0
	for _, l := range u.lanes {
		for i := range 2 * laneQueue {
			l.offer(fileID{file: fileKey{byte(i), byte(i >> 8)}}, spool.Entry{}, 1, 0)
		}
		queued += len(l.queue)
		if len(l.busy) != len(l.queue) {
			t.Fatalf("%d files are known of %d", len(l.busy), len(l.queue))
		}
	}
	if queued > 2*allQueues {
		t.Errorf("%d files are in memory", queued)
	}
	runtime.KeepAlive(u)
}

func TestTheMoreAreDownTheSeldomerEachIsTried(t *testing.T) {
	var o UploaderOptions
	o.fill()
	for _, c := range []struct {
		fails, down int
		least, most time.Duration
	}{
		{1, 4000, 0, time.Second}, {20, 1, 45 * time.Second, time.Minute}, {20, 600, 45 * time.Second, time.Minute},
		{7, 4000, 45 * time.Second, 64 * time.Second}, {20, 4000, 300 * time.Second, 400 * time.Second},
	} {
		if got := o.tuning.pause(c.fails, c.down); got < c.least || got > c.most {
			t.Errorf("after %d failures, with %d down, it waits %s", c.fails, c.down, got)
		}
	}
}

func TestManyCollectorsAreToldInOneLine(t *testing.T) {
	log, since := &heard{}, time.Duration(0)
	k := newTalk(log.log(), func() time.Duration { return since })
	joined := func(n int) (all []event) {
		for i := range n {
			all = append(all, event{noticeJoined, "c", fmt.Sprint(i), "h:1"})
		}
		return all
	}
	k.tell(joined(2), time.Hour)
	k.tell(joined(4000), time.Hour)
	k.flush(false)
	for range 30 {
		since += time.Second
		k.tell(joined(500), time.Hour)
		k.say(noticeRefuses, "c/1")
		k.flush(false)
	}
	if one, many := log.lines("a collector joined"), log.lines("collectors joined", "count=4000"); len(one) != 2 || len(many) != 1 || len(log.lines("collectors joined")) != 1 {
		t.Errorf("told is %q, %q", one, many)
	}
	if got := log.lines("level=WARN"); len(got) > talkBurst+1 {
		t.Errorf("there are %d warnings of one collector in half a minute", len(got))
	}
	k.flush(true)
	if got := log.lines("collectors joined", "count=15000", "among=\"c/0, c/1, c/2\""); len(got) != 1 {
		t.Errorf("at the end is told %q", got)
	}
}

func TestATroubleIsToldAgainWithAnotherReason(t *testing.T) {
	var said bytes.Buffer
	u := &uploader{
		o: &UploaderOptions{Log: slog.New(slog.NewTextHandler(&said, nil))}, tally: newTally(time.Now), quieted: map[*trouble]string{},
	}
	for _, err := range []error{errors.New("port 4711 refused"), errors.New("port 4712 refused"), errors.New("unknown authority"), nil, nil, errors.New("unknown authority")} {
		u.once(troubleNetwork, err)
	}
	found := regexp.MustCompile(`level=(\w+) .*?(?:err="(.*?)")?\n`).FindAllStringSubmatch(said.String(), -1)
	var got []string
	for _, f := range found {
		got = append(got, strings.TrimSpace(f[1]+" "+f[2]))
	}
	if want := []string{"WARN port 4711 refused", "WARN unknown authority", "INFO", "WARN unknown authority"}; !slices.Equal(got, want) {
		t.Errorf("it is told %q", got)
	}
}
