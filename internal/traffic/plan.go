package traffic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// Request is what is asked for.
type Request struct {
	Windows window.Spec
	By      []string  // of Dimensions; none: all together
	Types   []string  // of events; none: Exchanged
	Only    Key       // fields that are not empty have to be as they are here; Type is not looked at
	From    time.Time // windows that begin from then on; zero: as many as were asked for below
	To      time.Time // and before; zero: now
	Past    int       // windows before To, where From is zero; 0: as many as are kept, at most DefaultPast

	clip bool // what of From is not kept any more is left out, not refused
}

// DefaultPast is how many windows an answer is about where nothing is said.
const DefaultPast = 60

// plan is a request that was checked.
type plan struct {
	Request
	question
	now      int64
	from, to int64
}

// plan checks a request. Its errors are Refused.
func (r *Room) plan(q Request) (*plan, error) {
	if wrong := q.Windows.Check(Pane); wrong != nil {
		return nil, &Refused{wrong.Field, errors.New(wrong.Must)}
	}
	p := &plan{Request: q, now: r.opts.Now().UnixMilli()}
	if len(q.Types) == 0 {
		q.Types = Exchanged()
	}
	unit := q.Windows.Unit(Pane)
	whole := unit%minute == 0 || q.Windows.Kind == window.Session && q.Windows.Gap >= minute
	p.question = question{By: q.By, Types: q.Types, Only: q.Only, Most: 10 * r.opts.Rows}
	p.question.Devices = q.Only.Device != "" || slices.Contains(q.By, "device")
	p.question.Minutes = whole && !p.question.Devices
	if p.question.Minutes && q.Windows.Kind == window.Session {
		unit = minute
	}
	p.question.Unit = unit.Milliseconds()
	if refused := p.span(q); refused != nil {
		return nil, refused
	}
	return p, nil
}

// kept says for how long what is asked for is kept, and that in words.
func (p *plan) kept() (time.Duration, string) {
	switch {
	case p.question.Devices:
		return KeptDevices, "by device all is kept for " + spell(KeptDevices)
	case p.question.Minutes:
		return KeptMinutes, "all is kept for " + spell(KeptMinutes)
	case p.Windows.Kind == window.Session:
		return KeptPanes, "sessions whose gap is shorter than a minute are kept for " + spell(KeptPanes)
	}
	return KeptPanes, "windows that are not of whole minutes are kept for " + spell(KeptPanes)
}

// spell writes a time without what is 0 of it.
func spell(d time.Duration) string {
	text := d.String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nothing) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// share is how many of the longest windows there may be fit into the time for which
// they are kept: so each is there for most of it once it is final.
const share = 4

// span finds out which time is asked for.
func (p *plan) span(q Request) *Refused {
	keep, why := p.kept()
	oldest := p.now - keep.Milliseconds()
	step, long, field := q.Windows.Width, q.Windows.Width, "window"
	switch q.Windows.Kind {
	case window.Sliding:
		step = q.Windows.Slide
	case window.Session:
		step, long, field = q.Windows.Gap, q.Windows.Gap, "gap"
	}
	if long > keep/share {
		return refuse(field, "must be at most %s: %s, and it is no more than a quarter of that, so that what is final can be read for long", spell(keep/share), why)
	}
	p.to = p.now + 1
	if !q.To.IsZero() {
		p.to = q.To.UnixMilli()
	}
	if refused := p.begin(q, step, keep); refused != nil {
		return refused
	}
	p.question.From, p.question.To = p.from, p.to+long.Milliseconds()
	if q.Windows.Kind == window.Session { // which may have begun long before, and end long after
		p.question.From, p.question.To = oldest, p.to+keep.Milliseconds()
	}
	p.question.From = window.Floor(p.question.From, time.Duration(p.question.Unit)*time.Millisecond)
	if p.question.Minutes {
		p.question.To = window.Floor(p.question.To, minute) + minute.Milliseconds()
	}
	return nil
}

// begin finds out from when on windows are asked for. What is not kept any more is
// refused, unless nobody has asked for it.
func (p *plan) begin(q Request, step, keep time.Duration) *Refused {
	_, why := p.kept()
	oldest := p.now - keep.Milliseconds()
	// One that may be asked for a while from now, too.
	since := time.UnixMilli(window.Floor(oldest, minute)).Add(2 * minute).UTC().Format(time.RFC3339)
	last := window.Floor(p.to-1, step)
	switch {
	case !q.From.IsZero():
		p.from = q.From.UnixMilli()
		if q.clip {
			p.from = max(p.from, oldest)
		}
		switch {
		case p.from >= p.to:
			return refuse("from", "must be before to, or before now if that is not given")
		case p.from < oldest:
			return refuse("from", "must be %s or later: %s", since, why)
		}
		return nil
	case last < oldest:
		return refuse("to", "must be after %s: %s", since, why)
	}
	past, most := q.Past, min((last-oldest)/step.Milliseconds()+1, keep.Milliseconds()/step.Milliseconds())
	switch {
	case past == 0:
		past = int(min(DefaultPast, most))
	case int64(past) > most:
		return refuse("past", "must be at most %d here: %s", most, why)
	}
	p.from = last - int64(max(past, 1)-1)*step.Milliseconds()
	return nil
}

func refuse(field, format string, args ...any) *Refused {
	return &Refused{field, fmt.Errorf(format, args...)}
}
