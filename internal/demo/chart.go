package demo

import (
	"sync"
	"time"
)

// window is how far back the chart goes.
const window = 10 * time.Second

// maxKept bounds what is kept for the chart, whatever the reports say of their time.
const maxKept = 100

// chart keeps the reports of the last ten seconds for those who look. It is safe for
// concurrent use.
type chart struct {
	mu      sync.Mutex
	kept    []seen        // the newest last
	last    int64         // order of the newest
	changed chan struct{} // closed with the next one
}

// seen is a report in the order in which they came.
type seen struct {
	order int64
	report
}

func newChart() *chart { return &chart{changed: make(chan struct{})} }

// add takes a report.
func (c *chart) add(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.kept = append(c.kept, seen{c.last, r})
	c.kept = c.kept[max(0, len(c.kept)-maxKept):]
	close(c.changed)
	c.changed = make(chan struct{})
}

// after returns the reports that came after one and are no older than the window, the
// order of the newest, and what is closed when there is another.
func (c *chart) after(order int64, now time.Time) (list []report, last int64, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.kept {
		if s.order > order && now.Sub(s.At) <= window {
			list = append(list, s.report)
		}
	}
	return list, c.last, c.changed
}
