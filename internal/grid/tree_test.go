package grid

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is all points in a list.
type model map[uint32][2]float64

func (m model) near(c Circle) (hits []Hit) {
	for id, p := range m {
		if d := Distance(c.Lat, c.Lon, p[0], p[1]); d <= c.Metres {
			hits = append(hits, Hit{ID: id, Lat: p[0], Lon: p[1], Metres: d})
		}
	}
	slices.SortFunc(hits, func(a, b Hit) int { return cmp.Or(cmp.Compare(a.Metres, b.Metres), cmp.Compare(a.ID, b.ID)) })
	return hits
}

// drawLat draws latitudes, many of them where it is hard.
func drawLat(t *rapid.T) float64 {
	return rapid.OneOf(
		rapid.Float64Range(-90, 90), rapid.Float64Range(89.999, 90), rapid.Float64Range(-90, -89.9), rapid.Float64Range(52.5, 52.51),
		rapid.SampledFrom([]float64{-90, 0, 52.5, 90, math.Nextafter(90, 0)}),
	).Draw(t, "lat")
}

func drawLon(t *rapid.T) float64 {
	return rapid.OneOf(
		rapid.Float64Range(-180, 180), rapid.Float64Range(179.99, 180), rapid.Float64Range(-180, -179.9), rapid.Float64Range(13.4, 13.41),
		rapid.SampledFrom([]float64{-180, 0, 13.4, 180, math.Nextafter(180, 0)}),
	).Draw(t, "lon")
}

func drawCircle(t *rapid.T) Circle {
	metres := rapid.OneOf(rapid.Float64Range(0, 2000), rapid.Float64Range(0, 1e6), rapid.Float64Range(0, 2.1e7), rapid.SampledFrom([]float64{0, 1, 1000})).Draw(t, "metres")
	return Circle{drawLat(t), drawLon(t), metres}
}

func drawBox(t *rapid.T) Box {
	b := Box{drawLon(t), drawLat(t), drawLon(t), drawLat(t)}
	if b.South > b.North {
		b.South, b.North = b.North, b.South
	}
	return b
}

func TestTreeAnswersAsAListOfAllPointsDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree Tree
		m := model{}
		few := uint32(rapid.SampledFrom([]int{3, 40, 300}).Draw(t, "points"))
		for range rapid.IntRange(0, 20).Draw(t, "rounds") {
			change(t, &tree, m, few)
			compareCircle(t, &tree, m)
			compareBox(t, &tree, m)
		}
		for id := range m {
			tree.Remove(id)
		}
		if tree.Len() != 0 || len(tree.leafs.loose) != tree.leafs.len() || tree.nodes.len() > 0 && len(tree.nodes.loose) != tree.nodes.len()-1 {
			t.Fatalf("%d points, %d of %d leafs and %d of %d nodes are left", tree.Len(), tree.leafs.len()-len(tree.leafs.loose), tree.leafs.len(), tree.nodes.len()-len(tree.nodes.loose), tree.nodes.len())
		}
	})
}

// change moves some points, by a little or a lot, and removes some.
func change(t *rapid.T, tree *Tree, m model, few uint32) {
	seed := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	lat, lon := drawLat(t), drawLon(t)
	wide := rapid.SampledFrom([]float64{0, 1e-9, 1e-5, 0.01, 10}).Draw(t, "wide")
	for range rapid.IntRange(1, 150).Draw(t, "changes") {
		id := seed.Uint32N(few)
		if seed.IntN(4) == 0 {
			tree.Remove(id)
			delete(m, id)
			continue
		}
		p := [2]float64{min(90, max(-90, lat+wide*(seed.Float64()-0.5))), lon + wide*(seed.Float64()-0.5)}
		if p[1] > 180 {
			p[1] -= 360
		} else if p[1] < -180 {
			p[1] += 360
		}
		tree.Put(id, p[0], p[1])
		m[id] = p
	}
	if tree.Len() != len(m) {
		t.Fatalf("%d points, want %d", tree.Len(), len(m))
	}
}

func compareCircle(t *rapid.T, tree *Tree, m model) {
	c := drawCircle(t)
	limit := rapid.SampledFrom([]int{0, 1, 5, 1000}).Draw(t, "limit")
	want := m.near(c)
	got, total := tree.Near(c, limit, nil, nil)
	if total != len(want) || tree.CountIn(c) != total {
		t.Fatalf("%+v: %d are there, and %d are counted, want %d", c, total, tree.CountIn(c), len(want))
	}
	if len(got) != min(limit, total) {
		t.Fatalf("%+v: %d of %d found", c, len(got), total)
	}
	for i, h := range got {
		// Who is as far as another to the last bit of the haversine may be told apart by
		// metres, or not.
		if h.Metres != want[i].Metres || Distance(c.Lat, c.Lon, h.Lat, h.Lon) != h.Metres || m[h.ID] != [2]float64{h.Lat, h.Lon} {
			t.Fatalf("%+v: place %d is %+v, want %+v", c, i, h, want[i])
		}
	}
}

