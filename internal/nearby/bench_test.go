package nearby

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// inhabited returns a core with n users, 15 of them within a kilometre of each, and
// where they are.
func inhabited(b *testing.B, n int) (*core, []string, [][2]float64) {
	b.Helper()
	c := newCore(0, Limits{Positions: n, Rate: math.MaxUint16, TTL: time.Hour})
	c.begin(1)
	random := rand.New(rand.NewPCG(1, 2))
	side := math.Sqrt(float64(n)*math.Pi/15) / 111.2
	names, places := make([]string, n), make([][2]float64, n)
	for i := range n {
		names[i] = fmt.Sprint("app-", i)
		places[i] = [2]float64{side * (random.Float64() - 0.5), side * (random.Float64() - 0.5)}
		if err := c.put(start, "app", names[i], Position{Lat: places[i][0], Lon: places[i][1], At: start}); err != nil {
			b.Fatal(err)
		}
	}
	store(c, start.Add(time.Second))
	return c, names, places
}

// BenchmarkNear asks who is within a kilometre of somebody.
func BenchmarkNear(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _, places := inhabited(b, n)
			b.ReportAllocs()
			users, i := 0, 0
			for b.Loop() {
				p := places[i*7919%n]
				var out Answer
				c.near("app", View{Lat: p[0], Lon: p[1], Radius: 1000}, MaxAnswer, &out)
				users += len(out.Users)
				i++
			}
			b.ReportMetric(float64(users)/float64(b.N), "users")
		})
	}
}

// BenchmarkPut has users go up to 50 m, alone or while a node looks on.
func BenchmarkPut(b *testing.B) {
	for _, looked := range []bool{false, true} {
		b.Run(fmt.Sprintf("looked at %v", looked), func(b *testing.B) {
			const n = 1_000_000
			c, names, places := inhabited(b, n)
			d := newDesk(Limits{}, 1)
			if looked {
				lookAround(b, c, d, places, 1000)
			}
			b.ReportAllocs()
			now, i := start, 0
			for b.Loop() {
				at := i * 7919 % n
				p := &places[at]
				p[0] += 0.0002 * (float64(i%5) - 2)
				if err := c.put(now, "app", names[at], Position{Lat: p[0], Lon: p[1], At: now}); err != nil {
					b.Fatal(err)
				}
				if i++; i%100_000 == 0 {
					now = now.Add(time.Second)
					store(c, now)
					carry(b, c, d, now)
				}
			}
		})
	}
}

// BenchmarkNews has users go up to 50 m, a thousand of them in 100 ms, while sessions look
// at 5 km around somebody and are told of it.
func BenchmarkNews(b *testing.B) {
	const n = 1_000_000
	c, names, places := inhabited(b, n)
	d := newDesk(Limits{}, 1)
	counts := lookAround(b, c, d, places, 5000)
	counts.users = 0
	b.ReportAllocs()
	now, i := start, 0
	for b.Loop() {
		at := i * 7919 % n
		places[at][0] += 0.0002 * (float64(i%5) - 2)
		if err := c.put(now, "app", names[at], Position{Lat: places[at][0], Lon: places[at][1], At: now}); err != nil {
			b.Fatal(err)
		}
		if i++; i%1000 == 0 {
			now = now.Add(pace)
			store(c, now)
			carry(b, c, d, now)
		}
	}
	b.ReportMetric(float64(counts.users)/float64(b.N), "users")
}

// BenchmarkLook has a thousand sessions begin to look at 5 km around somebody, until all
// have their answers.
func BenchmarkLook(b *testing.B) {
	c, _, places := inhabited(b, 1_000_000)
	b.ReportAllocs()
	users := 0
	for b.Loop() {
		users += lookAround(b, c, newDesk(Limits{}, 1), places, 5000).users
		c.lost("n")
	}
	b.ReportMetric(float64(users)/float64(b.N), "users")
}

// lookAround has a thousand sessions look around somebody.
func lookAround(b *testing.B, c *core, d *desk, places [][2]float64, radius float64) *counted {
	b.Helper()
	o := new(counted)
	for i := range 1000 {
		p := places[i*(len(places)/1000)]
		if err := d.watch(start, d.open("app", o), "w", View{Lat: p[0], Lon: p[1], Radius: radius}, nil); err != nil {
			b.Fatal(err)
		}
	}
	for now := start; c.asked() || len(d.due) > 0; now = now.Add(flushEvery) {
		list, _ := d.requests(now)
		for _, q := range list {
			reply, _, err := c.serve(now, "n", q.Request)
			if err != nil {
				b.Fatal(err)
			}
			d.done(now, 0, reply, nil)
		}
		carry(b, c, d, now)
	}
	return o
}

// carry has sessions be told what the keeper has to tell now.
func carry(b *testing.B, c *core, d *desk, now time.Time) {
	b.Helper()
	for _, p := range c.news(now.UnixMilli()) {
		if err := d.heard(p.Message); err != nil {
			b.Fatal(err)
		}
	}
	d.flush(now)
}

// counted is an outlet that counts of whom it is told.
type counted struct {
	silent
	users int
}

func (o *counted) Answer(_ string, a Answer, _ []byte) bool {
	o.users += len(a.Users)
	return true
}

func (o *counted) Enter(_ string, users []User) bool {
	o.users += len(users)
	return true
}

func (o *counted) Move(_ string, users []User) bool {
	o.users += len(users)
	return true
}
