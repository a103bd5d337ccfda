package config

import "time"

// Matching says who is matched, and how many.
type Matching struct {
	Enabled    bool          `yaml:"enabled"`
	Tickets    int           `yaml:"tickets"`    // that wait in one shard
	Matches    int           `yaml:"matches"`    // that live in one shard
	PerSession int           `yaml:"perSession"` // tickets and matches
	Timeout    time.Duration `yaml:"timeout"`    // of a ticket, at most
	Patience   time.Duration `yaml:"patience"`   // for a group to be full
	Gesture    time.Duration `yaml:"gesture"`    // how far two may be apart

	Simple SimpleDoor `yaml:"simple"`
}

// SimpleDoor is how devices are matched that speak plain text.
type SimpleDoor struct {
	Enabled     bool    `yaml:"enabled"`
	Access      string  `yaml:"access"` // one of those below
	MaxDistance float64 `yaml:"maxDistance"`
	Queue       int     `yaml:"queue"` // frames that wait for one device
}

// Who may connect at the simple door.
const (
	AccessOpen = "open" // anybody
	AccessKey  = "key"  // with an API key
	AccessJWT  = "jwt"  // a user whom its app signs in
)

func matchingKeys() []Key {
	limit := func(name, def string, low, high int64, what string, field func(*Matching) any) Key {
		return Key{Name: "matching." + name, Kind: kindCount, Default: def, Min: low, Max: high, Live: true, What: what, field: func(s *Settings) any { return field(&s.Matching) }}
	}
	period := func(name, def string, low, high time.Duration, what string, field func(*Matching) any) Key {
		return Key{Name: "matching." + name, Kind: kindDuration, Default: def, Min: int64(low), Max: int64(high), Live: true, What: what, field: func(s *Settings) any { return field(&s.Matching) }}
	}
	const day = 24 * time.Hour
	return []Key{
		{Name: "matching.enabled", Kind: kindSwitch, Default: "true",
			What:  "Whether users and devices are matched. It is the same on all nodes.",
			field: func(s *Settings) any { return &s.Matching.Enabled }},
		limit("tickets", "200000", 1, 10_000_000, "Tickets that wait; in a cluster, in each shard. A further one is refused.",
			func(m *Matching) any { return &m.Tickets }),
		limit("matches", "200000", 1, 10_000_000, "Matches that live; in a cluster, in each shard. Past it no ticket is taken.",
			func(m *Matching) any { return &m.Matches }),
		limit("perSession", "16", 1, 10_000, "Tickets and matches that one session may have at once.",
			func(m *Matching) any { return &m.PerSession }),
		period("timeout", "10m", time.Second, day, "How long a ticket waits at most, and how long it does unless it says.",
			func(m *Matching) any { return &m.Timeout }),
		period("patience", "2s", 10*time.Millisecond, time.Hour, "How long one waits for a match of as many as it may have, before it is one of fewer, unless the request says.",
			func(m *Matching) any { return &m.Patience }),
		period("gesture", "2s", 10*time.Millisecond, time.Minute, "How far two gestures may be apart.",
			func(m *Matching) any { return &m.Gesture }),
		{Name: "matching.simple.enabled", Kind: kindSwitch, Default: "false",
			What:  "Whether devices may connect at the simple door, /device/connect. In the demo they may, unless this is written.",
			field: func(s *Settings) any { return &s.Matching.Simple.Enabled }},
		{Name: "matching.simple.access", Kind: kindChoice, Default: AccessKey, Choices: []string{AccessOpen, AccessKey, AccessJWT},
			What:  "Who may connect there: anybody; with an API key; or a user whom its app signs in. In the demo anybody may, unless this is written.",
			field: func(s *Settings) any { return &s.Matching.Simple.Access }},
		{Name: "matching.simple.maxDistance", Kind: kindNumber, Default: "1.42", Live: true,
			What:  "Below what distance two devices are matched there, as plain numbers.",
			field: func(s *Settings) any { return &s.Matching.Simple.MaxDistance }},
		{Name: "matching.simple.queue", Kind: kindCount, Default: "1000", Min: 16, Max: 1_000_000, Live: true,
			What:  "Frames that wait to be written to one device; past it what others say to it is dropped, and counted.",
			field: func(s *Settings) any { return &s.Matching.Simple.Queue }},
	}
}
