package config

import (
	"fmt"
	"net"
	"time"
)

// Journal says how long what happened to devices is kept, and how much of it.
type Journal struct {
	Keep    time.Duration `yaml:"keep"`
	Bytes   Bytes         `yaml:"bytes"`
	Devices int           `yaml:"devices"` // whose state is known, of one shard
	Queue   int           `yaml:"queue"`   // events of a node that wait
	Streams int           `yaml:"streams"` // of those who watch, of a node
}

func journalKeys() []Key {
	key := func(name, kind, def string, low, high int64, live bool, what string, field func(*Journal) any) Key {
		return Key{Name: "journal." + name, Kind: kind, Default: def, Min: low, Max: high, Live: live, What: what, field: func(s *Settings) any { return field(&s.Journal) }}
	}
	const day = 24 * time.Hour
	return []Key{
		key("keep", kindDuration, "168h", int64(time.Minute), int64(3650*day), false, "How long events are kept in the journal. A device of which nothing came for as long is forgotten.",
			func(j *Journal) any { return &j.Keep }),
		key("bytes", kindSize, "4GiB", int64(64*MiB), int64(1024*GiB), false, "Bytes of the journal; past it the oldest events go. One takes some 200.",
			func(j *Journal) any { return &j.Bytes }),
		key("devices", kindCount, "1000000", 1, 100_000_000, true, "Devices whose state is known; in a cluster, for each shard. Events of a further one are refused, or counted as lost. The last tenth is for apps that have fewer devices than there is room left. Each takes some 300 bytes of memory.",
			func(j *Journal) any { return &j.Devices }),
		key("queue", kindCount, "100000", 1000, 10_000_000, true, "Events of this node that wait to be stored; a further one is refused, or counted as lost.",
			func(j *Journal) any { return &j.Queue }),
		key("streams", kindCount, "16", 1, 1000, true, "Streams of the journal that may be open at this node at once.",
			func(j *Journal) any { return &j.Streams }),
	}
}

// leastReaderPassword is how many bytes the password of who reads the journal has at
// least.
const leastReaderPassword = 16

// checkReaders notes what is wrong with how others read the embedded NATS.
func (c *checker) checkReaders(s Settings) {
	n := s.NATS
	if n.Listen == "" {
		if n.Password != "" {
			c.refuseBy("nats.password", "nats.listen", "is required: without it nobody connects, and nats.password means nothing")
		}
		return
	}
	if len(n.Password) < leastReaderPassword {
		c.refuseBy(c.firstSet("nats.password", "nats.listen"), "nats.password", "is required beside nats.listen, with at least %d bytes", leastReaderPassword)
	}
	if n.User == "" {
		c.refuse("nats.user", "must not be empty")
	}
	if _, port, err := net.SplitHostPort(n.Listen); err == nil {
		c.checkReaderPort(s, port)
	}
	c.checkTLS("nats.tls", n.TLS, false)
	if (n.TLS != TLS{}) && n.TLS.Cert == "" {
		c.refuseBy("nats.tls.ca", "nats.tls.cert", "is required for nats.listen: it is what clients are shown")
	}
}

func (c *checker) checkReaderPort(s Settings, port string) {
	for _, other := range []struct{ key, address string }{{"listen", s.Listen}, {"admin", s.Admin}, {"cluster.listen", s.Cluster.Listen}} {
		if port != "0" && sameAddress(s.NATS.Listen, other.address) && (other.key != "cluster.listen" || s.Clustered()) {
			c.refuse(c.firstSet("nats.listen", other.key), "nats.listen (%s) and %s (%s) want the same port", s.NATS.Listen, other.key, other.address)
		}
	}
}

// OpenReaders says whether what readers of the journal send and get can be read on the
// way.
func (s Settings) OpenReaders() bool {
	return s.NATS.Listen != "" && s.NATS.TLS == (TLS{}) && !loopback(s.NATS.Listen)
}

// readersKeys are those of the door for who reads the journal.
func readersKeys() []Key {
	key := func(name, kind, def, what string, field func(*NATS) any) Key {
		return Key{Name: "nats." + name, Kind: kind, Default: def, What: what, optional: def == "", field: func(s *Settings) any { return field(&s.NATS) }}
	}
	return []Key{
		key("listen", kindAddress, "", "Where clients of NATS connect to the embedded one, to read the journal and nothing else. Nowhere if absent. Port 0 takes any free port.",
			func(n *NATS) any { return &n.Listen }),
		key("user", kindText, "reader", "The name with which they sign in.",
			func(n *NATS) any { return &n.User }),
		key("password", kindSecret, "", fmt.Sprintf("Their password, at least %d bytes.", leastReaderPassword),
			func(n *NATS) any { return &n.Password }),
	}
}
