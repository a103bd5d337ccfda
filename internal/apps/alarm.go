package apps

import (
	"log/slog"
	"sync"
	"time"
)

// alarmPause is the shortest time between two warnings of one alarm.
const alarmPause = time.Minute

// alarm tells the operator that a server of an app's owner fails, and when it
// works again: at most one warning a minute, and one all-clear after each.
type alarm struct {
	log       *slog.Logger
	now       func() time.Time
	bad, good string // messages

	mu     sync.Mutex
	raised bool      // the last thing said was bad
	last   time.Time // when bad was said
}

func newAlarm(e env, bad, good string) *alarm {
	return &alarm{log: e.log, now: e.now, bad: bad, good: good}
}

// on says that err has happened to app.
func (a *alarm) on(app string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if !a.last.IsZero() && now.Sub(a.last) < alarmPause {
		return
	}
	a.raised, a.last = true, now
	a.log.Warn(a.bad, "app", app, "err", err)
}

// off says that it went well.
func (a *alarm) off(app string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.raised {
		return
	}
	a.raised = false
	a.log.Info(a.good, "app", app)
}
