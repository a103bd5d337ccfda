package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAFileThatIsRefusedByItselfIsToldOnceForEachReason(t *testing.T) {
	c, said := newStub(t, refusing(415)), &heard{}
	dir := t.TempDir()
	drop(t, dir, "bad.txt", "content")
	u := newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c})))
	u.log = said.log()
	u.start(quickUpload)
	eventually(t, "it is tried again", func() bool { return c.tries() > 5 })
	c.do(refusing(422))
	eventually(t, "another reason is told", func() bool { return len(said.lines("does not take a file", "422")) > 0 })
	u.stop()
	told := said.lines("level=WARN", "does not take a file", "collector=next/c", "file=bad.txt", "address=")
	if len(told) != 2 || !strings.Contains(told[0], "415") {
		t.Errorf("it is told %q", told)
	}
}

func TestAFileThatIsBeingStoredIsNoNewsAtOnce(t *testing.T) {
	l := &lane{later: map[fileID]*refused{}}
	it, busy := &item{id: numbered(1)}, outcome{fate: fateRefused, reason: "answered 503: BUSY", began: true}
	var news []bool
	for range patientTries + 1 {
		news = append(news, l.putOff(it, busy, quickUpload, 0))
	}
	if want := []bool{false, false, true, false}; !slices.Equal(news, want) {
		t.Errorf("it is news: %v", news)
	}
	for i := range 3 * maxLater {
		l.putOff(&item{id: numbered(i)}, busy, quickUpload, 0)
	}
	if len(l.later) > maxLater {
		t.Errorf("%d files are remembered", len(l.later))
	}
}

// Files whose time is over leave the queue of a collector that is down: none of them is
// tried in vain when it is back.
func TestFilesThatAreGivenUpAreNoFailedUploads(t *testing.T) {
	c := newStub(t, refusing(500))
	dir := t.TempDir()
	for i := range 5 {
		drop(t, dir, fmt.Sprint("old", i), "content")
	}
	s := standardUpload(dir, next(map[string]*stub{"c": c}))
	s.Admin = hostPort(freePorts(t, 1)[0])
	u := newUpload(t, s).start(quickUpload)
	eventually(t, "it is tried", func() bool { return c.tries() > 2 })
	u.forward(2 * time.Hour)
	eventually(t, "they are moved", func() bool { return len(visible(t, dir)) == 0 })
	u.forward(-2 * time.Hour)
	c.do(nil)
	drop(t, dir, "new", "content")
	eventually(t, "a new one goes", func() bool { return c.has("new") })
	_, metrics := get(t, request(t, http.MethodGet, "http://"+s.Admin+"/metrics"))
	if strings.Contains(metrics, `upload_failures_total{class="CHANGED"}`) || !strings.Contains(metrics, `upload_failures_total{class="DOWN"}`) {
		t.Errorf("what is counted as failed:\n%s", metrics)
	}
}

func TestACollectorThatIsLostIsToldWithTheTimeItIsOwedFiles(t *testing.T) {
	said := &heard{}
	newTalk(said.log(), func() time.Duration { return 0 }).tell([]event{{noticeLost, "c", "1", "h:1"}}, 36*time.Hour)
	if told := said.lines("a collector is lost", "collector=c/1", "keepFor=36h"); len(told) != 1 {
		t.Errorf("it is told %q", said.lines())
	}
}

func TestAnUploaderEndsWhenItsAdminDoorFails(t *testing.T) {
	served := make(chan error, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	broken := &door{log: quiet(), listener: listener, served: served}
	u := &uploader{o: &UploaderOptions{Log: slog.New(slog.DiscardHandler)}}
	served <- errors.New("too many open files")
	next, _, err := u.steer(context.Background(), broken, nil, nil)
	if next != nil || err == nil || !strings.Contains(err.Error(), "too many open files") {
		t.Errorf("it ends with %v", err)
	}
}
