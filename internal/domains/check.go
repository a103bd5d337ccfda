package domains

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// finish checks a draft as a whole and makes it a Network.
func (r *reader) finish(d draft) (*Network, error) {
	if r.budget < 0 || r.full() { // the rest was not read
		return nil, r.problems.orNil()
	}
	c := checker{reader: r, draft: d, linkApps: map[string]string{}}
	c.checkDomains()
	c.checkLinks()
	if len(r.problems) == 0 { // else it is a consequence
		c.checkReach()
	}
	c.checkApps()
	if len(r.problems) > 0 {
		return nil, r.problems.orNil()
	}
	n := c.network()
	if size := len(n.encode()); size > MaxJSON {
		r.refuse(1, "", "the description has %d bytes as JSON: at most %d are served", size, MaxJSON)
		return nil, r.problems.orNil()
	}
	return n, nil
}

type checker struct {
	*reader
	draft
	names    []string          // of all domains, as written
	known    map[string]bool   // the same
	named    map[string]int    // the line where each is named first
	linkApps map[string]string // the domain, by the app of its link user
	urls     [][]string        // those that can be used, by domain
	hints    int               // names that were looked for
}

func (c *checker) checkDomains() {
	c.known, c.named = make(map[string]bool, len(c.domains)), make(map[string]int, len(c.domains))
	if len(c.domains) == 0 && len(c.problems) == 0 {
		c.refuse(max(c.lines.domains, 1), "domains", "must name at least one domain, with its name and urls")
	}
	for _, d := range c.domains {
		if c.full() {
			return
		}
		c.checkName(d.name, d.user)
		c.urls = append(c.urls, c.checkURLs(d))
	}
}

func (c *checker) checkName(name, given text) {
	if name.bad || given.bad {
		return
	}
	user, err := linkUser(name.value, given.value)
	if err != nil && given.value != "" {
		name.at = given.at
	}
	switch other := c.linkApps[user.App()]; {
	case err != nil:
		c.refuseAt(name.at, "%s", err)
	case c.known[name.value]:
		c.refuseAt(name.at, "%s is named twice: line %d names it already; give each domain a name of its own", name.value, c.named[name.value])
	case other != "":
		c.refuseAt(name.at, "%s (line %d) and %s would both be the link user %s: give one of them another name, or a linkUser", other, c.named[other], name.value, user)
	default:
		c.linkApps[user.App()] = name.value
	}
	if name.value != "" && !c.known[name.value] {
		c.known[name.value], c.named[name.value] = true, name.line
		c.names = append(c.names, name.value)
	}
}

// checkURLs returns the URLs of a domain that can be used.
func (c *checker) checkURLs(d draftDomain) []string {
	var usable []string
	before := len(c.problems)
	for _, u := range d.urls {
		switch scheme, _, _ := strings.Cut(u.value, ":"); {
		case strings.EqualFold(scheme, "tcp") && !c.json:
			c.notice(u.at, "passed over: tcp:// is not spoken here")
		default:
			if err := checkURL(u.value, "ws", "wss", "http", "https"); err != nil {
				c.refuseAt(u.at, "%s", err)
				continue
			}
			if slices.Contains(usable, u.value) {
				c.refuseAt(u.at, "is named twice: take one of them away")
				continue
			}
			usable = append(usable, u.value)
		}
	}
	if len(usable) == 0 && len(c.problems) == before && !d.badURLs && !c.json {
		c.notice(d.at, "domain %s has no URL that can be used, so nobody can dial it: name one under urls, as in wss://d1.example.org:8088", quote(d.name.value))
	}
	return usable
}

// checkURL checks an absolute URL. What it says does not repeat the URL, which
// may hold a password.
func checkURL(raw string, schemes ...string) error {
	u, err := url.Parse(raw)
	const last = " or "
	list := strings.Join(schemes[:len(schemes)-1], "://, ") + "://" + last + schemes[len(schemes)-1] + "://"
	switch {
	case raw == "":
		return errors.New("is empty: write a URL that begins with " + list)
	case len(raw) > maxURL:
		return errors.New("is too long: a URL has at most " + strconv.Itoa(maxURL) + " bytes")
	case err != nil || strings.ContainsAny(raw, " \t\r\n") || !utf8.ValidString(raw):
		return errors.New("is not a URL: write one that begins with " + list)
	case !slices.Contains(schemes, u.Scheme):
		return errors.New("has a scheme that is not known here (" + quote(u.Scheme) + "): a URL begins with " + list)
	case u.Hostname() == "" || u.Opaque != "":
		return errors.New("names no host: write the host behind " + u.Scheme + "://")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return errors.New("must not have a fragment (#…): take it away")
	case u.User != nil && slices.Contains(schemes, "ws"): // clients are told it
		return errors.New("must not carry a user name or password: take them away")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("has no valid port: write a number from 1 to 65535")
		}
	}
	return nil
}

