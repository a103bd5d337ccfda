package relay

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

func uploaderKeys(s *UploaderSettings) []setting {
	return slices.Concat([]setting{
		{"spool", "", putPath(&s.Spool)},
		{"nexthop", "", func(v config.Value) { s.NextHop = readRules(v) }},
		{"filter", "", func(v config.Value) { s.Filter = readFilter(v) }},
		{"maxConn", strconv.Itoa(DefaultMaxConn), putCount(&s.MaxConn, 1, mostParallel)},
		{"every", DefaultEvery, putChecked(&s.Every, func(text string) error { _, err := parseSchedule(text); return err })},
		{"quiet", durationOf(DefaultQuiet), putDuration(&s.Quiet, 0, time.Hour)},
		{"keepFor", durationOf(DefaultKeepFor), putDuration(&s.KeepFor, time.Second, mostKeep)},
	}, atNetwork(&s.Network), []setting{
		{"clusters", "", func(v config.Value) { s.Static = readClusters(v) }},
	}, shared(&s.Access, &s.Admin, &s.Log))
}

// DefaultUploader returns an uploader's settings when a file says nothing; what is required is missing.
func DefaultUploader() UploaderSettings {
	return UploaderSettings{
		MaxConn: DefaultMaxConn, Every: DefaultEvery, Quiet: DefaultQuiet, KeepFor: DefaultKeepFor,
		Network: AtNetwork{Heartbeat: DefaultHeartbeat}, Log: standardLog(),
	}
}

// ReadUploader reads an uploader's settings. clusters is a file of static clusters,
// see [ReadClusters], that takes the place of what the settings say of a network; it
// may be empty. What is wrong is [config.Problems].
func ReadUploader(file, clusters string) (UploaderSettings, error) {
	return readUploader(file, clusters, false)
}

// CheckUploader reads an uploader's settings and looks whether its folder can be used.
func CheckUploader(file, clusters string) error {
	_, err := readUploader(file, clusters, true)
	return err
}

func readUploader(file, clusters string, look bool) (UploaderSettings, error) {
	s := DefaultUploader()
	d, err := readSettings(file, uploaderKeys(&s))
	if err != nil {
		return UploaderSettings{}, err
	}
	if s.Spool == "" {
		d.Refuse("spool", "is required: the folder whose files are sent")
	}
	if len(s.NextHop) == 0 {
		d.Refuse("nexthop", "is required: which files go to which cluster")
	}
	var beside error
	switch {
	case clusters != "":
		s.Network.Server = ""
		s.Static, beside = ReadClusters(clusters)
	case d.Has("network.server") && d.Has("clusters"):
		d.Refuse("clusters", "network.server says which collectors there are: give either of them")
	case !d.Has("network.server") && !d.Has("clusters"):
		d.Refuse("network.server", "is required: or give clusters, or --network FILE")
	}
	where := "among clusters"
	if clusters != "" {
		where = "in " + clusters
	}
	for i, rule := range s.NextHop {
		if _, ok := s.Static[rule.Cluster]; len(s.Static) > 0 && !ok {
			near := config.DidYouMean(rule.Cluster, slices.Sorted(maps.Keys(s.Static)))
			d.Refuse(fmt.Sprintf("nexthop[%d].cluster", i), "there is no cluster %s %s%s", rule.Cluster, where, near)
		}
	}
	if look {
		checkFolder(d, "spool", s.Spool)
	}
	checkAccess(d, s.Access)
	if err := config.Join(d.Err(), beside); err != nil {
		return UploaderSettings{}, err
	}
	return s, nil
}

// ReadClusters reads static clusters: a file with the key clusters alone, as an
// uploader's settings may have it.
func ReadClusters(file string) (Clusters, error) {
	var c Clusters
	d, err := readSettings(file, []setting{{"clusters", "", func(v config.Value) { c = readClusters(v) }}})
	if err != nil {
		return nil, err
	}
	if len(c) == 0 {
		d.Refuse("clusters", "is required: the collectors of each cluster")
	}
	return c, d.Err()
}

