package relay

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of what is told of collectors, for each notice.
const (
	talkBurst = 10          // lines at once, one for each collector
	talkEvery = time.Minute // then a line for each so long; the others are counted
	talkNames = 3           // that a line which counts has
)

// notice is something that is told of collectors, or of files that they do not get: a
// line for each while they are few, and one that counts them when they are many.
type notice struct {
	level     slog.Level
	one, many string
}

var (
	noticeJoined   = &notice{slog.LevelInfo, "a collector joined", "collectors joined"}
	noticeMoved    = &notice{slog.LevelInfo, "a collector has another address", "collectors have other addresses"}
	noticeLost     = &notice{slog.LevelInfo, "a collector is lost; it is owed its files for keepFor", "collectors are lost; they are owed their files for keepFor"}
	noticeBack     = &notice{slog.LevelInfo, "a collector that was lost is back", "collectors that were lost are back"}
	noticeLeft     = &notice{slog.LevelInfo, "a collector left, and is owed nothing", "collectors left, and are owed nothing"}
	noticeOver     = &notice{slog.LevelWarn, "a collector is lost for longer than keepFor, and is owed nothing from now on", "collectors are lost for longer than keepFor, and are owed nothing from now on"}
	noticeTooMany  = &notice{slog.LevelWarn, "there are too many collectors: one that is lost is owed nothing from now on", "there are too many collectors: those that are lost longest are owed nothing from now on"}
	noticeUnusable = &notice{slog.LevelWarn, "a collector is listed that cannot be sent to", "collectors are listed that cannot be sent to"}
	noticeRefuses  = &notice{slog.LevelWarn, "a collector does not take files", "collectors do not take files"}
	noticeRefused  = &notice{slog.LevelWarn, "a collector does not take a file; it is tried again, and moves to failed after keepFor", "collectors do not take some files; they are tried again, and move to failed after keepFor"}
	noticeUnread   = &notice{slog.LevelWarn, "a file cannot be read; it is tried again, and moves to failed after keepFor", "files cannot be read; they are tried again, and move to failed after keepFor"}
	noticeTakes    = &notice{slog.LevelInfo, "a collector takes files again", "collectors take files again"}
)

// event is a notice of a collector.
type event struct {
	what        *notice
	cluster, id string
	address     string
}

// talk logs notices. It is safe for concurrent use.
type talk struct {
	log   *slog.Logger
	since func() time.Duration // the start; it does not jump

	mu   sync.Mutex
	said map[*notice]*saying
}

// saying is what was said of one notice.
type saying struct {
	lines   float64 // that may be logged now
	filled  time.Duration
	held    int      // of which nothing is logged yet
	names   []string // the first collectors of them
	counted bool     // once, and
	last    time.Duration
}

func newTalk(log *slog.Logger, since func() time.Duration) *talk {
	return &talk{log: log, since: since, said: map[*notice]*saying{}}
}

// say logs a notice of a collector, or counts it for later.
func (t *talk) say(what *notice, name string, pairs ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(what)
	if s.held == 0 && s.spend(t.since()) {
		t.log.Log(context.Background(), what.level, what.one, append([]any{"collector", name}, pairs...)...)
		return
	}
	s.hold(name)
}

// tell says what happened at once, when files are kept for so long for a collector that
// is lost.
func (t *talk) tell(events []event, keepFor time.Duration) {
	many := map[*notice]int{}
	for _, e := range events {
		many[e.what]++
	}
	for _, e := range events {
		name := e.cluster + "/" + e.id
		if many[e.what] <= talkBurst {
			pairs := []any{"address", e.address}
			if e.what == noticeLost {
				pairs = append(pairs, "keepFor", durationOf(keepFor))
			}
			t.say(e.what, name, pairs...)
			continue
		}
		t.mu.Lock()
		t.of(e.what).hold(name)
		t.mu.Unlock()
	}
}

// flush logs what was counted, if it is time to; at the end all of it.
func (t *talk) flush(end bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for what, s := range t.said {
		now := t.since()
		if s.held == 0 || !end && s.counted && now-s.last < talkEvery {
			continue
		}
		t.log.Log(context.Background(), what.level, what.many, "count", s.held, "among", strings.Join(s.names, ", "))
		s.held, s.names, s.counted, s.last = 0, nil, true, now
	}
}

// of returns what was said of a notice. t.mu is held.
func (t *talk) of(what *notice) *saying {
	s := t.said[what]
	if s == nil {
		s = &saying{lines: talkBurst, filled: t.since()}
		t.said[what] = s
	}
	return s
}

func (s *saying) hold(name string) {
	if s.held++; len(s.names) < talkNames && !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
}

// spend says whether a line may be logged now, and takes it.
func (s *saying) spend(now time.Duration) bool {
	s.lines = min(s.lines+float64(now-s.filled)/float64(talkEvery), talkBurst)
	s.filled = now
	if s.lines < 1 {
		return false
	}
	s.lines--
	return true
}
