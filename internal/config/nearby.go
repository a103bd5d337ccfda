package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Nearby says who sees where others are, and how closely.
type Nearby struct {
	Enabled   bool          `yaml:"enabled"`
	TTL       time.Duration `yaml:"ttl"`       // of a position without news
	Precision Metres        `yaml:"precision"` // to which positions are known; 0: as they come
	MaxRadius Metres        `yaml:"maxRadius"` // of what is looked at
	Watches   int           `yaml:"watches"`   // of one session
	Rate      int           `yaml:"rate"`      // positions of one user a second
	Positions int           `yaml:"positions"` // in one shard
	Crowd     int           `yaml:"crowd"`     // in view from which on a watch is told counts
}

// Metres is a distance. It is written "100m" or "5km".
type Metres int64

const kilometre Metres = 1000

// parseMetres reads a distance: a whole number with m or km directly behind it, or 0.
func parseMetres(text string) (Metres, error) {
	digits, unit := strings.CutSuffix(text, "m")
	digits, kilo := strings.CutSuffix(digits, "k")
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case err != nil || kilo && !unit:
		return 0, fmt.Errorf("%q is not a distance: write 100m or 5km", text)
	case !unit && n != 0:
		return 0, fmt.Errorf("%q is not a distance: it lacks its unit, as in %dm", text, n)
	case kilo:
		return Metres(n) * kilometre, nil
	}
	return Metres(n), nil
}

// String returns the distance in the larger unit that divides it.
func (m Metres) String() string {
	if m != 0 && m%kilometre == 0 {
		return strconv.FormatInt(int64(m/kilometre), 10) + "km"
	}
	return strconv.FormatInt(int64(m), 10) + "m"
}

func nearbyKeys() []Key {
	key := func(name, kind, def string, low, high int64, what string, field func(*Nearby) any) Key {
		return Key{Name: "nearby." + name, Kind: kind, Default: def, Min: low, Max: high, What: what, field: func(s *Settings) any { return field(&s.Nearby) }}
	}
	return []Key{
		key("enabled", kindSwitch, "true", 0, 0, "Whether users may say where they are and see who is around. It is the same on all nodes, as all of these are.",
			func(n *Nearby) any { return &n.Enabled }),
		key("ttl", kindDuration, "5m", int64(time.Second), int64(7*24*time.Hour), "How long a position is known without news of it.",
			func(n *Nearby) any { return &n.TTL }),
		key("precision", kindDistance, "0m", 0, int64(100*kilometre), "To how many metres positions are known, to anybody: a position is moved to the middle of a square of that size as it comes in. 0m: they are known as they come.",
			func(n *Nearby) any { return &n.Precision }),
		key("maxRadius", kindDistance, "500km", 1, int64(500*kilometre), "The largest radius that may be looked at.",
			func(n *Nearby) any { return &n.MaxRadius }),
		key("watches", kindCount, "8", 1, 1000, "Parts of the map that one session may watch at once.",
			func(n *Nearby) any { return &n.Watches }),
		key("rate", kindCount, "10", 1, 1000, "Positions that one user may send a second, and as many at once; further ones are refused.",
			func(n *Nearby) any { return &n.Rate }),
		key("positions", kindCount, "1000000", 1, 100_000_000, "Users whose position is known; in a cluster, in each shard. Further ones are refused.",
			func(n *Nearby) any { return &n.Positions }),
		key("crowd", kindCount, "1000", 1, 5000, "With more users than this in view a watch is told how many there are where, and not who.",
			func(n *Nearby) any { return &n.Crowd }),
	}
}