// readRules reads which files go where: a list of patterns with their clusters, or
// patterns as the keys of a mapping.
func readRules(v config.Value) []Rule {
	var rules []Rule
	if v.IsMapping() {
		for _, e := range v.Entries() {
			if text, ok := e.Text(); ok {
				rules = addRule(rules, e.Value, Rule{e.Name, text})
			}
		}
		return rules
	}
	if !v.IsList() {
		v.Refuse("must be a list of patterns with their clusters, as in - {pattern: \"*.csv\", cluster: store}")
		return nil
	}
	for _, item := range v.Items() {
		if !isRule(item) {
			item.Refuse("must be {pattern: \"*.csv\", cluster: store}; or write all of nexthop without dashes, as \"*.csv\": store")
			continue
		}
		var rule Rule
		good := true
		for _, e := range item.Entries("pattern", "cluster") {
			text, ok := e.Text()
			good = good && ok
			if e.Name == "pattern" {
				rule.Pattern = text
			} else {
				rule.Cluster = text
			}
		}
		if good {
			rules = addRule(rules, item, rule)
		}
	}
	return rules
}

// isRule says whether an item of a list is meant as a rule: it has a key of one.
func isRule(item config.Value) bool {
	return item.HasKey("pattern") || item.HasKey("cluster")
}

func addRule(rules []Rule, v config.Value, r Rule) []Rule {
	if r.Pattern == "" || r.Cluster == "" {
		v.Refuse("needs a pattern and the cluster that its files go to, as {pattern: \"*.csv\", cluster: store}")
		return rules
	}
	if _, err := parsePattern(r.Pattern); err != nil {
		v.Refuse("%s", err)
		return rules
	}
	if i := slices.IndexFunc(rules, func(before Rule) bool { return before.covers(r) }); i >= 0 {
		v.Refuse("pattern %s: no file is left for it, the rule before it for %s takes them all: the first that matches counts", r.Pattern, rules[i].Pattern)
		return rules
	}
	if err := checkID(r.Cluster); err != nil {
		v.Refuse("cluster: %s", err)
		return rules
	}
	return append(rules, r)
}

// readFilter reads one pattern, or a list of them.
func readFilter(v config.Value) []string {
	items := []config.Value{v}
	if v.IsList() {
		items = v.Items()
	}
	var list []string
	for _, item := range items {
		text, ok := item.Text()
		if !ok {
			continue
		}
		if _, err := parsePattern(text); err != nil {
			item.Refuse("%s", err)
			continue
		}
		list = append(list, text)
	}
	return list
}

// readClusters reads the collectors of each cluster.
func readClusters(v config.Value) Clusters {
	all := Clusters{}
	for _, e := range v.Entries() {
		if err := checkID(e.Name); err != nil {
			e.Refuse("the name of a cluster %s", err)
		}
		members := map[string]Member{}
		places := map[string]bool{}
		for _, item := range e.Items() {
			id, m, ok := readMember(item)
			if !ok {
				continue
			}
			place := net.JoinHostPort(m.Address, strconv.Itoa(int(m.Port)))
			if id == "" {
				id = place
			}
			if _, twice := members[id]; twice || places[place] {
				item.Refuse("id %s, or its address and port, is in this cluster already", id)
			}
			members[id], places[place] = m, true
		}
		all[e.Name] = members
	}
	return all
}

// readMember reads one collector. Its ID may be missing.
func readMember(v config.Value) (id string, m Member, ok bool) {
	var port int
	checkAndPut := map[string]func(config.Value){
		"id": putChecked(&id, checkID), "address": putChecked(&m.Address, checkReached), "port": putCount(&port, 1, maxPort),
	}
	set := map[string]bool{}
	for _, e := range v.Entries("id", "address", "port") {
		set[e.Name] = true
		checkAndPut[e.Name](e.Value)
	}
	if !set["address"] || !set["port"] {
		v.Refuse("needs an address and a port")
		return "", m, false
	}
	m.Address = strings.Trim(m.Address, "[]")
	m.Port = Port(port)
	return id, m, m.Address != "" && port != 0
}
