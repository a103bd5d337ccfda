package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Roles that a node may have.
const (
	RoleConnector = "connector" // sockets and HTTP, for clients
	RoleProcessor = "processor" // keepers: what is stored
)

// Roles returns all of them.
func Roles() []string { return []string{RoleConnector, RoleProcessor} }

// Cluster says how this node makes one cluster with others. Without a Name it is
// alone.
type Cluster struct {
	Name      string        `yaml:"name"`      // the same on all nodes
	Node      string        `yaml:"node"`      // this node's; empty: the host's name
	Listen    string        `yaml:"listen"`    // host:port for the other nodes
	Advertise string        `yaml:"advertise"` // host:port that they are told; empty: as Listen
	Peers     []string      `yaml:"peers"`     // host:port of the others; itself among them does no harm
	Secret    Secret        `yaml:"secret"`    // the same on all nodes
	TLS       TLS           `yaml:"tls"`       // all three, or none
	Shards    int           `yaml:"shards"`    // fixed when the cluster is formed
	Replicas  int           `yaml:"replicas"`  // 0: as Copies says
	Lease     time.Duration `yaml:"lease"`     // the same on all nodes

	// AskTimeout is how long whoever asks for the nodes waits for them at most.
	AskTimeout time.Duration `yaml:"askTimeout"`
}

// NATS says which NATS is used instead of the embedded one. Without a URL there is
// none.
type NATS struct {
	URL            string `yaml:"url"`            // nats://, tls://, ws:// or wss://; several with commas
	Credentials    string `yaml:"credentials"`    // file, or empty
	TLS            TLS    `yaml:"tls"`            // CA alone, or with Cert and Key
	Prefix         string `yaml:"prefix"`         // of all subjects and streams
	Replicas       int    `yaml:"replicas"`       // of each stream; 0: 3 where it is a cluster of three or more, else 1
	AcceptUnsynced bool   `yaml:"acceptUnsynced"` // it need not show that it syncs what it stores

	// SystemURL and SystemCredentials are of a user of its system account, who is asked
	// whether it syncs what it stores. Without the first it is URL; both may be empty.
	SystemURL         string `yaml:"systemUrl"`
	SystemCredentials string `yaml:"systemCredentials"`

	// Of the embedded one: where clients read the journal, and how they sign in. TLS is
	// what they are shown; with a CA they need a certificate, too.
	Listen   string `yaml:"listen"` // host:port, or empty
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
}

// TLS names files in PEM; none of them is needed.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	CA   string `yaml:"ca"`
}

// Clustered says whether this node makes a cluster with others.
func (s Settings) Clustered() bool { return s.Cluster.Name != "" }

// Shared says whether this node shares its store with others, or may: it makes a
// cluster with them, or uses a NATS that they may use, too.
func (s Settings) Shared() bool { return s.Clustered() || s.NATS.URL != "" }

// Has says whether the node has a role.
func (s Settings) Has(role string) bool { return slices.Contains(s.Roles, role) }

// NodeName returns the node's name: as it is set, or else the host's, as far as it
// can be one.
func (s Settings) NodeName() string {
	if s.Cluster.Node != "" {
		return s.Cluster.Node
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "node"
	}
	name := []byte(host[:min(len(host), maxNodeName)])
	for i, c := range name {
		if !nameByte(c) {
			name[i] = '-'
		}
	}
	return string(name)
}

// Copies returns how many replicas of everything there are: as it is set, or else
// three where there are three processors or more, two where there are two, one where
// there is one: what there is at first; more come by themselves with the processors. A single peer that is a name stands for any number of them, as that of
// a headless service does, and counts for three, unless it is this node's own.
func (s Settings) Copies() int {
	c := s.Cluster
	processors := c.nodes()
	if !s.Has(RoleProcessor) {
		processors-- // this one
	}
	switch {
	case c.Replicas > 0:
		return c.Replicas
	case c.oneName() && !c.Sole():
		return 3
	}
	return min(processors, 3)
}

// oneName says whether the peers are one name that stands for all.
func (c Cluster) oneName() bool {
	if len(c.Peers) != 1 {
		return false
	}
	host, _, _ := net.SplitHostPort(c.Peers[0])
	_, err := netip.ParseAddr(host)
	return err != nil && host != "localhost"
}

