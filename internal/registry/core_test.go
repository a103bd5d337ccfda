package registry

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model says what is to be listed, by adding up the time that counts, where the core
// moves the moment from which it counts.
type model struct {
	rows   map[string]*modelRow
	fixed  map[string]Instance
	nodes  map[string]Instance
	ticked bool
	last   time.Time
	valid  bool
}

type modelRow struct {
	Instance
	at   time.Time     // when it was heard of
	age  time.Duration // that counts, up to the last tick
	over bool
}

func (m *model) tick(now time.Time, valid bool) {
	counts := m.ticked && valid && m.valid && now.Sub(m.last) <= stallTime
	back := valid && !m.valid
	for _, r := range m.rows {
		from := r.at
		if m.ticked && m.last.After(from) {
			from = m.last
		}
		switch {
		case !m.ticked:
			r.age = 0
		case counts:
			r.age += now.Sub(from)
		case back:
			r.age = min(r.age, r.TTL/2)
		}
		r.at = now
		if valid && r.age >= r.TTL {
			r.over = true
		}
	}
	m.ticked, m.last, m.valid = true, now, valid
}

func (m *model) list() []Instance {
	all := map[string]Instance{}
	for key, r := range m.rows {
		if !r.over {
			all[key] = r.Instance
		}
	}
	maps.Copy(all, m.fixed)
	maps.Copy(all, m.nodes)
	list := slices.AppendSeq([]Instance{}, maps.Values(all))
	return inOrder(list)
}

func (m *model) of(service string) []Instance {
	return slices.DeleteFunc(m.list(), func(i Instance) bool { return i.Service != service })
}

var someServices = []string{"orders", "bills", "mail"}

func anInstance(t *rapid.T, source Source) Instance {
	i := Instance{
		Service: rapid.SampledFrom(someServices).Draw(t, "service"), Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"),
		URL: fmt.Sprintf("http://h:%d", rapid.IntRange(1, 2).Draw(t, "port")), Weight: 1, Source: source,
	}
	if source == Registered {
		i.TTL = time.Duration(rapid.SampledFrom([]int{1, 3, 30}).Draw(t, "ttl")) * time.Second
	}
	return i
}

func byKey(list []Instance) map[string]Instance {
	m := map[string]Instance{}
	for _, i := range list {
		m[keyOf(i.Service, i.Name)] = i
	}
	return m
}

func TestWhatIsListedIsWhatWasRenewedInTimeThatCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
		c, m := newCore(stallTime), &model{rows: map[string]*modelRow{}}
		before := map[string][]Instance{}
		// check compares, and has every change told, and every service that is told of.
		check := func(changed []string) {
			if got, want := c.list(""), m.list(); !reflect.DeepEqual(got, want) {
				t.Fatalf("listed %v\nwant   %v", got, want)
			}
			for _, service := range someServices {
				list := m.of(service)
				if got := c.list(service); !reflect.DeepEqual(got, append([]Instance{}, list...)) {
					t.Fatalf("%s: listed %v\nwant %v", service, got, list)
				}
				if !reflect.DeepEqual(append([]Instance{}, list...), append([]Instance{}, before[service]...)) && !slices.Contains(changed, service) {
					t.Fatalf("%s: %v became %v, and nobody was told", service, before[service], list)
				}
				before[service] = list
			}
		}
		set := func(of *map[string]Instance, ofModel *map[string]Instance, source Source) {
			var list []Instance
			for _, i := range byKey(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Instance { return anInstance(t, source) }), 0, 3).Draw(t, "list")) {
				if source == Node {
					i.Service = Nodes
				}
				list = append(list, i)
			}
			*ofModel = byKey(list)
			check(c.replace(of, list))
		}
		t.Repeat(map[string]func(*rapid.T){
			"row": func(t *rapid.T) {
				i := anInstance(t, Registered)
				key := keyOf(i.Service, i.Name)
				now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "ms")) * time.Millisecond)
				m.rows[key] = &modelRow{Instance: i, at: now}
				check(c.row(key, i, now))
			},
			"gone": func(t *rapid.T) {
				i := anInstance(t, Registered)
				key := keyOf(i.Service, i.Name)
				delete(m.rows, key)
				check(c.gone(key))
			},
			"tick": func(t *rapid.T) {
				// Now and then the process did not run for a while.
				ms := rapid.OneOf(rapid.IntRange(1, 2000), rapid.IntRange(1, 60_000)).Draw(t, "ms")
				valid := rapid.IntRange(0, 5).Draw(t, "cut off") > 0
				now = now.Add(time.Duration(ms) * time.Millisecond)
				m.tick(now, valid)
				changed, due := c.tick(now, valid)
				for _, key := range due {
					if r := m.rows[key]; r == nil || !r.over {
						t.Fatalf("a row that is not over is to be removed")
					}
				}
				check(changed)
			},
			"static": func(*rapid.T) { set(&c.fixed, &m.fixed, Static) },
			"nodes":  func(*rapid.T) { set(&c.nodes, &m.nodes, Node) },
			"begin anew": func(*rapid.T) { // with the rows that the table has
				c = newCore(stallTime)
				m.ticked, m.valid = false, false
				changed := slices.Clone(someServices)
				for key, r := range m.rows {
					c.row(key, r.Instance, now)
					*r = modelRow{Instance: r.Instance, at: now}
				}
				c.fixed, c.nodes = m.fixed, m.nodes
				check(changed)
			},
		})
	})
}

func TestARowThatIsOverIsToBeRemovedNowAndThenUntilItIsGone(t *testing.T) {
	c, now := newCore(stallTime), time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	c.tick(now, true)
	key := keyOf("orders", "a")
	c.row(key, Instance{Service: "orders", Name: "a", TTL: time.Second}, now)
	var asked []time.Duration
	for after := time.Duration(0); after < 12*time.Second; after += 500 * time.Millisecond {
		if _, due := c.tick(now.Add(after), true); len(due) > 0 {
			asked = append(asked, after)
		}
	}
	if want := []time.Duration{time.Second, 6 * time.Second, 11 * time.Second}; !slices.Equal(asked, want) {
		t.Errorf("%v, want %v", asked, want)
	}
	if changed := c.gone(key); changed != nil || len(c.rows) > 0 || len(c.names) > 0 {
		t.Errorf("told %v, left %v", changed, c.rows)
	}
}
