package domains

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// draft is what a file says, with lines, before it is checked as a whole.
type draft struct {
	version uint64
	domains []draftDomain
	links   []draftLink
	apps    []draftApp
	lines   struct{ domains, links int } // where the lists begin
}

// at is where something stands.
type at struct {
	line  int
	entry string
	bad   bool // it was refused already
}

func (a at) refused() bool { return a.bad }

func (a at) refuse() at {
	a.bad = true
	return a
}

// text is a value with its place; it is empty when it is absent.
type text struct {
	at
	value string
}

type draftDomain struct {
	at
	name    text
	user    text // as whom it signs in; not bad and empty when it is not said
	urls    []text
	badURLs bool // the list was refused, or some of it
}

type draftLink struct {
	at
	n1, n2 text
	cost   int
}

type draftApp struct {
	at
	name, id, master, authURL text
	enabled                   at // where authEnabled stands
	authEnabled               bool
	ranges                    []draftRange
	badRanges                 bool // some were refused, so whether they fit together is not known
}

type draftRange struct {
	at
	domain   text
	from, to int64
	open     bool
}

// reader reads a description out of YAML nodes and notes what is wrong.
type reader struct {
	json     bool // types count, and nothing is passed over
	budget   int  // keys and items that may yet be read
	rules    []AppRule
	problems Problems
	notices  []string
}

func (r *reader) refuse(line int, entry, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: line, Entry: entry, Text: fmt.Sprintf(format, args...)})
}

func (r *reader) refuseAt(a at, format string, args ...any) {
	r.refuse(a.line, a.entry, format, args...)
}

func (r *reader) notice(a at, format string, args ...any) {
	if len(r.notices) < maxProblems {
		r.notices = append(r.notices, Problem{Line: a.line, Entry: a.entry, Text: fmt.Sprintf(format, args...)}.Error())
	}
}

// document reads the whole.
func (r *reader) document(root *yaml.Node) draft {
	var d draft
	known := []string{"domains", "domainLinks", "clientApps"}
	passed := []string{"spring", "server"} // of files that were written for another system
	if r.json {
		known, passed = append(known, "version"), nil
	}
	versioned := false
	for _, f := range r.fields(&at{line: root.Line}, root, known, passed) {
		switch f.name {
		case "domains":
			d.lines.domains = f.line
			d.domains = readList(r, f, MaxDomains, r.domain)
		case "domainLinks":
			d.lines.links = f.line
			d.links = readList(r, f, MaxLinks, r.link)
		case "clientApps":
			d.apps = readList(r, f, MaxApps, r.app)
		case "version":
			number, ok := r.number(f.at, f.value)
			if ok && number > MaxVersion {
				r.refuseAt(f.at, "%d is more than %d, the greatest version", number, int64(MaxVersion))
			}
			d.version, versioned = uint64(number), true
		case "spring", "server":
			r.notice(f.at, "passed over: it means nothing here")
		}
	}
	if r.json && !versioned {
		r.refuse(root.Line, "version", "is required: a meta server numbers what it serves")
	}
	return d
}

func (r *reader) domain(a at, n *yaml.Node) draftDomain {
	d := draftDomain{at: a, name: absent(a, "name")}
	for _, f := range r.fields(&d.at, n, []string{"name", "urls", "linkUser"}, nil) {
		switch f.name {
		case "name":
			d.name = r.text(f.at, f.value)
		case "urls":
			before := len(r.problems)
			d.urls = readList(r, f, MaxURLs, r.text)
			d.badURLs = len(r.problems) > before
		case "linkUser":
			d.user = r.text(f.at, f.value)
		}
	}
	return d
}

