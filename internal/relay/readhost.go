package relay

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Bounds of a host's name, as of the domain name system.
const (
	maxHost  = 253
	maxLabel = 63
)

// checkHost says what is wrong with a host's name or IP address, to listen at.
func checkHost(host string) error {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil {
		if ip.Zone() != "" {
			return fmt.Errorf("%.60q must have no zone: it means nothing elsewhere", host)
		}
		return nil
	}
	name := strings.TrimSuffix(host, ".")
	if name == "" || len(name) > maxHost {
		return fmt.Errorf("must have 1 to %d bytes", maxHost)
	}
	if before, port, ok := strings.Cut(host, ":"); ok && before != "" && isNumber(port) {
		return fmt.Errorf("%.60q must have no port", host)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxLabel || label[0] == '-' || strings.ContainsFunc(label, notOfName) {
			return fmt.Errorf("%.60q is no host: write an IP address, or a name of letters, digits, - and _ with dots between (others as xn--…)", host)
		}
	}
	// What reads 127.1 or 0x7f.1 as an IP address, as many programs do, is not asked to.
	if isNumber(strings.ToLower(labels[len(labels)-1])) {
		return fmt.Errorf("%.60q is no IP address: write all four numbers of it, in decimal", host)
	}
	return nil
}

func notOfName(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}

// isNumber says whether the last label of a name has others read all of it as an IP
// address.
func isNumber(label string) bool {
	const digits = "0123456789"
	rest, hex := strings.CutPrefix(label, "0x")
	return strings.Trim(label, digits) == "" || hex && strings.Trim(rest, digits+"abcdef") == ""
}

// checkReached is checkHost for one that others are to reach.
func checkReached(host string) error {
	ip, err := netip.ParseAddr(plainHost(host))
	if err != nil {
		return checkHost(host)
	}
	switch {
	case ip.IsUnspecified():
		return fmt.Errorf("%s is no address that others can reach: it stands for all of a machine", ip)
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is not the address of one machine", ip)
	}
	return checkHost(host)
}

// checkServer says what is wrong with where a network server is said to be.
func checkServer(server string) error {
	base, err := (&credentials{}).base(server)
	if err != nil {
		return err
	}
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	port := u.Port()
	switch n, err := strconv.ParseUint(port, 10, 16); {
	case port == "" && strings.HasSuffix(u.Host, ":"), port != "" && (err != nil || n == 0):
		return fmt.Errorf("%.60q has no port that can be: it must be 1 to %d", server, maxPort)
	case port == "" && !strings.Contains(server, "://"):
		return fmt.Errorf("%.60q has no port: write %s:%d, say, or http:// or https:// before it for the port of that", server, u.Host, DefaultNetworkPort)
	}
	return checkReached(plainHost(u.Hostname())) // with a zone it may be reached from here
}
