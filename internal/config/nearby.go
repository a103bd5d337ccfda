package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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

	Tiles       string `yaml:"tiles"`       // where the console's map gets its tiles; empty: it draws outlines only
	Attribution string `yaml:"attribution"` // whose they are
}

// TileOrigin returns the origin of the tiles as a browser writes it; empty where
// there are none, or where they come from the server itself.
func (n Nearby) TileOrigin() string {
	u, err := url.Parse(n.Tiles)
	if err != nil || u.Host == "" {
		return ""
	}
	origin, err := parseOrigin(u.Scheme + "://" + u.Host)
	if err != nil {
		return ""
	}
	return origin
}

// NamesNoTiles says that it says whose tiles are that there are not.
func (n Nearby) NamesNoTiles() bool { return n.Attribution != "" && n.Tiles == "" }

// checkTiles checks where tiles are got: at another server over TLS, or at our own.
// Its host goes into a header of the console's, and so has nothing but what hosts have.
func checkTiles(text string) error {
	u, err := url.Parse(text)
	for _, part := range []string{"{z}", "{x}", "{y}"} {
		if strings.Count(text, part) != 1 {
			return fmt.Errorf("%q does not name each of {z}, {x} and {y} once", text)
		}
	}
	if err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(text, "/") && !strings.Contains(text, `\`) {
		return nil
	}
	switch {
	case strings.Contains(text, "{s}"):
		return fmt.Errorf("%s has {s}, for which nothing is put in: name one host, as in https://a.tile.example/{z}/{x}/{y}.png", said(text))
	case err == nil && u.Scheme == "http":
		return fmt.Errorf("%s is fetched without TLS, which browsers refuse in a page that came with it: write https://, or a path on the server itself", said(text))
	case err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || checkPort(u.Port()) != nil || !plainHost.MatchString(u.Host):
		return fmt.Errorf("%s is not where tiles are: write https://host/{z}/{x}/{y}.png, or /path/{z}/{x}/{y}.png on the server itself", said(text))
	}
	return nil
}

// plainHost is a host, and maybe a port.
var plainHost = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?(:[0-9]+)?$`)

// maxLine bounds a text that is shown in one line.
const maxLine = 200

// checkLine checks a text that is shown to people.
func checkLine(text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || utf8.RuneCountInString(text) > maxLine {
		return fmt.Errorf("must be one line of at most %d characters", maxLine)
	}
	return nil
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
		{Name: "nearby.tiles", Kind: kindTiles, optional: true,
			What:  "Where the console's map gets its tiles (Web Mercator, 256 pixels), as https://host/{z}/{x}/{y}.png, or /path/{z}/{x}/{y}.png on this server's own origin. Without it the map has outlines of the countries, which come with the server.",
			field: func(s *Settings) any { return &s.Nearby.Tiles }},
		{Name: "nearby.attribution", Kind: kindLine, optional: true,
			What:  "Whose the tiles are, as those want it said: a line of text on the map.",
			field: func(s *Settings) any { return &s.Nearby.Attribution }},
	}
}
