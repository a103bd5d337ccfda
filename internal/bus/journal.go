package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// journal takes the embedded server's log lines: warnings and worse at their
// level, the rest as DEBUG. It remembers why a start failed, and rings a bell
// on every error line.
type journal struct {
	log  *slog.Logger
	bell func()

	mu    sync.Mutex
	fatal string // the first fatal line
}

const journalLine = "the embedded NATS server reports"

func (j *journal) Noticef(format string, v ...any) { j.write(slog.LevelDebug, format, v) }
func (j *journal) Debugf(format string, v ...any)  { j.write(slog.LevelDebug, format, v) }
func (j *journal) Tracef(format string, v ...any)  { j.write(slog.LevelDebug, format, v) }
func (j *journal) Warnf(format string, v ...any)   { j.write(slog.LevelWarn, format, v) }

func (j *journal) Errorf(format string, v ...any) {
	j.write(slog.LevelError, format, v)
	j.bell()
}

// Fatalf is called when the server gives up its start. It does not end the
// process: Open returns the line as its error.
func (j *journal) Fatalf(format string, v ...any) {
	j.write(slog.LevelError, format, v)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fatal == "" {
		j.fatal = fmt.Sprintf(format, v...)
	}
}

// failure returns the first fatal line; empty for none.
func (j *journal) failure() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fatal
}

func (j *journal) write(level slog.Level, format string, v []any) {
	if !j.log.Enabled(context.Background(), level) {
		return
	}
	j.log.Log(context.Background(), level, journalLine, "line", fmt.Sprintf(format, v...))
}