// nodes returns how many nodes are named, this one included, as far as one can
// tell.
func (c Cluster) nodes() int {
	if slices.ContainsFunc(c.Peers, c.own) {
		return len(c.Peers)
	}
	return len(c.Peers) + 1
}

// Sole says whether the only peer that is named is this node itself: no other keeps
// what is stored.
func (c Cluster) Sole() bool { return len(c.Peers) == 1 && c.own(c.Peers[0]) }

// own says whether a peer's address is this node's, as far as one can tell.
func (c Cluster) own(peer string) bool {
	host, port, _ := net.SplitHostPort(peer)
	for _, address := range []string{c.Advertise, c.Listen} {
		h, p, err := net.SplitHostPort(address)
		named := h == host || loopback(address) && loopback(peer) || c.Node != "" && (host == c.Node || strings.HasPrefix(host, c.Node+"."))
		if err == nil && p == port && named {
			return true
		}
	}
	return false
}

// OpenCluster says whether what the nodes say to each other can be read on the
// way: it leaves this machine, and is not encrypted.
func (s Settings) OpenCluster() bool {
	return s.Clustered() && s.Cluster.TLS == (TLS{}) && !loopback(s.Cluster.Listen)
}

// Config reads the files; nil when there are none. Both ends show a certificate
// of the CA where there is a Cert.
func (t TLS) Config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := readRegular(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ca: %s holds no certificate in PEM", t.CA)
		}
		c.RootCAs, c.ClientCAs, c.ClientAuth = pool, pool, tls.RequireAndVerifyClientCert
	}
	if t.Cert != "" || t.Key != "" {
		cert, err := readRegular(t.Cert)
		if err != nil {
			return nil, fmt.Errorf("read cert: %w", err)
		}
		key, err := readRegular(t.Key)
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("%s and %s are no certificate and its key: %w", t.Cert, t.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// readRegular reads a file, and nothing that could have one wait.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

const maxNodeName = 64

// nameByte says whether a byte may be part of a cluster's, a node's or a prefix's
// name: all of them become parts of names in NATS.
func nameByte(c byte) bool { return c == '-' || validAppName(string(c)) }

func validName(text string) bool {
	for i := range len(text) {
		if !nameByte(text[i]) {
			return false
		}
	}
	return text != "" && len(text) <= maxNodeName
}

// checkName checks a name of ours.
func checkName(text string) error {
	if text != "" && !validName(text) {
		return fmt.Errorf("%q is no name: 1 to %d letters, digits, _ and -", text, maxNodeName)
	}
	return nil
}

// parsePeer checks the address of another node.
func parsePeer(text string) (string, error) {
	if strings.Contains(text, "://") {
		return "", fmt.Errorf("%q is not host:port: leave %s out", text, text[:strings.Index(text, "://")+3])
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port, as in node2:7088: the port is that of cluster.listen there", text)
	}
	if err := checkAddress(text); err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return "", fmt.Errorf("%q names no host that could be reached", text)
	}
	if n, _ := strconv.Atoi(port); n == 0 {
		return "", fmt.Errorf("%q names no port: it must be one that the others can know", text)
	}
	return net.JoinHostPort(strings.ToLower(host), port), nil
}

// parseRole checks a role.
func parseRole(text string) (string, error) {
	if !slices.Contains(Roles(), text) {
		return "", fmt.Errorf("%q is none of all, %s%s", text, strings.Join(Roles(), ", "), DidYouMean(text, append(Roles(), "all")))
	}
	return text, nil
}

// natsSchemes are those that a client of NATS knows.
var natsSchemes = []string{"nats", "tls", "ws", "wss"}

// checkNATS checks the URLs of NATS servers. What is wrong is said without them:
// they may carry a password.
func checkNATS(text string) error {
	for _, one := range splitList(text) {
		u, err := url.Parse(one)
		switch {
		case err != nil || u.Scheme == "" || u.Host == "":
			return errors.New("is not a URL such as nats://nats.example:4222, or several with commas between them")
		case !slices.Contains(natsSchemes, u.Scheme):
			return fmt.Errorf("begins with %s://: a URL of NATS begins with nats://, tls://, ws:// or wss://", u.Scheme)
		case checkPort(u.Port()) != nil || u.Hostname() == "":
			return errors.New("has no valid host and port, as nats://nats.example:4222 has")
		case u.RawQuery != "" || u.Fragment != "":
			return errors.New("must not have a query or a fragment (?… or #…)")
		}
	}
	return nil
}

// leastClusterSecret is how long the secret of a cluster must be: whoever has it
// reads and writes everything.
const leastClusterSecret = 32

// checkCluster notes what is wrong with how the node makes a cluster.
func (c *checker) checkCluster(s Settings) {
	k := s.Cluster
	if !s.Clustered() {
		for _, one := range []struct {
			key string
			is  bool
		}{
			{"peers", len(k.Peers) > 0}, {"secret", k.Secret != ""},
			{"advertise", k.Advertise != ""}, {"tls.cert", k.TLS.Cert != ""},
		} {
			if one.is {
				c.refuseBy("cluster."+one.key, "cluster.name", "is required: without it this node makes no cluster, and cluster.%s means nothing", one.key)
				return
			}
		}
		return
	}
	if s.NATS.URL != "" {
		c.refuse(c.firstSet("nats.url", "cluster.name"), "nats.url and cluster.name exclude each other: nodes meet on a NATS that there is, or make a cluster of their own")
	}
	switch {
	case k.Secret == "":
		c.refuseBy(c.firstSet("cluster.name", "cluster.peers"), "cluster.secret", "is required: the same on all nodes, at least %d bytes, as openssl rand -hex 32 makes", leastClusterSecret)
	case len(k.Secret) < leastClusterSecret:
		c.refuse("cluster.secret", "is too short: whoever has it can read and write everything; at least %d bytes, as openssl rand -hex 32 makes", leastClusterSecret)
	}
	if len(k.Peers) == 0 {
		c.refuseBy("cluster.name", "cluster.peers", "is required: host:port of the other nodes, or one name that stands for all of them")
	}
	c.checkPeers(s)
	c.checkClusterListen(s)
	c.checkTLS("cluster.tls", k.TLS, true)
}

// checkPeers notes what is wrong with the others' addresses.
func (c *checker) checkPeers(s Settings) {
	k := s.Cluster
	_, clients, _ := net.SplitHostPort(s.Listen)
	_, own, _ := net.SplitHostPort(k.Listen)
	for i, peer := range k.Peers {
		_, port, _ := net.SplitHostPort(peer)
		switch {
		case slices.Contains(k.Peers[:i], peer):
			c.refuse("cluster.peers", "%q is named twice", peer)
		case port == clients && port != own:
			c.refuse("cluster.peers", "%q has the port where clients connect (listen); nodes meet at that of cluster.listen, here %s", peer, own)
		}
	}
	if most := k.nodes(); k.Replicas > most && !k.oneName() && len(k.Peers) > 0 {
		c.refuse(c.firstSet("cluster.replicas", "cluster.peers"), "cluster.replicas is %d, but cluster.peers names %d nodes at most, this one included", k.Replicas, most)
	}
}

// checkClusterListen notes that the others could not reach this node.
func (c *checker) checkClusterListen(s Settings) {
	k := s.Cluster
	if _, port, err := net.SplitHostPort(k.Listen); err == nil && port == "0" {
		c.refuse("cluster.listen", "%q takes any free port, but the others have to know it", k.Listen)
	}
	for _, other := range []struct{ key, address string }{{"listen", s.Listen}, {"admin", s.Admin}} {
		if sameAddress(k.Listen, other.address) {
			c.refuse(c.firstSet("cluster.listen", other.key), "cluster.listen (%s) and %s (%s) want the same port", k.Listen, other.key, other.address)
		}
	}
	away := slices.IndexFunc(k.Peers, func(peer string) bool { return !loopback(peer) })
	if away >= 0 && loopback(k.Listen) {
		c.refuse(c.firstSet("cluster.listen", "cluster.peers"), "cluster.listen (%s) can be reached from this machine only, and %s is on another", k.Listen, k.Peers[away])
	}
	if k.Advertise != "" {
		if _, err := parsePeer(k.Advertise); err != nil {
			c.refuse("cluster.advertise", "%s", err)
		}
	}
}

// checkTLS notes what is wrong with certificates; mutual says that both ends need
// one.
func (c *checker) checkTLS(key string, t TLS, mutual bool) {
	files := map[string]string{"cert": t.Cert, "key": t.Key, "ca": t.CA}
	for _, name := range []string{"cert", "key", "ca"} {
		needed := mutual && t != TLS{} || name == "key" && t.Cert != "" || name == "cert" && t.Key != ""
		if needed && files[name] == "" {
			c.refuseBy(c.firstSet(key+".cert", key+".key", key+".ca"), key+"."+name, "is required beside the others")
			return
		}
	}
	if _, err := t.Config(); err != nil {
		c.refuseBy(c.firstSet(key+".cert", key+".ca", key+".key"), key, "%s", err)
	}
}

// checkNATSUse notes what is wrong with how an existing NATS is used.
func (c *checker) checkNATSUse(s Settings) {
	n := s.NATS
	if n.URL == "" {
		for _, one := range []struct {
			key string
			is  bool
		}{
			{"credentials", n.Credentials != ""}, {"acceptUnsynced", n.AcceptUnsynced}, {"systemUrl", n.SystemURL != ""}, {"systemCredentials", n.SystemCredentials != ""}, {"tls.ca", n.TLS.CA != "" && n.Listen == ""}, {"tls.cert", n.TLS.Cert != "" && n.Listen == ""},
		} {
			if one.is {
				c.refuseBy("nats."+one.key, "nats.url", "is required: without it the embedded NATS is used, and nats.%s means nothing", one.key)
				return
			}
		}
		c.checkReaders(s)
		return
	}
	if n.Listen != "" {
		c.refuse(c.firstSet("nats.listen", "nats.url"), "nats.listen is a door of the embedded NATS, and with nats.url there is none: let who reads the journal connect to that one")
	}
	if n.Prefix == "" {
		c.refuse("nats.prefix", "is required, with 1 to %d letters, digits, _ and -", maxNodeName)
	}
	for _, f := range []struct{ key, file string }{{"credentials", n.Credentials}, {"systemCredentials", n.SystemCredentials}} {
		if f.file == "" {
			continue
		}
		if _, err := readRegular(f.file); err != nil {
			c.refuse("nats."+f.key, "cannot be read: %s", err)
		}
	}
	c.checkTLS("nats.tls", n.TLS, false)
}

// checkRoles notes a node that could do nothing by itself.
func (c *checker) checkRoles(s Settings) {
	if len(s.Roles) == 0 {
		c.refuse("roles", "must name at least one of %s", strings.Join(Roles(), ", "))
	}
	if len(s.Roles) == 1 && !s.Clustered() && s.NATS.URL == "" {
		other := Roles()[1-slices.Index(Roles(), s.Roles[0])]
		c.refuse("roles", "is %s alone, but there is no other node that could be a %s: that takes cluster or nats", s.Roles[0], other)
	}
}

// refuseBy notes a problem with a key at the place of another one.
func (c *checker) refuseBy(place, key, format string, args ...any) {
	at := c.places[place]
	c.problems = append(c.problems, Problem{Place: at, Key: key, Text: fmt.Sprintf(format, args...)})
}

func clusterKeys() []Key {
	key := func(name, kind, def, what string, field func(*Cluster) any) Key {
		return Key{Name: "cluster." + name, Kind: kind, Default: def, What: what, optional: def == "", field: func(s *Settings) any { return field(&s.Cluster) }}
	}
	bounded := func(k Key, low, high int64) Key {
		k.Min, k.Max = low, high
		return k
	}
	return []Key{
		key("name", kindText, "", "The cluster's name, the same on all nodes: 1 to 64 letters, digits, _ and -. Without it the nodes make no cluster of their own; of what stands here node and askTimeout count in any case, and shards and lease with nats, too.",
			func(c *Cluster) any { return &c.Name }),
		key("node", kindText, "", "This node's name, which it keeps, as no other node has it: 1 to 64 letters, digits, _ and -. The host's name if absent.",
			func(c *Cluster) any { return &c.Node }),
		key("listen", kindAddress, "0.0.0.0:7088", "Where the other nodes connect. Keep it off the public network.",
			func(c *Cluster) any { return &c.Listen }),
		key("advertise", kindAddress, "", "Where the other nodes are told to connect, if it is not where this one listens.",
			func(c *Cluster) any { return &c.Advertise }),
		key("peers", kindPeers, "", "host:port of the nodes' cluster.listen; the same list may stand on all nodes. Or one name with a port that stands for all of them, as that of a headless service does.",
			func(c *Cluster) any { return &c.Peers }),
		key("secret", kindSecret, "", "What the nodes know each other by, the same on all, at least 32 bytes: whoever has it can read and write everything.",
			func(c *Cluster) any { return &c.Secret }),
		key("tls.cert", kindFile, "", "File with this node's certificate, in PEM, which names its address. With it the nodes talk over TLS, and each shows its own.",
			func(c *Cluster) any { return &c.TLS.Cert }),
		key("tls.key", kindFile, "", "File with its key.",
			func(c *Cluster) any { return &c.TLS.Key }),
		key("tls.ca", kindFile, "", "File with the certificates of who signed those of all nodes.",
			func(c *Cluster) any { return &c.TLS.CA }),
		bounded(key("shards", kindCount, "6", "Into how many parts users are divided, each kept by one node at a time. Fixed when the cluster is formed.",
			func(c *Cluster) any { return &c.Shards }), 1, 64),
		bounded(key("replicas", kindCount, "", "How many nodes have everything that is stored. If absent as many as processors are named, three at most (one name that stands for all counts as three), and more by themselves as processors come, up to three; never fewer again.",
			func(c *Cluster) any { return &c.Replicas }), 1, 5),
		bounded(key("lease", kindDuration, "6s", "How long a node that is not heard of counts as alive; the same on all nodes. A node that cannot make itself heard for four fifths of it closes its sessions.",
			func(c *Cluster) any { return &c.Lease }), int64(time.Second), int64(time.Minute)),
		bounded(key("askTimeout", kindDuration, "5s", "Within what time GET /cluster and GET /v1/cluster answer, however slow other nodes are. What is not known by then is left out.",
			func(c *Cluster) any { return &c.AskTimeout }), int64(100*time.Millisecond), int64(time.Minute)),
	}
}

func natsKeys() []Key {
	key := func(name, kind, def, what string, field func(*NATS) any) Key {
		return Key{Name: "nats." + name, Kind: kind, Default: def, What: what, optional: def == "", field: func(s *Settings) any { return field(&s.NATS) }}
	}
	replicas := key("replicas", kindCount, "", "How many servers have everything that is stored. If absent three where it is a cluster of three or more, else one.",
		func(n *NATS) any { return &n.Replicas })
	replicas.Min, replicas.Max = 1, 5
	return append([]Key{
		key("url", kindNATS, "", "A NATS with JetStream that there is, instead of the embedded one, such as nats://nats.example:4222; several servers with commas. Nodes with the same NATS and prefix make one cluster.",
			func(n *NATS) any { return &n.URL }),
		key("credentials", kindFile, "", "File with credentials for it (.creds).",
			func(n *NATS) any { return &n.Credentials }),
		key("tls.cert", kindFile, "", "File with this node's certificate, in PEM, where it asks for one; or which clients at nats.listen are shown.",
			func(n *NATS) any { return &n.TLS.Cert }),
		key("tls.key", kindFile, "", "File with its key.",
			func(n *NATS) any { return &n.TLS.Key }),
		key("tls.ca", kindFile, "", "File with the certificates of who signed its own. The system's if absent. At nats.listen: who signed those that clients have to show; they show none if absent.",
			func(n *NATS) any { return &n.TLS.CA }),
		key("prefix", kindText, "sb", "What the names of all its subjects and streams begin with: 1 to 64 letters, digits, _ and -. Two installations on one NATS take two.",
			func(n *NATS) any { return &n.Prefix }),
		replicas,
		key("acceptUnsynced", kindSwitch, "false", "Whether a NATS is good that does not show that it syncs what it stores before it says so (sync_interval: always). What was acknowledged may be lost in a power cut then.",
			func(n *NATS) any { return &n.AcceptUnsynced }),
		key("systemUrl", kindNATS, "", "URL, with name and password, of a user of its system account, who is asked at the start whether it syncs what it stores. If absent nats.url.",
			func(n *NATS) any { return &n.SystemURL }),
		key("systemCredentials", kindFile, "", "File with credentials (.creds) of such a user.",
			func(n *NATS) any { return &n.SystemCredentials }),
	}, readersKeys()...)
}
