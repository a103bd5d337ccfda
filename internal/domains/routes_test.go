package domains_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// network writes a file for domains with links such as "a-b:3" and reads it.
// The domains are listed, and linked, in the order given.
func network(t testing.TB, names []string, links ...string) *domains.Network {
	t.Helper()
	var file strings.Builder
	file.WriteString("domains:\n")
	for _, name := range names {
		fmt.Fprintf(&file, "  - {name: %s, urls: [ws://%s.example]}\n", name, name)
	}
	file.WriteString("domainLinks:\n")
	for _, link := range links {
		ends, cost, _ := strings.Cut(link, ":")
		n1, n2, _ := strings.Cut(ends, "-")
		fmt.Fprintf(&file, "  - {n1: %s, n2: %s, cost: %s}\n", n1, n2, cost)
	}
	return parsed(t, file.String())
}

func TestTheShortestPathIsTheCheapest(t *testing.T) {
	n := network(t, []string{"a", "b", "c", "d"}, "a-b:1", "b-c:1", "c-d:1", "a-d:4", "a-c:5")
	r := n.Routes("a")
	for to, want := range map[string]struct {
		path string
		cost int
	}{"a": {"a", 0}, "b": {"a b", 1}, "c": {"a b c", 2}, "d": {"a b c d", 3}} {
		if path := strings.Join(r.Path(to), " "); path != want.path || r.Cost(to) != want.cost {
			t.Errorf("to %s: %q for %d, want %q for %d", to, path, r.Cost(to), want.path, want.cost)
		}
	}
	if next, ok := r.Next("d"); next != "b" || !ok {
		t.Errorf("the way to d goes by %q, %v", next, ok)
	}
}

func TestAmongPathsOfTheSameCostTheOneOfFewestHopsIsTaken(t *testing.T) {
	for _, test := range []struct {
		links []string
		want  string
	}{
		{[]string{"a-b:1", "b-z:1", "a-z:2"}, "a z"},
		{[]string{"a-b:1", "b-c:1", "c-z:1", "a-d:2", "d-z:1"}, "a d z"},
		// Whoever looks at the nearest domain next sees the path of more hops first.
		{[]string{"a-b:1", "b-c:1", "c-d:8", "d-z:1", "a-e:5", "e-f:5", "f-z:1"}, "a e f z"},
	} {
		names := strings.FieldsFunc(strings.Join(test.links, " "), func(c rune) bool { return c < 'a' })
		slices.Sort(names)
		if path := network(t, slices.Compact(names), test.links...).Routes("a").Path("z"); strings.Join(path, " ") != test.want {
			t.Errorf("%v: the path is %q, want %q", test.links, path, test.want)
		}
	}
}

func TestAmongPathsOfTheSameLengthTheOneWhoseNamesComeFirstIsTaken(t *testing.T) {
	// The paths from s to t are s b y t and s c x t: b before c decides, not x
	// before y.
	n := network(t, []string{"s", "t", "b", "c", "x", "y"}, "s-c:1", "c-x:1", "x-t:1", "s-b:1", "b-y:1", "y-t:1")
	if path := n.Routes("s").Path("t"); !slices.Equal(path, []string{"s", "b", "y", "t"}) {
		t.Errorf("from s: %q", path)
	}
	// In the other direction x comes first.
	if path := n.Routes("t").Path("s"); !slices.Equal(path, []string{"t", "x", "c", "s"}) {
		t.Errorf("from t: %q", path)
	}
}

func TestNamesAreComparedOneByOneNotAsOneText(t *testing.T) {
	// Written as one word, sa0kt comes before samt.
	n := network(t, []string{"s", "t", "a", "a0", "m", "k"}, "s-a:1", "a-m:1", "m-t:1", "s-a0:1", "a0-k:1", "k-t:1")
	if path := n.Routes("s").Path("t"); !slices.Equal(path, []string{"s", "a", "m", "t"}) {
		t.Errorf("the path is %q", path)
	}
}

func TestThereIsNoWayToOneselfOrToTheUnknown(t *testing.T) {
	n := network(t, []string{"a", "b"}, "a-b:7")
	r := n.Routes("a")
	_, self := r.Next("a")
	_, unknown := r.Next("c")
	if self || unknown || r.Path("c") != nil || r.Cost("c") != -1 || r.From() != "a" {
		t.Errorf("self %v, unknown %v, path %v, cost %d", self, unknown, r.Path("c"), r.Cost("c"))
	}
	lost := n.Routes("c")
	if _, ok := lost.Next("a"); ok || lost.Path("a") != nil || lost.Path("c") != nil || lost.Cost("a") != -1 || len(lost.Neighbours()) != 0 {
		t.Error("a way leads from where nothing is")
	}
}

