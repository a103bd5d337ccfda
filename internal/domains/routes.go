package domains

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// Routes are the shortest paths from one domain to all others, never changed
// once they are made.
//
// The shortest path is the one of least cost; among those, of fewest hops; among
// those, the one whose names come first, compared name by name from the start.
// So all domains that have the same description choose alike: the path of each
// domain on a path is the rest of that path, and a message that every hop sends
// on by its own routes takes the path that its first domain sees.
type Routes struct {
	from       string
	index      map[string]int32 // of a domain in the lists below
	names      []string
	next       []string // the first hop; empty for the domain itself
	before     []int32  // the domain before it on its path; -1 for the first
	costs      []int
	neighbours []Neighbour
}

// Neighbour is a domain to which there is a link.
type Neighbour struct {
	Domain
	Cost int // of the link; the shortest path there may be another one
}

// Routes returns the shortest paths from a domain. From one that is not
// described no path leads anywhere.
func (n *Network) Routes(from string) *Routes {
	r := &Routes{from: from, index: make(map[string]int32, len(n.Domains))}
	for i, d := range n.Domains {
		r.index[d.Name] = int32(i)
		r.names = append(r.names, d.Name)
	}
	start, ok := r.index[from]
	if !ok {
		return &Routes{from: from}
	}
	edges := make([][]edge, len(n.Domains))
	for _, l := range n.Links {
		a, b := r.index[l.N1], r.index[l.N2]
		edges[a] = append(edges[a], edge{to: b, cost: l.Cost})
		edges[b] = append(edges[b], edge{to: a, cost: l.Cost})
	}
	far := distances(edges, start)
	r.choose(edges, far, start)
	for _, e := range edges[start] {
		r.neighbours = append(r.neighbours, Neighbour{Domain: n.Domains[e.to], Cost: e.cost})
	}
	slices.SortFunc(r.neighbours, func(a, b Neighbour) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// Next returns the neighbour by which the path to a domain goes. ok is false for
// the domain itself and for one that is not described. Next allocates nothing.
func (r *Routes) Next(domain string) (neighbour string, ok bool) {
	i, ok := r.index[domain]
	if !ok {
		return "", false
	}
	return r.next[i], r.next[i] != ""
}

// Path returns the domains on the path to a domain, both ends included; nil for
// one that is not described.
func (r *Routes) Path(domain string) []string {
	i, ok := r.index[domain]
	if !ok {
		return nil
	}
	var path []string
	for ; i >= 0; i = r.before[i] {
		path = append(path, r.names[i])
	}
	slices.Reverse(path)
	return path
}

// Cost returns the cost of the path to a domain: 0 for the domain itself, -1 for
// one that is not described.
func (r *Routes) Cost(domain string) int {
	i, ok := r.index[domain]
	if !ok {
		return -1
	}
	return r.costs[i]
}

// From returns the domain where the paths begin.
func (r *Routes) From() string { return r.from }

// Neighbours returns the domains to which there are links, by name.
func (r *Routes) Neighbours() []Neighbour { return slices.Clone(r.neighbours) }

// edge is one direction of a link.
type edge struct {
	to   int32
	cost int
}

// reach is how far a domain is: what a path costs, then its hops.
type reach struct {
	cost, hops int
}

func (a reach) compare(b reach) int {
	return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.hops, b.hops))
}

func (a reach) plus(e edge) reach { return reach{a.cost + e.cost, a.hops + 1} }

// distances returns how far each domain is from one (Dijkstra). All can be
// reached: the description was checked.
func distances(edges [][]edge, from int32) []reach {
	far := make([]reach, len(edges))
	done := make([]bool, len(edges))
	for i := range far {
		far[i] = reach{cost: -1}
	}
	far[from] = reach{}
	todo := &frontier{{from, reach{}}}
	for todo.Len() > 0 {
		at := heap.Pop(todo).(stop)
		if done[at.domain] {
			continue
		}
		done[at.domain] = true
		for _, e := range edges[at.domain] {
			if r := at.reach.plus(e); far[e.to].cost < 0 || r.compare(far[e.to]) < 0 {
				far[e.to] = r
				heap.Push(todo, stop{e.to, r})
			}
		}
	}
	return far
}

// choose takes one of the shortest paths to each domain. Those that are as far
// by hops are ranked by their paths; paths of the same length differ first where
// the paths to their last but one domains do, so the rank of those and then the
// last name decide.
func (r *Routes) choose(edges [][]edge, far []reach, start int32) {
	count := len(edges)
	r.next, r.before, r.costs = make([]string, count), make([]int32, count), make([]int, count)
	chosen := make([]bool, count)
	r.before[start], chosen[start] = -1, true
	for level := []int32{start}; len(level) > 0; {
		var following []int32
		for _, a := range level { // in the order of their paths: the first that leads on is the best
			var found []int32
			for _, e := range edges[a] {
				if chosen[e.to] || far[a].plus(e) != far[e.to] {
					continue
				}
				chosen[e.to] = true
				r.before[e.to], r.costs[e.to], r.next[e.to] = a, far[e.to].cost, r.next[a]
				if a == start {
					r.next[e.to] = r.names[e.to]
				}
				found = append(found, e.to)
			}
			slices.SortFunc(found, func(a, b int32) int { return strings.Compare(r.names[a], r.names[b]) })
			following = append(following, found...)
		}
		level = following
	}
}

// stop is a domain as it was reached.
type stop struct {
	domain int32
	reach  reach
}

// frontier is a heap of stops, the nearest first.
type frontier []stop

func (f frontier) Len() int           { return len(f) }
func (f frontier) Less(i, j int) bool { return f[i].reach.compare(f[j].reach) < 0 }
func (f frontier) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *frontier) Push(x any)        { *f = append(*f, x.(stop)) }
func (f *frontier) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}