func (c *checker) checkLinks() {
	type ends struct{ n1, n2 string }
	lines := make(map[ends]int, len(c.links))
	for _, l := range c.links {
		if c.full() {
			return
		}
		if first, second := c.knows(l.n1), c.knows(l.n2); !first || !second {
			continue
		}
		if l.n1.value == l.n2.value {
			c.refuseAt(l.at, "links %s to itself: name two domains, or take the link away", l.n1.value)
			continue
		}
		pair := ends{min(l.n1.value, l.n2.value), max(l.n1.value, l.n2.value)}
		if line := lines[pair]; line != 0 {
			c.refuseAt(l.at, "links %s and %s again: line %d does already, and links go both ways; take one of them away", pair.n1, pair.n2, line)
			continue
		}
		lines[pair] = l.line
	}
}

// knows says whether the name of a domain is one, and notes it otherwise.
func (c *checker) knows(name text) bool {
	switch {
	case name.bad, len(c.names) == 0: // what is wrong is said elsewhere
	case name.value == "":
		c.refuseAt(name.at, "is required: name a domain")
	case !c.known[name.value]:
		c.refuseAt(name.at, "%s is not one of the domains: add it under domains, or correct the name%s", quote(name.value), c.hint(name.value))
	default:
		return true
	}
	return false
}

// hint says which domain may be meant, for the first few: it costs a look at all
// names.
func (c *checker) hint(name string) string {
	if c.hints++; c.hints > maxProblems/10 {
		return ""
	}
	return nearest(name, c.names)
}

// checkReach notes each group of domains to which no links lead from the first
// domain.
func (c *checker) checkReach() {
	groups := map[string]string{} // each domain's, by a domain that stands for it
	group := func(name string) string {
		for groups[name] != "" {
			name = groups[name]
		}
		return name
	}
	for _, l := range c.links {
		if a, b := group(l.n1.value), group(l.n2.value); a != b {
			groups[b] = a
		}
	}
	first := group(c.domains[0].name.value)
	members := map[string][]string{}
	var order []draftDomain
	for _, d := range c.domains {
		g := group(d.name.value)
		if members[g] == nil {
			order = append(order, d)
		}
		members[g] = append(members[g], d.name.value)
	}
	for _, d := range order {
		g := group(d.name.value)
		if g == first {
			continue
		}
		names, more := members[g], ""
		if len(names) > 5 { // enough to see which part is meant
			names, more = names[:5], " and "+strconv.Itoa(len(names)-5)+" more"
		}
		c.refuseAt(d.at, "%s%s cannot be reached from %s: add a link under domainLinks", strings.Join(names, ", "), more, c.domains[0].name.value)
	}
}

func (c *checker) checkApps() {
	lines := make(map[string]int, len(c.apps))
	for _, a := range c.apps {
		if c.full() {
			return
		}
		named := c.checkAppName(a, lines)
		switch {
		case a.id.bad:
		case a.id.value == "":
			c.refuseAt(a.id.at, "is required: write the ID with which clients of the app sign in")
		case len(a.id.value) > maxAppID:
			c.refuseAt(a.id.at, "is too long: an app's ID has at most %d bytes", maxAppID)
		case !utf8.ValidString(a.id.value):
			c.refuseAt(a.id.at, "has characters that are not text: take them away")
		}
		if named && a.master.value != "" {
			if user, err := wire.ParseUserID(a.master.value); err != nil || user.App() != a.name.value {
				c.refuseAt(a.master.at, "%s is not a user ID of this app: write %s- and a number from 0 on, without leading zeros", quote(a.master.value), a.name.value)
			}
		}
		if a.authURL.value != "" {
			if err := checkURL(a.authURL.value, "http", "https"); err != nil {
				c.refuseAt(a.authURL.at, "%s", err)
			}
		}
		c.checkRanges(a)
	}
}

// AppRule says what a domain would have against apps, which are in the order of the
// file.
type AppRule func([]App) []AppProblem

// AppProblem is one thing that a domain would have against an app.
type AppProblem struct {
	App  int    // which of them
	Key  string // as "authUrl"
	Text string // what is wrong, without the values of URLs
}

// noticeApps notes apps that domains would pass over.
func (c *checker) noticeApps(list []App) {
	for _, rule := range c.rules {
		for _, p := range rule(list) {
			a := c.apps[p.App]
			c.notice(a.place(p.Key), "%s; so domains pass %s over, but for those that have it in their own settings", p.Text, a.name.value)
		}
	}
}