func (r *reader) link(a at, n *yaml.Node) draftLink {
	l := draftLink{at: a, cost: 1, n1: absent(a, "n1"), n2: absent(a, "n2")}
	for _, f := range r.fields(&l.at, n, []string{"n1", "n2", "cost"}, nil) {
		switch f.name {
		case "n1":
			l.n1 = r.text(f.at, f.value)
		case "n2":
			l.n2 = r.text(f.at, f.value)
		case "cost":
			number, ok := r.number(f.at, f.value)
			if ok && (number < 1 || number > MaxCost) {
				r.refuseAt(f.at, "%d is no cost of a link: write 1 to %d, or leave it out for 1", number, MaxCost)
			}
			l.cost = int(min(number, MaxCost))
		}
	}
	return l
}

func (r *reader) app(a at, n *yaml.Node) draftApp {
	// Only what is written lets anyone in.
	d := draftApp{at: a, name: absent(a, "appName"), id: absent(a, "appId"), enabled: absent(a, "authEnabled").at, authEnabled: true}
	known := []string{"appName", "appId", "masterUserId", "authUrl", "authEnabled", "userDistributions"}
	for _, f := range r.fields(&d.at, n, known, nil) {
		switch f.name {
		case "appName":
			d.name = r.text(f.at, f.value)
		case "appId":
			d.id = r.text(f.at, f.value)
		case "masterUserId":
			d.master = r.text(f.at, f.value)
		case "authUrl":
			d.authURL = r.text(f.at, f.value)
		case "authEnabled":
			d.enabled, d.authEnabled = f.at, r.boolean(f)
		case "userDistributions":
			before := len(r.problems)
			d.ranges = readList(r, f, MaxRanges, r.span)
			d.badRanges = len(r.problems) > before
		}
	}
	return d
}

// span reads a range.
func (r *reader) span(a at, n *yaml.Node) draftRange {
	d := draftRange{at: a, domain: absent(a, "domainName"), open: true}
	from, before := false, len(r.problems)
	for _, f := range r.fields(&d.at, n, []string{"domainName", "from", "to"}, nil) {
		switch f.name {
		case "domainName":
			d.domain = r.text(f.at, f.value)
		case "from":
			d.from, _ = r.number(f.at, f.value)
			from = true
		case "to":
			d.to, _ = r.number(f.at, f.value)
			d.open = false
		}
	}
	if len(r.problems) > before {
		return d
	}
	if !from {
		r.refuse(a.line, a.entry+".from", "is required: write the first number of the range")
	} else if !d.open && d.to < d.from {
		r.refuseAt(a, "is reversed: it goes from %d to %d; write the lesser number as from (to is part of the range)", d.from, d.to)
	}
	return d
}

func absent(a at, key string) text { return text{at: at{line: a.line, entry: a.entry + "." + key}} }

// field is one entry of a mapping, with a value that is not null.
type field struct {
	at
	name  string
	value *yaml.Node
}

// fields returns the entries of a mapping that are known or passed over, and not
// null. It notes unknown and repeated keys. What is no mapping is refused as a
// whole.
func (r *reader) fields(a *at, n *yaml.Node, known, passed []string) []field {
	if n.Kind != yaml.MappingNode {
		r.refuse(a.line, a.entry, "must be keys with values (%s), not %s", strings.Join(known, ", "), kindOf(n))
		a.bad = true
		return nil
	}
	var list []field
	seen := map[string]int{} // their lines
	for i := 0; i+1 < len(n.Content) && r.spend(n.Content[i].Line, a.entry); i += 2 {
		key := n.Content[i]
		f := field{name: key.Value, value: resolve(n.Content[i+1])}
		f.line, f.entry = key.Line, entryOf(a.entry, key)
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, f.name) && !slices.Contains(passed, f.name):
			r.refuseAt(f.at, "unknown key: %s keys here are %s", cmp.Or(meant(f.name, known), "take it away; the"), strings.Join(known, ", "))
		case seen[f.name] > 0:
			r.refuseAt(f.at, "is set twice: line %d sets it already; take one of them away", seen[f.name])
		default:
			seen[f.name] = f.line
			if !isNull(f.value) {
				list = append(list, f)
			}
		}
	}
	return list
}