func compareBox(t *rapid.T, tree *Tree, m model) {
	b := drawBox(t)
	want := map[uint32]bool{}
	for id, p := range m {
		if b.Contains(p[0], p[1]) {
			want[id] = true
		}
	}
	near, total := tree.NearIn(b, 5, nil, nil)
	lat, lon := b.Middle()
	var list []Hit
	for id := range want {
		list = append(list, Hit{ID: id, Metres: Distance(lat, lon, m[id][0], m[id][1])})
	}
	slices.SortFunc(list, func(a, b Hit) int { return cmp.Or(cmp.Compare(a.Metres, b.Metres), cmp.Compare(a.ID, b.ID)) })
	if total != len(want) || len(near) != min(5, total) {
		t.Fatalf("%+v: %d of %d found, want %d", b, len(near), total, len(want))
	}
	for i := range near {
		if near[i].Metres != list[i].Metres || !want[near[i].ID] {
			t.Fatalf("%+v: place %d is %+v, want %+v", b, i, near[i], list[i])
		}
	}
	if n := tree.Count(b); n != len(want) {
		t.Fatalf("%+v: %d are counted, want %d", b, n, len(want))
	}
	found := 0
	tree.In(b, func(id uint32, lat, lon float64) bool {
		found++
		if !want[id] || m[id] != [2]float64{lat, lon} {
			t.Fatalf("%+v: %d is not there", b, id)
		}
		return true
	})
	if found != len(want) {
		t.Fatalf("%+v: %d are found, want %d", b, found, len(want))
	}
}

func TestOfManyAsFarTheFirstByTheirOrderAreAnswered(t *testing.T) {
	var tree Tree
	for id := range uint32(1000) {
		tree.Put(id, 10, 20)
	}
	hits, total := tree.Near(Circle{10, 20, 5}, 3, func(a, b uint32) int { return cmp.Compare(b, a) }, nil)
	if total != 1000 || len(hits) != 3 || hits[0].ID != 999 || hits[1].ID != 998 || hits[2].ID != 997 {
		t.Fatalf("%+v of %d", hits, total)
	}
}

func TestBoxesGoAcrossTheAntimeridianAndReachPoles(t *testing.T) {
	for _, c := range []struct {
		box      Box
		lat, lon float64
		in       bool
	}{
		{Box{170, -10, -170, 10}, 0, 175, true},
		{Box{170, -10, -170, 10}, 0, 180, true},
		{Box{170, -10, -170, 10}, 0, -180, true},
		{Box{170, -10, -170, 10}, 0, 0, false},
		{Box{170, -10, 180, 10}, 0, -180, true},
		{Box{-180, -10, -170, 10}, 0, 180, true},
		{Box{-180, -90, 180, 90}, -90, 12, true},
		{Box{10, 80, 20, 90}, 90, -100, true},
		{Box{10, 80, 20, 90}, 89.9, -100, false},
		{Box{10, 10, 10, 10}, 10, 10, true},
	} {
		if got := c.box.Contains(c.lat, c.lon); got != c.in {
			t.Errorf("%+v contains %v, %v: %v", c.box, c.lat, c.lon, got)
		}
		var tree Tree
		tree.Put(7, c.lat, c.lon)
		if got := tree.Count(c.box) == 1; got != c.in {
			t.Errorf("the tree finds %v, %v in %+v: %v", c.lat, c.lon, c.box, got)
		}
	}
}

func TestASnappedPlaceIsNearAndStaysWhereItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lat, lon, metres := drawLat(t), drawLon(t), rapid.Float64Range(1, 100_000).Draw(t, "metres")
		a, o := Snap(lat, lon, metres)
		if d := Distance(lat, lon, a, o); d > metres || math.Abs(a) > 90 || o < -180 || o >= 180 {
			t.Fatalf("%v, %v is at %v, %v, %v m away", lat, lon, a, o, d)
		}
		if a2, o2 := Snap(a, o, metres); Distance(a, o, a2, o2) > 1e-6*metres {
			t.Fatalf("%v, %v moves on to %v, %v", a, o, a2, o2)
		}
	})
}

func TestCellsOfALevelDivideTheEarth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lat, lon, level := drawLat(t), drawLon(t), rapid.IntRange(0, MaxLevel).Draw(t, "level")
		c := CellAt(level, lat, lon)
		if !c.Valid() || c.Level() != level || !c.Box().Grown(Edge).Contains(lat, lon) {
			t.Fatalf("%v, %v is in %x, which is %+v", lat, lon, c, c.Box())
		}
		lat, lon = c.Box().Middle()
		for up := range level {
			if c.In(up) != CellAt(up, lat, lon) {
				t.Fatalf("%x is in %x, its place in %x", c, c.In(up), CellAt(up, lat, lon))
			}
		}
	})
}