// place returns where a key of the app stands, or would.
func (a *draftApp) place(key string) at {
	switch key {
	case "appName":
		return a.name.at
	case "appId":
		return a.id.at
	case "masterUserId":
		return a.master.at
	case "authUrl":
		return a.authURL.at
	case "authEnabled":
		return a.enabled
	}
	return a.at
}

// checkAppName says whether an app has a good name. The lines of apps that were
// checked before are by name.
func (c *checker) checkAppName(a draftApp, lines map[string]int) bool {
	name := a.name.value
	if a.name.bad {
		return false
	}
	if name == "" {
		c.refuseAt(a.name.at, "is required: write the name with which the app's user IDs begin")
		return false
	}
	if _, err := wire.ParseUserID(name + "-1"); err != nil {
		c.refuseAt(a.name.at, "%s is not the name of an app: use 1 to %d letters, digits and _", quote(name), wire.MaxAppName)
		return false
	}
	if line := lines[name]; line != 0 {
		c.refuseAt(a.name.at, "%s is named twice: line %d names it already; take one of them away", name, line)
	} else if domain := c.linkApps[name]; domain != "" {
		c.refuseAt(a.name.at, "%s is the app of the link user of %s: give one of them another name", name, domain)
	}
	lines[name] = a.line
	return true
}

// checkRanges checks that the ranges of an app cover 0 and up without a hole or
// an overlap.
func (c *checker) checkRanges(a draftApp) {
	known := !a.badRanges
	for _, s := range a.ranges {
		if !c.knows(s.domain) {
			known = false
		}
	}
	if !known || len(a.ranges) == 0 {
		return
	}
	sorted := slices.Clone(a.ranges)
	slices.SortStableFunc(sorted, func(a, b draftRange) int { return cmp.Compare(a.from, b.from) })
	last, holder := int64(-1), 0 // the last number that is covered, and by which range
	for i, s := range sorted {
		switch {
		case i > 0 && sorted[i-1].open:
			c.refuseAt(sorted[i-1].at, "is open-ended, yet the range in line %d begins at %d: give it a to, only the last range may be without", s.line, s.from)
		case s.from <= last:
			c.refuseAt(s.at, "begins at %d, yet the range in line %d goes up to %d: no number may live in two places (to is part of the range)", s.from, sorted[holder].line, last)
		case s.from-1 > last && i == 0:
			c.refuseAt(s.at, "%s nowhere: the first range of an app begins at 0", numbers(0, s.from-1))
		case s.from-1 > last:
			c.refuseAt(s.at, "%s nowhere: let this range begin at %d, or add one in between", numbers(last+1, s.from-1), last+1)
		}
		if s.open {
			s.to = s.from // what it holds beyond is not known: it is an error if it is not the last
		}
		if s.to > last {
			last, holder = s.to, i
		}
	}
	c.noticeMaster(a, sorted[len(sorted)-1])
}

// numbers begins a sentence about where numbers live.
func numbers(from, to int64) string {
	if from == to {
		return fmt.Sprintf("the number %d lives", from)
	}
	return fmt.Sprintf("the numbers from %d to %d live", from, to)
}

// noticeMaster notes a master user that nobody can sign in as.
func (c *checker) noticeMaster(a draftApp, last draftRange) {
	if number := wire.UserID(a.master.value).Number(); !last.open && number > last.to {
		c.notice(a.master.at, "%s lives nowhere, so nobody can sign in as it: the last range of %s ends at %d", a.master.value, a.name.value, last.to)
	}
}

// network makes the Network of a draft that is good.
func (c *checker) network() *Network {
	n := &Network{Version: c.version}
	for i, d := range c.domains {
		n.Domains = append(n.Domains, Domain{Name: d.name.value, URLs: append([]string{}, c.urls[i]...), LinkUser: wire.UserID(d.user.value)})
	}
	for _, l := range c.links {
		n.Links = append(n.Links, Link{N1: l.n1.value, N2: l.n2.value, Cost: l.cost})
	}
	for _, a := range c.apps {
		app := App{Name: a.name.value, ID: a.id.value, Master: a.master.value, AuthURL: a.authURL.value, AuthEnabled: a.authEnabled}
		for _, s := range a.ranges {
			one := Range{Domain: s.domain.value, From: s.from}
			if !s.open {
				one.To = &s.to
			}
			app.Distributions = append(app.Distributions, one)
		}
		n.Apps = append(n.Apps, app)
	}
	c.noticeApps(n.Apps)
	n.arrange()
	return n
}
