package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// queued is how many lines may wait to be written.
	queued = 4096
	// refusalsASecond is how many refusals are noted in one.
	refusalsASecond = 100
	// atOnce is from how many bytes on lines are written that others follow.
	atOnce = 8 << 10
	// longest is how many bytes of a text are kept.
	longest = 128
)

// Event is one line. Empty fields are left out.
type Event struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"` // signIn, signInRefused and so on
	App     string    `json:"app,omitempty"`
	User    string    `json:"user,omitempty"`
	By      string    `json:"by,omitempty"`      // who did it, if not the user: "operator", "key ID", "signal"
	Address string    `json:"address,omitempty"` // host:port
	Code    string    `json:"code,omitempty"`    // of a refusal, or of a session's end
	What    string    `json:"what,omitempty"`    // an ID, or names of settings; never a secret
	Missing int       `json:"missing,omitempty"` // lines that were left out since the last one that says so
	// Refusal says that it is one: only so many are noted. It is not written.
	Refusal bool `json:"-"`
}

// Options say where lines go.
type Options struct {
	File    string    // its folder exists; "-": Out
	Out     io.Writer // standard output
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil for none
	Now     func() time.Time      // nil: time.Now
}

// Log takes events. A nil *Log takes them and does nothing. Its methods may be called from
// many goroutines at once.
type Log struct {
	o     Options
	lost  prometheus.Counter
	queue chan Event
	again chan chan error // to open the file anew
	quit  chan struct{}
	done  sync.WaitGroup
	once  sync.Once

	mu       sync.Mutex
	second   int64 // of the refusals that are counted
	refusals int
	missing  int

	// The writer's.
	file    *os.File // nil with Out
	buf     []byte   // lines that are to be written
	told    []int    // of each, how many are missing before it
	torn    bool     // what was written ends within a line
	trouble bool     // the last line was not written
}

// Open opens the file, and begins to write.
func Open(o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{
		o: o, queue: make(chan Event, queued), again: make(chan chan error), quit: make(chan struct{}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_audit_missing_total", Help: "Lines that the audit log lacks: refusals past 100 a second, and what could not be written."}),
	}
	if o.Metrics != nil {
		if err := o.Metrics.Register(l.lost); err != nil {
			return nil, fmt.Errorf("register the metrics of the audit log: %w", err)
		}
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	l.done.Go(l.write)
	return l, nil
}

// open opens the file. It is the writer's, or nobody else knows of l.
func (l *Log) open() error {
	if l.o.File == "-" {
		return nil
	}
	f, err := os.OpenFile(l.o.File, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	if l.file != nil {
		_ = l.file.Close() // all of it was written
	}
	l.file, l.torn = f, endsWithinLine(f)
	return nil
}

// endsWithinLine says whether the end of the last line was not written, as on a disk that
// was full, or before a power cut.
func endsWithinLine(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// Note notes an event, with the time if it has none.
func (l *Log) Note(e Event) {
	if l == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = l.o.Now()
	}
	e.Time = e.Time.UTC()
	for _, text := range []*string{&e.App, &e.User, &e.By, &e.Address, &e.What} {
		*text = clip(*text)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Refusal {
		if second := e.Time.Unix(); second != l.second {
			l.second, l.refusals = second, 0
		}
		if l.refusals++; l.refusals > refusalsASecond {
			l.missing++
			l.lost.Inc()
			return
		}
	}
	e.Missing = l.missing
	select {
	case l.queue <- e:
		l.missing = 0
	default:
		l.missing++
		l.lost.Inc()
	}
}

// clip shortens a text to what is kept of it.
func clip(text string) string {
	if len(text) > longest {
		text = text[:longest]
	}
	return strings.ToValidUTF8(text, "")
}

// Reopen has the file opened anew under its name, when what was noted before is written.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	opened := make(chan error, 1)
	select {
	case l.again <- opened:
		return <-opened
	case <-l.quit:
		return errors.New("the audit log is closed")
	}
}

// Close writes what was noted, and closes the file. Nothing is to be noted any more.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.once.Do(func() { close(l.quit) })
	l.done.Wait()
	if l.file != nil {
		return l.file.Close()
	}
	return nil
}

// write writes until the log is closed.
func (l *Log) write() {
	for {
		select {
		case e := <-l.queue:
			l.line(e)
			l.rest()
		case opened := <-l.again:
			l.rest()
			opened <- l.open()
		case <-l.quit:
			l.rest()
			return
		}
	}
}

// rest writes all that waits.
func (l *Log) rest() {
	for {
		select {
		case e := <-l.queue:
			l.line(e)
			continue
		default:
		}
		if len(l.buf) > 0 {
			l.flush()
		}
		return
	}
}

// flush writes the lines that wait. What cannot be written is lost.
func (l *Log) flush() {
	lines := l.buf
	if l.torn { // the next line is to be one of its own
		lines = append([]byte{'\n'}, lines...)
	}
	n, err := l.sink().Write(lines)
	written := bytes.Count(lines[:n], []byte{'\n'})
	if l.torn && n > 0 {
		written--
	}
	if n > 0 {
		l.torn = lines[n-1] != '\n'
	}
	if err != nil {
		l.lose(l.told[written:])
		if !l.trouble {
			l.o.Log.Error("the audit log cannot be written: what happens is not noted", "file", l.o.File, "err", err)
		}
	}
	l.trouble = err != nil
	l.buf, l.told = l.buf[:0], l.told[:0]
}

// lose counts lines that were noted and not written: the next one tells of them, and of
// those of which they were to tell.
func (l *Log) lose(told []int) {
	l.lost.Add(float64(len(told)))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, before := range told {
		l.missing += 1 + before
	}
}

func (l *Log) sink() io.Writer {
	if l.file != nil {
		return l.file
	}
	return l.o.Out
}

func (l *Log) line(e Event) {
	text, err := json.Marshal(e)
	if err != nil {
		panic("audit: " + err.Error()) // texts, a number and a time
	}
	l.buf = append(append(l.buf, text...), '\n')
	if l.told = append(l.told, e.Missing); len(l.buf) >= atOnce {
		l.flush()
	}
}
