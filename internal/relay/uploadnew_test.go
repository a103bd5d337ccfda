package relay

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestACollectorThatJoinsBeforeTheFirstFileGoesGetsItToo(t *testing.T) {
	n, b := newLister(t), newStub(t, nil)
	var a *stub
	var once sync.Once
	a = newStub(t, func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { n.has(t, "one", next(map[string]*stub{"a": a, "b": b})) })
		return false
	})
	n.has(t, "one", next(map[string]*stub{"a": a}))
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	s := followed(n, dir)
	s.Network.Heartbeat = time.Hour
	newUpload(t, s).start(quickUpload)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
	if !a.has("file") || !b.has("file") {
		t.Error("one of them lacks it")
	}
	if got := len(a.sent()); got != 1 {
		t.Errorf("the first was sent it %d times", got)
	}
}

func TestANetworkServerThatIsGoneKeepsNoFileThatAllHave(t *testing.T) {
	n := newLister(t)
	a := newStub(t, func(http.ResponseWriter, *http.Request) bool {
		n.say("one", "no list")
		return false
	})
	n.has(t, "one", next(map[string]*stub{"a": a}))
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	newUpload(t, followed(n, dir)).start(quickUpload)
	eventually(t, "it is gone", func() bool { return a.has("file") && !there(dir, "file") })
}

func TestCollectorsThatStartWithTheUploaderAreKnownBeforeItsHeartbeat(t *testing.T) {
	n, a, b := newLister(t), newStub(t, nil), newStub(t, nil)
	n.has(t, "one", Clusters{})
	dir := t.TempDir()
	drop(t, dir, "first", "content")
	s, tuning := followed(n, dir), quickUpload
	s.Network.Heartbeat, tuning.eager = time.Hour, 5*time.Millisecond
	newUpload(t, s).start(tuning)
	n.polled(t) // it is asked again while nobody is there
	n.has(t, "one", next(map[string]*stub{"a": a}))
	eventually(t, "the first is gone", func() bool { return a.has("first") && !there(dir, "first") })
	n.has(t, "one", next(map[string]*stub{"a": a, "b": b}))
	n.polled(t) // and for a while after the start
	drop(t, dir, "second", "content")
	eventually(t, "the second is gone", func() bool { return !there(dir, "second") })
	if !b.has("second") {
		t.Error("the one that joined last lacks it")
	}
}
