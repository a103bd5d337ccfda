package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// set puts a value, as it is written in a file, into its field, or says what
// is wrong with it and leaves the field alone. A list is written with commas;
// each tells apart what is wrong with its items.
func (k Key) set(s *Settings, text string) error {
	switch p := k.field(s).(type) {
	case *string:
		if err := k.checkText(text); err != nil {
			return err
		}
		*p = text
	case *[]string:
		list := splitList(text)
		if k.Kind == kindRoles && slices.Equal(list, []string{"all"}) {
			list = Roles()
		}
		var bad []error
		for i := range list {
			item, err := k.item(list[i])
			if err != nil {
				bad = append(bad, err)
			}
			list[i] = item
		}
		if len(bad) > 0 {
			return errors.Join(bad...)
		}
		*p = list
	case *Secret:
		*p = Secret(text)
	case *map[string]Secret:
		secrets, err := parseSecrets(text)
		if err != nil {
			return err
		}
		*p = secrets
	case *bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = text == "true"
	case *Bytes:
		b, err := ParseBytes(text)
		if err == nil {
			err = k.checkRange(int64(b))
		}
		if err != nil {
			return err
		}
		*p = b
	case *time.Duration:
		d, err := parseDuration(text)
		if err == nil {
			err = k.checkRange(int64(d))
		}
		if err != nil {
			return err
		}
		*p = d
	case *Metres:
		m, err := parseMetres(text)
		if err == nil {
			err = k.checkRange(int64(m))
		}
		if err != nil {
			return err
		}
		*p = m
	case *int:
		if text == "" && k.optional {
			*p = 0
			return nil
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		if err := k.checkRange(int64(n)); err != nil {
			return err
		}
		*p = n
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) {
			return fmt.Errorf("%q is not a number", text)
		}
		if n <= 0 || n > mostNumber {
			return fmt.Errorf("%s is out of bounds: it must be above 0, and at most %g", text, mostNumber)
		}
		*p = n
	default:
		panic(fmt.Sprintf("config: %s is kept in a %T", k.Name, p)) // our own table is wrong
	}
	return nil
}

// mostNumber is the most that a number may be.
const mostNumber = 1e9

// item checks one item of a list, and returns it as it is kept.
func (k Key) item(text string) (string, error) {
	switch k.Kind {
	case kindPeers:
		return parsePeer(text)
	case kindRoles:
		return parseRole(text)
	case kindNetworks:
		return parseNetwork(text)
	case kindHosts:
		return parseHost(text)
	}
	return parseOrigin(text)
}

// isList says whether the values of this key are lists.
func (k Key) isList() bool {
	return k.Kind == kindOrigins || k.Kind == kindPeers || k.Kind == kindRoles || k.Kind == kindNetworks || k.Kind == kindHosts
}

// each returns the errors that were joined, or the one there is.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// text returns the field's value as it would be written; a list with commas, a
// secret as it is.
func (k Key) text(s *Settings) string {
	switch p := k.field(s).(type) {
	case *string:
		return *p
	case *[]string:
		return strings.Join(*p, ",")
	case *Secret:
		return string(*p)
	case *map[string]Secret:
		return secretsText(*p)
	case *bool:
		return strconv.FormatBool(*p)
	case *Bytes:
		return p.String()
	case *time.Duration:
		return durationText(*p)
	case *Metres:
		return p.String()
	case *int:
		if *p == 0 && k.optional {
			return ""
		}
		return strconv.Itoa(*p)
	case *float64:
		return strconv.FormatFloat(*p, 'f', -1, 64)
	default:
		panic(fmt.Sprintf("config: %s is kept in a %T", k.Name, p)) // our own table is wrong
	}
}

// bound writes a bound as a value of this key.
func (k Key) bound(n int64) string {
	switch k.Kind {
	case kindSize:
		return Bytes(n).String()
	case kindDistance:
		return Metres(n).String()
	case kindDuration:
		return durationText(time.Duration(n))
	}
	return strconv.FormatInt(n, 10)
}