// meant asks for the key that may be meant, before the list of all; nothing when none is
// near.
func meant(name string, known []string) string {
	near := strings.TrimPrefix(nearest(name, known), "; ")
	if near == "" {
		return ""
	}
	return near + " The"
}

// entryOf names the entry of a key. A stranger's key may be anything.
func entryOf(parent string, key *yaml.Node) string {
	name := key.Value
	if key.Kind != yaml.ScalarNode || name == "" || len(name) > MaxName || strings.Trim(name, letters+"0123456789_-<") != "" {
		name = quote(name)
	}
	if parent == "" {
		return name
	}
	return parent + "." + name
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// readList reads each item of a list, and leaves out those that are nothing to
// be read: null, or not what the others are.
func readList[T interface{ refused() bool }](r *reader, f field, most int, read func(at, *yaml.Node) T) []T {
	if f.value.Kind != yaml.SequenceNode {
		r.refuse(f.value.Line, f.entry, "must be a list (each item begins with -), not %s", kindOf(f.value))
		return nil
	}
	if n := len(f.value.Content); n > most {
		r.refuseAt(f.at, "has %d entries: at most %d are possible", n, most)
		return nil
	}
	list := make([]T, 0, len(f.value.Content))
	for i, item := range f.value.Content {
		a := at{line: item.Line, entry: f.entry + "[" + strconv.Itoa(i) + "]"}
		if !r.spend(a.line, a.entry) {
			return list
		}
		if item = resolve(item); isNull(item) {
			r.refuseAt(a, "is empty: fill it in, or take the line away")
			continue
		}
		if one := read(a, item); !one.refused() {
			list = append(list, one)
		}
	}
	return list
}

// spend takes a node off the budget. Aliases of aliases make a short file
// long.
func (r *reader) spend(line int, entry string) bool {
	if r.budget == 0 {
		r.refuse(line, entry, "the aliases (*name) before this make the description too large: write out what is meant")
	}
	r.budget--
	return r.budget >= 0 && !r.full()
}

// full says that nothing more is looked for: it would not be said.
func (r *reader) full() bool { return len(r.problems) >= 10*maxProblems }

func (r *reader) text(a at, n *yaml.Node) text {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.refuseAt(a, "must be a single value, not %s", kindOf(n))
		return text{at: a.refuse()}
	case r.json && n.Tag != tagText:
		r.refuseAt(a, "must be a string")
		return text{at: a.refuse()}
	}
	return text{at: a, value: n.Value}
}

// number reads a whole number from 0 on.
func (r *reader) number(a at, n *yaml.Node) (int64, bool) {
	if n.Kind != yaml.ScalarNode || r.json && n.Tag != tagNumber {
		r.refuseAt(a, "must be a number, not %s", kindOf(n))
		return 0, false
	}
	digits := n.Value
	if !r.json && digits != "" && digits[0] != '_' { // YAML lets one write 1_000_000
		digits = strings.ReplaceAll(digits, "_", "")
	}
	number, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case isDigits(strings.TrimPrefix(digits, "-")) && strings.HasPrefix(digits, "-") && number != 0:
		r.refuseAt(a, "%s is negative: write a number from 0 on", quote(n.Value))
	case isDigits(digits) && err != nil:
		r.refuseAt(a, "%s is too great: the greatest number is 9223372036854775807", quote(n.Value))
	case !isDigits(digits) || len(digits) > 1 && digits[0] == '0':
		r.refuseAt(a, "%s is not a whole number: write decimal digits, without leading zeros", quote(n.Value))
	default:
		return number, true
	}
	return 0, false
}

// boolean reads a switch; one that cannot be read is true.
func (r *reader) boolean(f field) bool {
	v := f.value
	if v.Kind != yaml.ScalarNode || r.json && v.Tag != tagBool || v.Value != "true" && v.Value != "false" {
		r.refuseAt(f.at, "must be true or false")
		return true
	}
	return v.Value == "true"
}

// kindOf says what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}
