package domains

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Network is a description of all domains. It comes from [Parse] or
// [ParseJSON], which check it, and must not be changed. Its lists are in one
// order: domains and apps by name, links by their ends (N1 is the lesser one),
// ranges by number, with neighbours of the same domain made one. So its JSON is
// the same for the same meaning.
//
// Its JSON is what a meta server serves. Unmarshalling does what ParseJSON does.
type Network struct {
	// Version rises with each change of the content. It is 0 for what comes from
	// a file: only a meta server numbers descriptions.
	Version uint64   `json:"version"`
	Domains []Domain `json:"domains"`
	Links   []Link   `json:"domainLinks"`
	Apps    []App    `json:"clientApps"`

	hash string
}

// Domain is a site.
type Domain struct {
	Name string   `json:"name"` // 1 to MaxName letters, digits, _, - and .
	URLs []string `json:"urls"` // ws, wss, http or https, to be tried in this order; none: nobody can dial it
	// LinkUser is as whom it signs in at its neighbours, where its name does not say
	// so; see User.
	LinkUser wire.UserID `json:"linkUser,omitempty"`
}

// User returns as whom the domain signs in at its neighbours.
func (d Domain) User() wire.UserID {
	if d.LinkUser != "" {
		return d.LinkUser
	}
	user, _ := LinkUser(d.Name) // a name that says nothing is refused without a LinkUser
	return user
}

// Link joins two domains, both ways.
type Link struct {
	N1   string `json:"n1"` // the lesser name
	N2   string `json:"n2"`
	Cost int    `json:"cost"` // 1 to MaxCost
}

// App is a client application.
type App struct {
	Name   string `json:"appName"`
	ID     string `json:"appId"`
	Master string `json:"masterUserId,omitempty"` // a user ID of this app, or empty
	// AuthURL is the app's own server that is asked at sign-in; empty if there is
	// none. It may hold a password.
	AuthURL string `json:"authUrl,omitempty"`
	// AuthEnabled says that nobody signs in unasked. It is true unless the file
	// says false.
	AuthEnabled   bool    `json:"authEnabled"`
	Distributions []Range `json:"userDistributions,omitempty"` // cover 0 and up without a hole; none: each domain is at home for all
}

// Range is a range of an app's numbers, and where they live.
type Range struct {
	Domain string `json:"domainName"`
	From   int64  `json:"from"`
	To     *int64 `json:"to,omitempty"` // inclusive; nil: open-ended, only in the last range
}

// Hash returns a digest of the content without the version, in hexadecimal: the
// same for the same meaning, whatever the order in the file.
func (n *Network) Hash() string {
	if n.hash != "" {
		return n.hash
	}
	content := Network{Domains: slices.Clone(n.Domains), Links: slices.Clone(n.Links), Apps: slices.Clone(n.Apps)}
	content.arrange()
	return content.hash
}

// WithVersion returns the same description under another version.
func (n *Network) WithVersion(version uint64) *Network {
	m := *n
	m.hash, m.Version = n.Hash(), version
	return &m
}

// Domain returns the domain of a name.
func (n *Network) Domain(name string) (Domain, bool) {
	i, ok := slices.BinarySearchFunc(n.Domains, name, func(d Domain, name string) int { return strings.Compare(d.Name, name) })
	if !ok {
		return Domain{}, false
	}
	return n.Domains[i], true
}

// Unknown says of each name that is no domain's that it is none, and which may be
// meant.
func (n *Network) Unknown(names []string) (sentences []string) {
	var known []string
	for _, d := range n.Domains {
		known = append(known, d.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			sentences = append(sentences, quote(name)+" is not one of the domains"+nearest(name, known))
		}
	}
	return sentences
}

// App returns the app of a name.
func (n *Network) App(name string) (App, bool) {
	i, ok := n.app(name)
	if !ok {
		return App{}, false
	}
	return n.Apps[i], true
}

// Home returns the domain where a number of an app lives. It is empty, with ok
// true, when the number lives nowhere: beyond the last range, or negative. ok is
// false when the app has no ranges, or is not described at all: then each domain
// is at home for its own users. Home allocates nothing.
func (n *Network) Home(app string, number int64) (domain string, ok bool) {
	i, ok := n.app(app)
	if !ok || len(n.Apps[i].Distributions) == 0 {
		return "", false
	}
	ranges := n.Apps[i].Distributions
	low, high := 0, len(ranges) // the last range that does not begin after the number
	for low < high {
		if middle := int(uint(low+high) / 2); ranges[middle].From <= number {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return "", true
	}
	if r := &ranges[low-1]; r.To == nil || number <= *r.To {
		return r.Domain, true
	}
	return "", true
}

// Next returns the first number of an app, from one on, that lives in a domain; false
// when there is none. Of an app without ranges every number does.
func (n *Network) Next(app, domain string, from int64) (number int64, ok bool) {
	i, ok := n.app(app)
	if !ok || len(n.Apps[i].Distributions) == 0 {
		return from, true
	}
	for _, r := range n.Apps[i].Distributions { // in order
		if r.Domain == domain && (r.To == nil || from <= *r.To) {
			return max(from, r.From), true
		}
	}
	return 0, false
}

// app finds an app by its name.
func (n *Network) app(name string) (int, bool) {
	low, high := 0, len(n.Apps)
	for low < high {
		if middle := int(uint(low+high) / 2); n.Apps[middle].Name < name {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(n.Apps) && n.Apps[low].Name == name
}

// arrange brings the lists into their one order and computes the hash. The
// lists are changed in place, what they refer to is not.
func (n *Network) arrange() {
	for i, l := range n.Links {
		if l.N1 > l.N2 {
			n.Links[i].N1, n.Links[i].N2 = l.N2, l.N1
		}
	}
	for i := range n.Apps {
		n.Apps[i].Distributions = join(n.Apps[i].Distributions)
	}
	// Not null in JSON.
	n.Domains, n.Links, n.Apps = append([]Domain{}, n.Domains...), append([]Link{}, n.Links...), append([]App{}, n.Apps...)
	slices.SortFunc(n.Domains, func(a, b Domain) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(n.Links, func(a, b Link) int {
		return cmp.Or(strings.Compare(a.N1, b.N1), strings.Compare(a.N2, b.N2))
	})
	slices.SortFunc(n.Apps, func(a, b App) int { return strings.Compare(a.Name, b.Name) })
	sum := sha256.Sum256(Network{Domains: n.Domains, Links: n.Links, Apps: n.Apps}.encode())
	n.hash = hex.EncodeToString(sum[:])
}

// join returns ranges by number, with neighbours of the same domain made one.
func join(ranges []Range) []Range {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	var list []Range
	for _, r := range sorted {
		if r.To != nil && *r.To == math.MaxInt64 {
			r.To = nil // there are no numbers beyond
		}
		if last := len(list) - 1; last >= 0 && list[last].Domain == r.Domain && list[last].To != nil && *list[last].To == r.From-1 {
			list[last].To = r.To
			continue
		}
		list = append(list, r)
	}
	return list
}

// encode returns the JSON of it.
func (n Network) encode() []byte {
	text, err := json.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("domains: a network has no JSON: %v", err)) // strings and numbers always have
	}
	return text
}

// UnmarshalJSON does what [ParseJSON] does: there is no road around the checks.
func (n *Network) UnmarshalJSON(data []byte) error {
	parsed, err := ParseJSON(data)
	if err == nil {
		*n = *parsed
	}
	return err
}
