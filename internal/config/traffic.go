package config

import "time"

// Traffic says how what was exchanged is put into windows.
type Traffic struct {
	Lateness time.Duration `yaml:"lateness"`
	Groups   int           `yaml:"groups"`  // that a shard tells apart in ten seconds
	Devices  int           `yaml:"devices"` // and this many devices
	Rows     int           `yaml:"rows"`    // of an answer
}

func trafficKeys() []Key {
	key := func(name, kind, def string, low, high int64, what string, field func(*Traffic) any) Key {
		return Key{Name: "traffic." + name, Kind: kind, Default: def, Min: low, Max: high, What: what, field: func(s *Settings) any { return field(&s.Traffic) }}
	}
	return []Key{
		key("lateness", kindDuration, "1m", int64(time.Second), int64(5*time.Minute), "For how long after ten seconds are over what belongs into them is taken. What comes later is counted apart. The same on all nodes.",
			func(t *Traffic) any { return &t.Lateness }),
		key("groups", kindCount, "500", 10, 1000, "Combinations of app, capability, domain and type that are told apart in ten seconds; in a cluster, in each shard. Further ones count as `(other)` of their app; see [limits](traffic.md#limits).",
			func(t *Traffic) any { return &t.Groups }),
		key("devices", kindCount, "8000", 100, 20_000, "Devices that are told apart in ten seconds; in a cluster, in each shard. Further ones count as `(other)` of their app; see [limits](traffic.md#limits).",
			func(t *Traffic) any { return &t.Devices }),
		key("rows", kindCount, "10000", 100, 1_000_000, "Results, of all windows and groups together, that one answer has at most.",
			func(t *Traffic) any { return &t.Rows }),
	}
}