func TestCellsAreAboutAsWideAsHigh(t *testing.T) {
	for level := 4; level <= MaxLevel; level += 4 {
		for lat := -80.0; lat <= 80; lat += 3.7 {
			b := CellAt(level, lat, 13).Box()
			near := math.Min(math.Abs(b.South), math.Abs(b.North))
			if b.South < 0 && b.North > 0 {
				near = 0
			}
			if ratio := b.Width() * math.Cos(near*radians) / (b.North - b.South); ratio < 0.99 || ratio > 2.01 {
				t.Errorf("level %d, latitude %v: %v times as wide as high", level, lat, ratio)
			}
		}
	}
}

func TestFewCellsCoverABox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBox(t)
		most := rapid.IntRange(8, 40).Draw(t, "most")
		list := Cover(b, most)
		if len(list) == 0 || len(list) > most {
			t.Fatalf("%d cells", len(list))
		}
		for i, c := range list {
			if !c.Valid() || c.Level() != list[0].Level() || slices.Contains(list[:i], c) {
				t.Fatalf("cell %x of %x", c, list)
			}
		}
		for range 20 {
			lat := rapid.Float64Range(b.South, b.North).Draw(t, "lat")
			lon := b.West + rapid.Float64Range(0, 1).Draw(t, "share")*b.Width()
			if lon > 180 {
				lon -= 360
			}
			if b.Contains(lat, lon) && !slices.Contains(list, CellAt(list[0].Level(), lat, lon)) {
				t.Fatalf("%v, %v is in %+v, and in none of %x", lat, lon, b, list)
			}
		}
	})
}

func TestACircleIsCoveredByCellsNotMuchLarger(t *testing.T) {
	for lat := -90.0; lat <= 90; lat += 1.5 {
		for _, metres := range []float64{100, 5000, 300_000} {
			sum := 0.0
			list := Cover(Around(lat, 179.9, metres), 32)
			for _, c := range list {
				b := c.Box()
				sum += (math.Sin(b.North*radians) - math.Sin(b.South*radians)) * b.Width() * radians * Radius * Radius
			}
			if most := 12 * math.Pi * metres * metres; sum > most && list[0].Level() < MaxLevel {
				t.Errorf("latitude %v, radius %v: %d cells are %.1f times the circle", lat, metres, len(list), sum/(math.Pi*metres*metres))
			}
		}
	}
}

// spread puts points all over the Earth, evenly, or in towns.
func spread(n int, towns bool) (*Tree, [][2]float64) {
	random := rand.New(rand.NewPCG(1, 2))
	t, list := new(Tree), make([][2]float64, n)
	for i := range list {
		list[i] = [2]float64{math.Asin(2*random.Float64()-1) * degrees, random.Float64()*360 - 180}
		if towns {
			town := rand.New(rand.NewPCG(uint64(random.IntN(200)), 3))
			list[i] = [2]float64{town.Float64()*120 - 60 + random.NormFloat64()*0.05, town.Float64()*300 - 150 + random.NormFloat64()*0.05}
		}
		t.Put(uint32(i), list[i][0], list[i][1])
	}
	return t, list
}

func BenchmarkNear(b *testing.B) {
	for _, c := range []struct {
		name   string
		towns  bool
		metres float64
		limit  int
	}{{"even/15", false, 49_300, 1000}, {"towns/1km", true, 1000, 1000}, {"towns/10km/nearest 100", true, 10_000, 100}, {"towns/500km/nearest 1000", true, 500_000, 1000}} {
		b.Run(c.name, func(b *testing.B) {
			t, list := spread(1_000_000, c.towns)
			var hits []Hit
			b.ReportAllocs()
			found, total, i := 0, 0, 0
			for b.Loop() {
				p := list[i*7919%len(list)]
				var n int
				hits, n = t.Near(Circle{p[0], p[1], c.metres}, c.limit, nil, hits[:0])
				found += len(hits)
				total += n
				i++
			}
			b.ReportMetric(float64(found)/float64(b.N), "hits")
			b.ReportMetric(float64(total)/float64(b.N), "there")
		})
	}
}

func BenchmarkPut(b *testing.B) {
	for _, metres := range []float64{10, 1000, 1e6} {
		b.Run(fmt.Sprintf("%v m", metres), func(b *testing.B) {
			t, list := spread(1_000_000, true)
			random := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				at := i * 7919 % len(list)
				p := &list[at]
				p[0] = min(90, max(-90, p[0]+(random.Float64()-0.5)*metres/60_000))
				t.Put(uint32(at), p[0], p[1])
				i++
			}
		})
	}
}