func TestNeighboursAreThoseWithALink(t *testing.T) {
	r := network(t, []string{"a", "b", "c", "d"}, "a-c:9", "c-b:1", "b-a:1", "c-d:1").Routes("a")
	var got []string
	for _, n := range r.Neighbours() {
		got = append(got, fmt.Sprintf("%s %d %s", n.Name, n.Cost, n.URLs[0]))
	}
	if want := []string{"b 1 ws://b.example", "c 9 ws://c.example"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheLongestPathOfTheGreatestCosts(t *testing.T) {
	names := make([]string, domains.MaxDomains)
	links := make([]string, 0, len(names))
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i)
		if i > 0 {
			links = append(links, fmt.Sprintf("n%d-n%d:%d", i-1, i, domains.MaxCost))
		}
	}
	r := network(t, names, links...).Routes("n0")
	if last := names[len(names)-1]; r.Cost(last) != (len(names)-1)*domains.MaxCost || len(r.Path(last)) != len(names) {
		t.Errorf("cost %d, %d domains", r.Cost(last), len(r.Path(last)))
	}
}

// graph is a small connected graph, as a file might name it.
type graph struct {
	names []string
	costs map[[2]string]int // both directions
	links []string
}

func drawGraph(t *rapid.T) graph {
	pool := []string{"a", "aa", "ab", "b", "ba", "A", "a_", "a0", "z"}
	names := rapid.Permutation(pool).Draw(t, "names")[:rapid.IntRange(1, 7).Draw(t, "count")]
	g := graph{names: names, costs: map[[2]string]int{}}
	most := rapid.SampledFrom([]int{1, 2, 3, 10}).Draw(t, "most") // small costs make ties
	add := func(a, b string) {
		if _, there := g.costs[[2]string{a, b}]; a == b || there {
			return
		}
		cost := rapid.IntRange(1, most).Draw(t, "cost")
		g.costs[[2]string{a, b}], g.costs[[2]string{b, a}] = cost, cost
		g.links = append(g.links, fmt.Sprintf("%s-%s:%d", a, b, cost))
	}
	for i := 1; i < len(names); i++ {
		add(names[rapid.IntRange(0, i-1).Draw(t, "parent")], names[i])
	}
	for range rapid.IntRange(0, 10).Draw(t, "more") {
		add(rapid.SampledFrom(names).Draw(t, "n1"), rapid.SampledFrom(names).Draw(t, "n2"))
	}
	return g
}

// best finds the path by looking at all there are: every path that visits no
// domain twice.
func (g graph) best(from, to string) (best []string, least int) {
	var walk func(path []string, cost int)
	walk = func(path []string, cost int) {
		here := path[len(path)-1]
		if here == to {
			better := best == nil || cost < least
			if best != nil && cost == least {
				better = len(path) < len(best) || len(path) == len(best) && slices.Compare(path, best) < 0
			}
			if better {
				best, least = slices.Clone(path), cost
			}
			return
		}
		for _, next := range g.names {
			if step, ok := g.costs[[2]string{here, next}]; ok && !slices.Contains(path, next) {
				walk(append(slices.Clip(path), next), cost+step)
			}
		}
	}
	walk([]string{from}, 0)
	return best, least
}

func TestRoutesAreThoseThatASearchOfAllPathsFinds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGraph(rt)
		n := network(t, g.names, g.links...)
		for _, from := range g.names {
			r := n.Routes(from)
			for _, to := range g.names {
				path, cost := g.best(from, to)
				if got := r.Path(to); !slices.Equal(got, path) || r.Cost(to) != cost {
					rt.Fatalf("from %s to %s: %q for %d, want %q for %d", from, to, got, r.Cost(to), path, cost)
				}
				next, ok := r.Next(to)
				if ok != (from != to) || ok && next != path[1] {
					rt.Fatalf("from %s to %s by %q, %v; want %q", from, to, next, ok, path)
				}
			}
		}
	})
}

func TestEveryHopAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGraph(rt)
		n := network(t, g.names, g.links...)
		routes := map[string]*domains.Routes{}
		for _, name := range g.names {
			routes[name] = n.Routes(name)
		}
		for _, from := range g.names {
			for _, to := range g.names {
				path := routes[from].Path(to)
				for i, hop := range path {
					if rest := routes[hop].Path(to); !slices.Equal(rest, path[i:]) {
						rt.Fatalf("from %s to %s: %q, but %s goes on by %q", from, to, path, hop, rest)
					}
				}
				walked := []string{from}
				for at := from; at != to && len(walked) <= len(g.names); {
					at, _ = routes[at].Next(to)
					walked = append(walked, at)
				}
				if !slices.Equal(walked, path) {
					rt.Fatalf("from %s to %s: sent hop by hop %q, the path is %q", from, to, walked, path)
				}
			}
		}
	})
}

func TestRoutesDoNotDependOnTheOrderInTheFile(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGraph(rt)
		one := network(t, g.names, g.links...)
		other := network(t, rapid.Permutation(g.names).Draw(rt, "other names"), rapid.Permutation(g.links).Draw(rt, "other links")...)
		if one.Hash() != other.Hash() {
			rt.Fatal("the hashes differ")
		}
		for _, from := range g.names {
			for _, to := range g.names {
				if a, b := one.Routes(from).Path(to), other.Routes(from).Path(to); !slices.Equal(a, b) {
					rt.Fatalf("from %s to %s: %q and %q", from, to, a, b)
				}
			}
		}
	})
}
