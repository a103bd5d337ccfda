package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"
)

// strangerTime is how long a network server that knows of no reports is left in
// peace.
const strangerTime = 10 * time.Minute

// leastTarget is how few bytes a collector has in a report.
const leastTarget = 128

// maxTargets is of how many collectors a report tells.
const maxTargets = maxReport / leastTarget

// reporter tells a network server how a program is doing.
type reporter struct {
	log     *slog.Logger
	creds   *credentials
	client  *http.Client
	base    string        // of the server, see credentials.base
	every   time.Duration // between two reports
	process string        // what the run of the program calls itself
	report  func() Report // makes one; the reporter adds how often
	alone   bool          // the program calls the server for nothing else, which would tell that it does not answer

	after func(time.Duration) <-chan time.Time // nil for time.After
}

// run reports at once, and then again and again until ctx ends. Nothing waits for
// it, and what it cannot tell is lost: the next report has it.
func (r *reporter) run(ctx context.Context) {
	after := r.after
	if after == nil {
		after = time.After
	}
	last := ""
	for {
		wait := r.every
		err := r.post(ctx)
		if ctx.Err() != nil {
			return
		}
		if knowsNone(err) {
			wait = max(wait, strangerTime)
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != last {
			r.say(last, text, knowsNone(err))
			last = text
		}
		select {
		case <-ctx.Done():
			return
		case <-after(wait):
		}
	}
}

// say logs that reports fail, for another reason than before, or do not any more.
func (r *reporter) say(before, now string, stranger bool) {
	switch {
	case !r.alone || stranger:
		r.log.Debug("reporting to the network server", "server", r.base, "err", now)
	case now != "" && before == "":
		r.log.Warn("the network server cannot be told how this program is doing; it is tried again", "server", r.base, "err", now)
	case now == "" && before != "":
		r.log.Info("the network server is told how this program is doing", "server", r.base)
	}
}

func (r *reporter) post(ctx context.Context) error {
	report := r.report()
	report.Every, report.Process = r.every.Milliseconds(), r.process
	if whole, err := filepath.Abs(report.Spool); err == nil && report.Spool != "" {
		report.Spool = whole // who reads it there knows nothing of our folder
	}
	_, err := r.creds.call(ctx, r.client, http.MethodPost, r.base+pathReport, bytes.NewReader(encodeReport(report)))
	return err
}

// knowsNone says whether a server is of another make: it has nothing at our path.
func knowsNone(err error) bool {
	var status *statusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// encodeReport returns a report as JSON. One that is too large tells of fewer
// collectors, those that are in trouble first, and of fewer failures.
func encodeReport(r Report) []byte {
	if len(r.Targets) > maxTargets {
		r.Targets = worstTargets(r.Targets, maxTargets)
	}
	for {
		body, err := json.Marshal(r)
		if err != nil {
			panic(err) // our own type
		}
		if len(body) <= maxReport || len(r.Targets)+len(r.Failures) == 0 {
			return body
		}
		r.Failures = r.Failures[:len(r.Failures)/2]
		r.Targets = worstTargets(r.Targets, len(r.Targets)/2)
	}
}

// worstTargets returns so many of the collectors, those that are not up before
// others.
func worstTargets(all []Target, most int) []Target {
	list := make([]Target, 0, len(all))
	for _, up := range []bool{false, true} {
		for _, t := range all {
			if (t.State == "up") == up {
				list = append(list, t)
			}
		}
	}
	return list[:most]
}
