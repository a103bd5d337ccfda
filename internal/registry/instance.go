package registry

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what is registered.
const (
	MaxName      = 64   // bytes of a service's name, or an instance's
	MaxURL       = 1024 // bytes
	MaxWeight    = 100
	MaxMeta      = 32      // entries
	MaxMetaBytes = 4 << 10 // of all names and values of them together
	MaxServices  = 256     // that have instances
	MinTTL       = time.Second
	MaxTTL       = time.Hour
	DefaultTTL   = 30 * time.Second
)

// Nodes is the service that the nodes themselves are.
const Nodes = "switchboard"

// stream is no name of a service: at its path the interface tells of changes.
const stream = "stream"

// healthEntry is the entry of meta that names the path of an instance's health check.
const healthEntry = "health"

// Source says where an instance is known from.
type Source string

// The sources.
const (
	Registered Source = "registered" // by whoever runs it, for its TTL
	Static     Source = "static"     // of a file
	Node       Source = "node"       // of a cluster
)

// Sources returns all of them.
func Sources() []Source { return []Source{Registered, Static, Node} }

// Instance is one place where a service is.
type Instance struct {
	Service string // 1 to MaxName of letters, digits, '-', '_' and '.'; begins with a letter or digit
	Name    string // likewise; unique in the service
	URL     string // http or https, with a host, and maybe a port and a path
	Weight  int    // 1 to MaxWeight: how much of the load it takes
	Meta    map[string]string
	TTL     time.Duration // how long after it was renewed it is over; 0: never
	Since   time.Time     // when it was registered first
	Source  Source
}

// equal says whether two are the same for those who watch.
func (i Instance) equal(o Instance) bool {
	return i.Service == o.Service && i.Name == o.Name && i.URL == o.URL && i.Weight == o.Weight && i.TTL == o.TTL &&
		i.Since.Equal(o.Since) && i.Source == o.Source && maps.Equal(i.Meta, o.Meta)
}

// inOrder sorts instances by service, then name.
func inOrder(list []Instance) []Instance {
	slices.SortFunc(list, func(a, b Instance) int { return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name)) })
	return list
}

// Refusal is why something is not registered: a field of it is wrong.
type Refusal struct {
	Field  string // service, instance, url, weight, meta or ttl
	Reason string // for people; goes on after the field's name
}

// Error returns field and reason.
func (r *Refusal) Error() string { return r.Field + " " + r.Reason }

func wrong(field, format string, args ...any) *Refusal {
	return &Refusal{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Check says what is wrong with an instance that somebody would register, as one
// *Refusal a field; nil for nothing.
func (i Instance) Check() (list []*Refusal) {
	for _, refused := range []*Refusal{
		checkService(i.Service), checkName("instance", i.Name), checkURL(i.URL), checkWeight(i.Weight), checkMeta(i.Meta), checkTTL(i.TTL),
	} {
		if refused != nil {
			list = append(list, refused)
		}
	}
	return list
}

func checkService(name string) *Refusal {
	switch name {
	case Nodes:
		return wrong("service", "must not be %s: so the nodes call themselves", Nodes)
	case stream:
		return wrong("service", "must not be %s, which is another path of the interface", stream)
	}
	return checkName("service", name)
}

func checkName(field, name string) *Refusal {
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && (i == 0 || c != '-' && c != '_' && c != '.') {
			return wrong(field, "must be letters, digits, '-', '_' and '.', and begin with a letter or a digit")
		}
	}
	if name == "" || len(name) > MaxName {
		return wrong(field, "must have 1 to %d characters", MaxName)
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func checkURL(text string) *Refusal {
	const form = "must be an address such as http://10.0.0.7:8080: http or https, a host, and maybe a port and a path"
	if text == "" || len(text) > MaxURL || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("\\\"<>^`{|}", c) }) {
		return wrong("url", form+", of at most %d characters", MaxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || !hostLike(u.Hostname()):
		return wrong("url", form)
	case u.User != nil:
		return wrong("url", "must not carry a user name or a password: everybody who may look at services sees it")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return wrong("url", "must not carry a query or a fragment")
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !portLike(u.Port()):
		return wrong("url", "has a port that is none: 1 to 65535")
	case u.Path != "" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") && u.Path != "/":
		return wrong("url", "must not have a path with '.', '..' or '//' in it")
	}
	return nil
}

func portLike(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// hostLike says whether a text is an IP address, or looks like a host's name.
func hostLike(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	for i := range len(host) {
		if c := host[i]; !alphanumeric(c) && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return host != "" && len(host) <= 253 && !strings.Contains(host, "..")
}

func checkWeight(weight int) *Refusal {
	if weight < 1 || weight > MaxWeight {
		return wrong("weight", "must be a whole number from 1 to %d", MaxWeight)
	}
	return nil
}

func checkMeta(meta map[string]string) *Refusal {
	if len(meta) > MaxMeta {
		return wrong("meta", "must have at most %d entries", MaxMeta)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		value := meta[name]
		size += len(name) + len(value)
		switch {
		case checkName("", name) != nil:
			return wrong("meta", "has an entry whose name is none: 1 to %d letters, digits, '-', '_' and '.', and begin with a letter or a digit", MaxName)
		case !utf8.ValidString(value) || strings.ContainsFunc(value, func(c rune) bool { return !unicode.IsPrint(c) }):
			return wrong("meta", "must be text in one line: the entry %s is not", name)
		case name == healthEntry && (!strings.HasPrefix(value, "/") || strings.ContainsAny(value, " #")):
			return wrong("meta", "has the entry %s, which must be a path that begins with /", healthEntry)
		}
	}
	if size > MaxMetaBytes {
		return wrong("meta", "must have at most %d bytes in all", MaxMetaBytes)
	}
	return nil
}

func checkTTL(ttl time.Duration) *Refusal {
	if ttl < MinTTL || ttl > MaxTTL || ttl%time.Second != 0 {
		return wrong("ttl", "must be whole seconds from %d to %d", int(MinTTL.Seconds()), int(MaxTTL.Seconds()))
	}
	return nil
}