func (k Key) checkRange(n int64) error {
	if n < k.Min {
		return fmt.Errorf("%s is too little: the least is %s", k.bound(n), k.bound(k.Min))
	}
	if n > k.Max {
		return fmt.Errorf("%s is too much: the most is %s", k.bound(n), k.bound(k.Max))
	}
	return nil
}

func (k Key) checkText(text string) error {
	if text == "" && k.optional {
		return nil
	}
	switch k.Kind {
	case kindText:
		return checkName(text)
	case kindNATS:
		return checkNATS(text)
	case kindMeta:
		return checkMeta(text)
	case kindRelay:
		return checkRelay(text)
	case kindDomain:
		return checkDomainName(text)
	case kindDB:
		return checkDB(text)
	case kindApp:
		if !validAppName(text) {
			return fmt.Errorf("%q is not an app name: 1 to 64 letters, digits and _", text)
		}
	case kindURL:
		return checkURL(text)
	case kindTiles:
		return checkTiles(text)
	case kindPath:
		return checkPath(text)
	case kindService:
		return checkService(text)
	case kindDirectory:
		return checkDirectory(text)
	case kindAudit:
		return checkAudit(text)
	case kindLine:
		return checkLine(text)
	case kindAddress:
		return checkAddress(text)
	case kindChoice:
		if !slices.Contains(k.Choices, text) {
			return fmt.Errorf("%q is none of %s%s", text, strings.Join(k.Choices, ", "), DidYouMean(text, k.Choices))
		}
	case kindFolder:
		if text == "" || strings.ContainsRune(text, 0) {
			return errors.New("must name a folder")
		}
	}
	return nil
}

// splitList splits at commas and drops white space and empty items.
func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// checkAddress checks host:port. The host may be empty, a name or an address.
func checkAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		if _, bad := strconv.ParseUint(text, 10, 16); bad == nil {
			return fmt.Errorf("%q is only a port: write 127.0.0.1:%s, or :%s for all interfaces", text, text, text)
		}
		return fmt.Errorf("%q is not host:port, as in 127.0.0.1:8088", text)
	}
	if strings.ContainsAny(host, " /\\@?#") {
		return fmt.Errorf("%q is not host:port: %q is no host", text, host)
	}
	if n, err := strconv.ParseUint(port, 10, 64); err != nil || n > 65535 {
		return fmt.Errorf("%q has no valid port: it must be a number from 0 to 65535", text)
	}
	return nil
}

// loopback says whether only this machine can reach an address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// sameAddress says whether two listeners would want the same port.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil {
		return false
	}
	nA, _ := strconv.Atoi(portA)
	nB, _ := strconv.Atoi(portB)
	if nA != nB || nA == 0 {
		return false
	}
	wildcard := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || wildcard(hostA) || wildcard(hostB)
}

// parseOrigin checks a web origin and returns it as browsers send it: lower
// case, without the scheme's own port.
func parseOrigin(text string) (string, error) {
	bad := func() (string, error) {
		return "", fmt.Errorf("%s is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)", said(text))
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Contains(u.Host, "*") {
		return bad()
	}
	if u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return bad()
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	if err := checkPort(u.Port()); err != nil || strings.HasSuffix(host, ":") {
		return bad()
	}
	return u.Scheme + "://" + host, nil
}

func checkPort(port string) error {
	if port == "" {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port", port)
	}
	return nil
}

// checkURL checks an absolute http or https URL without a password in it. What is wrong is
// said without it where it may hold a secret.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || checkPort(u.Port()) != nil {
		return fmt.Errorf("%s is not a URL that begins with http:// or https://", said(text))
	}
	if u.User != nil {
		return errors.New("must not carry a user name or password")
	}
	if u.Fragment != "" {
		return errors.New("must not have a fragment (#…)")
	}
	return nil
}
