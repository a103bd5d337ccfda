package registry

import (
	"time"
)

// again is after how long the removal of a row that is over is tried once more.
const again = 5 * time.Second

// core is what is known of the instances: a function of what was heard, and when. Its
// methods are events, and take the time as an argument. changed is the services of
// which something else is listed than before.
type core struct {
	stall time.Duration // between two ticks; more is time in which this process did not run

	last  time.Time // of the last tick; zero: there was none
	valid bool      // this node was one of its cluster then

	rows  map[string]*entry // what is registered, by key
	fixed map[string]Instance
	nodes map[string]Instance
	names map[string]map[string]*entry // the rows of each service
}

// entry is one row.
type entry struct {
	Instance
	heard time.Time // when it was renewed, or from when on it is judged
	over  bool      // it was not, for its TTL
	asked time.Time // when its row was to be removed last; zero: not yet
}

func newCore(stall time.Duration) *core {
	return &core{stall: stall, rows: make(map[string]*entry), names: make(map[string]map[string]*entry)}
}

// row takes in that an instance is registered, or renewed.
func (c *core) row(key string, i Instance, now time.Time) (changed []string) {
	e := c.rows[key]
	if e == nil || e.over || !e.Instance.equal(i) {
		changed = []string{i.Service}
	}
	e = &entry{Instance: i, heard: now}
	c.rows[key] = e
	if c.names[i.Service] == nil {
		c.names[i.Service] = make(map[string]*entry)
	}
	c.names[i.Service][key] = e
	return changed
}

// gone takes in that a row is removed.
func (c *core) gone(key string) (changed []string) {
	e := c.rows[key]
	if e == nil {
		return nil
	}
	delete(c.rows, key)
	delete(c.names[e.Service], key)
	if len(c.names[e.Service]) == 0 {
		delete(c.names, e.Service)
	}
	if e.over {
		return nil // it was listed no more
	}
	return []string{e.Service}
}

// tick judges by the time. valid says whether this node is one of its cluster: one that
// is cut off judges nobody. due are the keys of rows that are to be removed, each now
// and then until it is gone.
func (c *core) tick(now time.Time, valid bool) (changed, due []string) {
	first, back := c.last.IsZero(), valid && !c.valid
	var pause time.Duration
	if gap := now.Sub(c.last); !first && (!valid || back || gap > c.stall) {
		pause = gap
	}
	c.last, c.valid = now, valid
	for key, e := range c.rows {
		if e.heard = e.heard.Add(pause); e.heard.After(now) {
			e.heard = now // it was heard of in between
		}
		switch {
		case first:
			e.heard = now
		case back && e.heard.Before(now.Add(-e.TTL/2)):
			e.heard = now.Add(-e.TTL / 2)
		}
		if !valid || !e.over && now.Sub(e.heard) < e.TTL {
			continue
		}
		if !e.over {
			e.over = true
			changed = append(changed, e.Service)
		}
		if e.asked.IsZero() || now.Sub(e.asked) >= again {
			e.asked = now
			due = append(due, key)
		}
	}
	return changed, due
}

// over says whether the row of a key is, and is still there.
func (c *core) over(key string) bool {
	e := c.rows[key]
	return e != nil && e.over
}

// replace makes list all static instances, or all nodes, that there are.
func (c *core) replace(of *map[string]Instance, list []Instance) (changed []string) {
	next := make(map[string]Instance, len(list))
	for _, i := range list {
		key := keyOf(i.Service, i.Name)
		if old, has := (*of)[key]; !has || !old.equal(i) {
			changed = append(changed, i.Service)
		}
		next[key] = i
	}
	for key, i := range *of {
		if _, has := next[key]; !has {
			changed = append(changed, i.Service)
		}
	}
	*of = next
	return changed
}

// list returns the instances of a service; of all with an empty name. Of two with one
// name the static one counts.
func (c *core) list(service string) []Instance {
	list := []Instance{}
	add := func(from map[string]*entry) {
		for key, e := range from {
			if _, static := c.fixed[key]; !static && !e.over {
				list = append(list, e.Instance)
			}
		}
	}
	if service == "" {
		add(c.rows)
	} else {
		add(c.names[service])
	}
	for _, from := range []map[string]Instance{c.fixed, c.nodes} {
		for _, i := range from {
			if service == "" || service == i.Service {
				list = append(list, i)
			}
		}
	}
	return inOrder(list)
}
