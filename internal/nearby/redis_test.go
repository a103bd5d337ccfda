package nearby

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
	"github.com/seed-3d8c1042/switchboard/internal/load"
)

// edge is how far from the edge of a circle Redis may say otherwise, for it rounds
// positions to 52 bits.
const edge = 0.6

// most is the greatest latitude that Redis takes.
const most = 85.05112878

// scene is some positions, and where to look.
type scene struct {
	name  string
	place func(r *rand.Rand) (lat, lon float64)
	radii []float64
}

func scenes() []scene {
	around := func(lat, lon, wide float64) func(r *rand.Rand) (float64, float64) {
		return func(r *rand.Rand) (float64, float64) {
			o := lon + wide*(2*r.Float64()-1)
			return min(most, max(-most, lat+wide*(2*r.Float64()-1))), math.Remainder(o, 360)
		}
	}
	return []scene{
		{"sparse", func(r *rand.Rand) (float64, float64) {
			return math.Asin((2*r.Float64()-1)*math.Sin(most*math.Pi/180)) * 180 / math.Pi, 360*r.Float64() - 180
		}, []float64{20_000, 100_000, 500_000}},
		{"dense", around(52.5, 13.4, 0.1), []float64{1, 50, 1000, 3000}},
		{"north", around(most-0.5, 20, 0.5), []float64{100, 1000, 5000}},
		{"south", around(-most+0.5, -100, 0.5), []float64{100, 1000, 5000}},
		{"antimeridian", around(-17, 180, 0.3), []float64{100, 1000, 5000}},
	}
}

func TestCirclesHoldWhoRedisSaysIsThere(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			redis, err := load.StartRedis(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := redis.Close(); err != nil {
					t.Error(err)
				}
			}()
			now := time.Unix(1_800_000_000, 0)
			c := newCore(0, Limits{})
			r := rand.New(rand.NewPCG(1, 2))
			settle(t, redis, c, now, func() (float64, float64) { return s.place(r) })
			found := 0
			for _, radius := range s.radii {
				for range 20 {
					lat, lon := s.place(r)
					found += compareRedis(t, redis, c, View{Lat: lat, Lon: lon, Radius: radius})
				}
			}
			if found < 1000 {
				t.Errorf("only %d were found", found)
			}
		})
	}
}

// settle has 100 000 users be at the same places here and there.
func settle(t *testing.T, redis *load.Redis, c *core, now time.Time, place func() (float64, float64)) {
	t.Helper()
	for i := 0; i < 100_000; {
		var commands [][]string
		for range 1000 {
			lat, lon := place()
			if err := c.put(now, "app", fmt.Sprint("app-", i), Position{Lat: lat, Lon: lon}); err != nil {
				t.Fatal(err)
			}
			commands = append(commands, []string{"GEOADD", "all", text(lon), text(lat), fmt.Sprint("app-", i)})
			i++
		}
		if err := redis.Pipe(commands, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func text(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// compareRedis compares what is in a view, and returns how many are.
func compareRedis(t *testing.T, redis *load.Redis, c *core, v View) int {
	t.Helper()
	there := make(map[string]float64)
	err := redis.Pipe([][]string{{"GEOSEARCH", "all", "FROMLONLAT", text(v.Lon), text(v.Lat), "BYRADIUS", text(v.Radius), "m", "ASC", "WITHDIST"}}, func(_ int, reply any) {
		for _, one := range reply.([]any) {
			pair := one.([]any)
			d, err := strconv.ParseFloat(pair[1].(string), 64)
			if err != nil {
				t.Fatal(err)
			}
			there[pair[0].(string)] = d
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var out Answer
	c.near("app", v, 1_000_000, &out)
	last := 0.0
	for _, u := range out.Users {
		d, is := there[u.User]
		delete(there, u.User)
		switch {
		case !is && u.Distance < v.Radius-edge:
			t.Errorf("%+v: %s is %v m away, and not there for Redis", v, u.User, u.Distance)
		case is && math.Abs(d-u.Distance) > max(edge, u.Distance/1000):
			t.Errorf("%+v: %s is %v m away, for Redis %v", v, u.User, u.Distance, d)
		case u.Distance < last:
			t.Errorf("%+v: %s is nearer than who comes before", v, u.User)
		}
		last = u.Distance
	}
	for user, d := range there {
		p, _ := c.get("app", user)
		if d < v.Radius-edge {
			t.Errorf("%+v: %s is %v m away for Redis, here it is %v", v, user, d, grid.Distance(v.Lat, v.Lon, p.Lat, p.Lon))
		}
	}
	return len(out.Users)
}
