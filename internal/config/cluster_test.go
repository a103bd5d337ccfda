package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	bigint "math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	clusterSecret = "0123456789abcdef0123456789abcdef"
	threeNodes    = "cluster:\n  name: chat\n  node: node1\n  peers: [node1:7088, node2:7088, node3:7088]\n  secret: " + clusterSecret + "\n"
)

func TestThreeNodesAreAFewLines(t *testing.T) {
	s := load(t, Sources{File: write(t, threeNodes)})
	c := s.Cluster
	if !s.Clustered() || s.NodeName() != "node1" || string(c.Secret) != clusterSecret || len(c.Peers) != 3 || c.Listen != "0.0.0.0:7088" {
		t.Errorf("%+v", c)
	}
	if c.Shards != 6 || s.Copies() != 3 || c.Lease != 6*time.Second || !s.OpenCluster() || !s.Has(RoleConnector) || !s.Has(RoleProcessor) {
		t.Errorf("%+v %v", c, s.Roles)
	}
	// The same by variables, as containers have them.
	s = load(t, Sources{Environ: []string{
		"SWITCHBOARD_CLUSTER_NAME=chat", "SWITCHBOARD_CLUSTER_PEERS=Switchboard.default.svc:7088", "SWITCHBOARD_CLUSTER_SECRET=" + clusterSecret,
		"SWITCHBOARD_ROLES=processor", "SWITCHBOARD_CLUSTER_PORT=tcp://10.0.0.1:7088",
	}})
	if !slices.Equal(s.Cluster.Peers, []string{"switchboard.default.svc:7088"}) || s.Copies() != 3 || s.Has(RoleConnector) || !validName(s.NodeName()) {
		t.Errorf("%+v %v", s.Cluster, s.Roles)
	}
	if alone := load(t, Sources{}); alone.Clustered() || alone.OpenCluster() || len(alone.Roles) != 2 {
		t.Errorf("%+v", alone)
	}
}

func TestThereAreAsManyReplicasAsMakeSense(t *testing.T) {
	for want, list := range map[int][]Cluster{
		1: {
			{Replicas: 1, Peers: []string{"a:1", "b:1"}},
			{Listen: "127.0.0.1:1", Peers: []string{"127.0.0.1:1"}},
			{Listen: ":7088", Advertise: "a.example:7088", Peers: []string{"a.example:7088"}},
		},
		2: {
			{Listen: "0.0.0.0:7088", Node: "a", Peers: []string{"a:7088", "b:7088"}},
			{Listen: "10.0.0.1:7088", Peers: []string{"10.0.0.1:7088", "10.0.0.2:7088"}},
			{Listen: ":7088", Peers: []string{"10.0.0.2:7088"}},
			{Listen: ":7088", Advertise: "x:1", Peers: []string{"x:1", "y:1"}},
			{Listen: "127.0.0.1:1", Peers: []string{"localhost:1", "localhost:2"}},
		},
		3: {
			{Listen: ":7088", Node: "a", Peers: []string{"b:7088", "c:7088"}},
			{Listen: ":7088", Node: "a", Peers: []string{"a.x:7088", "b.x:7088", "c.x:7088", "d.x:7088", "e.x:7088"}},
			{Listen: ":7088", Peers: []string{"switchboard:7088"}},
		},
	} {
		for _, c := range list {
			if got := (Settings{Cluster: c, Roles: Roles()}).Copies(); got != want {
				t.Errorf("%+v: %d, want %d", c, got, want)
			}
		}
	}
}

// A connector keeps nothing, and the peers are the processors.
func TestAConnectorIsNotAmongThoseThatHaveReplicas(t *testing.T) {
	for want, c := range map[int]Cluster{
		1: {Listen: ":7088", Node: "c", Peers: []string{"10.0.0.1:7088"}},
		2: {Listen: ":7088", Node: "c", Peers: []string{"a:7088", "b:7088", "c:7088"}},
		3: {Listen: ":7088", Node: "c", Peers: []string{"switchboard:7088"}},
	} {
		if got := (Settings{Cluster: c, Roles: []string{RoleConnector}}).Copies(); got != want {
			t.Errorf("%+v: %d, want %d", c, got, want)
		}
	}
}

func TestWhatIsWrongWithAClusterIsSaidAtItsLine(t *testing.T) {
	with := func(lines ...string) string {
		return "cluster: {" + strings.Join(append([]string{"name: chat", "peers: [a:7088, b:7088]", "secret: " + clusterSecret}, lines...), ", ") + "}"
	}
	for text, want := range map[string]string{
		"cluster: {peers: [a:7088]}":                    `cluster.name: is required: without it this node makes no cluster, and cluster.peers means nothing`,
		"cluster: {secret: " + clusterSecret + "}":      `cluster.name: is required: without it this node makes no cluster, and cluster.secret means nothing`,
		"cluster: {name: chat, peers: [a:7088]}":        `cluster.secret: is required: the same on all nodes, at least 32 bytes, as openssl rand -hex 32 makes`,
		with("name: chat"):                              `cluster.name: is set twice`,
		with("node: 'a b'"):                             `cluster.node: "a b" is no name: 1 to 64 letters, digits, _ and -`,
		with("listen: 0.0.0.0:0"):                       `cluster.listen: "0.0.0.0:0" takes any free port, but the others have to know it`,
		with("listen: 127.0.0.1:7088"):                  `cluster.listen: cluster.listen (127.0.0.1:7088) can be reached from this machine only, and a:7088 is on another`,
		with("listen: 0.0.0.0:9088"):                    `cluster.listen: cluster.listen (0.0.0.0:9088) and admin (127.0.0.1:9088) want the same port`,
		with("advertise: 0.0.0.0:7088"):                 `cluster.advertise: "0.0.0.0:7088" names no host that could be reached`,
		with("advertise: a"):                            `cluster.advertise: "a" is not host:port, as in 127.0.0.1:8088`,
		with("replicas: 4"):                             `cluster.replicas: cluster.replicas is 4, but cluster.peers names 3 nodes at most, this one included`,
		with("replicas: 0"):                             `cluster.replicas: 0 is too little: the least is 1`,
		with("shards: 65"):                              `cluster.shards: 65 is too much: the most is 64`,
		with("askTimeout: 2m"):                          `cluster.askTimeout: 2m is too much: the most is 1m`,
		with("lease: 500ms"):                            `cluster.lease: 500ms is too little: the least is 1s`,
		with("tls: {cert: a.pem}"):                      `cluster.tls.key: is required beside the others`,
		with("tls: {cert: a.pem, key: b.pem}"):          `cluster.tls.ca: is required beside the others`,
		with("tls: {crt: a.pem}"):                       `cluster.tls.crt: unknown key: did you mean cert?`,
		with("tls: {cert: none, key: none, ca: /none}"): `cluster.tls: read ca: stat /none: no such file or directory`,
		with("lease: 10s", "secrt: x"):                  `cluster.secrt: unknown key: did you mean secret?`,
		"cluster: {name: chat, peers: ['nats://a:7088'], secret: " + clusterSecret + "}": `cluster.peers: "nats://a:7088" is not host:port: leave nats:// out`,
		"cluster: {name: chat, peers: [node2], secret: " + clusterSecret + "}":           `cluster.peers: "node2" is not host:port, as in node2:7088: the port is that of cluster.listen there`,
		"cluster: {name: chat, peers: ['a:1,b:1'], secret: " + clusterSecret + "}":       `cluster.peers: "a:1,b:1" is not host:port: write each as an item of its own`,
		"cluster: {name: chat, peers: [a:7088, A:7088], secret: " + clusterSecret + "}":  `cluster.peers: "a:7088" is named twice`,
		"cluster: {name: chat, peers: [a:8088], secret: " + clusterSecret + "}":          `cluster.peers: "a:8088" has the port where clients connect (listen); nodes meet at that of cluster.listen, here 7088`,
		"cluster: {name: chat, peers: a:7088, secret: " + clusterSecret + "}":            `cluster.peers: must be a list`,
		"cluster: {name: chat, secret: " + clusterSecret + "}":                           `cluster.peers: is required: host:port of the other nodes, or one name that stands for all of them`,
		"cluster: chat": `cluster: must be keys with values (a mapping), not a single value; the keys are name, node, listen, advertise, peers, secret, tls, shards, replicas, lease, askTimeout`,
	} {
		expect(t, problems(t, Sources{File: write(t, text)}), "s.yaml:1: "+want)
	}
	got := problems(t, Sources{File: write(t, "cluster:\n  name: chat\n  secret: short\n")})
	expect(t, got,
		"s.yaml:2: cluster.peers: is required: host:port of the other nodes, or one name that stands for all of them",
		"s.yaml:3: cluster.secret: is too short: whoever has it can read and write everything; at least 32 bytes, as openssl rand -hex 32 makes")
	// By a flag, too.
	expect(t, problems(t, Sources{Flags: []Flag{{Name: "--set", Key: "cluster.peers", Value: "a:1"}}}),
		"--set: cluster.name: is required: without it this node makes no cluster, and cluster.peers means nothing")
}

func TestWhatIsWrongWithANATSIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		"nats: {url: 'nats.example:4222'}":                                                         `nats.url: is not a URL such as nats://nats.example:4222, or several with commas between them`,
		"nats: {url: nats.example}":                                                                `nats.url: is not a URL such as nats://nats.example:4222, or several with commas between them`,
		"nats: {url: 'http://a:4222'}":                                                             `nats.url: begins with http://: a URL of NATS begins with nats://, tls://, ws:// or wss://`,
		"nats: {url: 'nats://a:4222,nats://b:x'}":                                                  `nats.url: is not a URL such as nats://nats.example:4222, or several with commas between them`,
		"nats: {url: 'nats://a', prefix: a.b}":                                                     `nats.prefix: "a.b" is no name: 1 to 64 letters, digits, _ and -`,
		"nats: {url: 'nats://a', prefix: ''}":                                                      `nats.prefix: is required, with 1 to 64 letters, digits, _ and -`,
		"nats: {url: 'nats://a', credentials: /none}":                                              `nats.credentials: cannot be read: stat /none: no such file or directory`,
		"nats: {url: 'nats://a', credentials: /}":                                                  `nats.credentials: cannot be read: / is no file`,
		"nats: {url: 'nats://a', tls: {key: k}}":                                                   `nats.tls.cert: is required beside the others`,
		"nats: {credentials: c}":                                                                   `nats.url: is required: without it the embedded NATS is used, and nats.credentials means nothing`,
		"nats: {acceptUnsynced: true}":                                                             `nats.url: is required: without it the embedded NATS is used, and nats.acceptUnsynced means nothing`,
		"nats: {listen: '127.0.0.1:4222'}":                                                         `nats.password: is required beside nats.listen, with at least 16 bytes`,
		"nats: {listen: '127.0.0.1:4222', password: short}":                                        `nats.password: is required beside nats.listen, with at least 16 bytes`,
		"nats: {listen: '127.0.0.1:4222', password: 0123456789abcdef, user: ''}":                   `nats.user: must not be empty`,
		"nats: {password: 0123456789abcdef}":                                                       `nats.listen: is required: without it nobody connects, and nats.password means nothing`,
		"nats: {listen: '127.0.0.1:9088', password: 0123456789abcdef}":                             `nats.listen: nats.listen (127.0.0.1:9088) and admin (127.0.0.1:9088) want the same port`,
		"nats: {url: 'nats://a', listen: '127.0.0.1:4222', password: 0123456789abcdef}":            `nats.listen: nats.listen is a door of the embedded NATS, and with nats.url there is none: let who reads the journal connect to that one`,
		"nats: {listen: '127.0.0.1:4222', password: 0123456789abcdef, tls: {cert: /none, key: k}}": `nats.tls: read cert: stat /none: no such file or directory`,
		"nats: {acceptUnsynced: 1}":                                                                `nats.acceptUnsynced: "1" is neither true nor false`,
	} {
		expect(t, problems(t, Sources{File: write(t, text)}), "s.yaml:1: "+want)
	}
	expect(t, problems(t, Sources{File: write(t, threeNodes), Flags: []Flag{{Name: "--nats", Key: "nats.url", Value: "nats://a"}}}),
		"--nats: nats.url: nats.url and cluster.name exclude each other: nodes meet on a NATS that there is, or make a cluster of their own")
	load(t, Sources{File: write(t, "cluster: {node: node1, lease: 10s}\nnats: {url: 'nats://a'}")})
	if s := load(t, Sources{Flags: []Flag{{Name: "--nats", Key: "nats.url", Value: "nats://a:4222,tls://b"}, {Name: "--accept-unsynced", Key: "nats.acceptUnsynced", Value: "true"}}}); !s.NATS.AcceptUnsynced || s.NATS.Prefix != "sb" {
		t.Errorf("%+v", s.NATS)
	}
}

// A node alone is a member by some name, too.
func TestANodeAloneHasANameAndATimeToAnswer(t *testing.T) {
	s := load(t, Sources{Flags: []Flag{{Name: "--node", Key: "cluster.node", Value: "node1"}}})
	if s.NodeName() != "node1" || s.Shared() || s.Cluster.AskTimeout != 5*time.Second {
		t.Errorf("%q, %+v", s.NodeName(), s.Cluster)
	}
	if s := load(t, Sources{File: write(t, "cluster: {askTimeout: 300ms}")}); s.Cluster.AskTimeout != 300*time.Millisecond {
		t.Error(s.Cluster.AskTimeout)
	}
}

func TestRolesAreAllOrSome(t *testing.T) {
	for text, want := range map[string][]string{
		"roles: all": Roles(), "roles: [all]": Roles(), "roles: connector": {RoleConnector},
		"roles: [processor]": {RoleProcessor}, "roles: 'connector, processor'": Roles(),
	} {
		if s := load(t, Sources{File: write(t, threeNodes+text)}); !slices.Equal(s.Roles, want) {
			t.Errorf("%s: %v", text, s.Roles)
		}
	}
	for text, want := range map[string]string{
		"roles: [conector]":  `roles: "conector" is none of all, connector, processor: did you mean connector?`,
		"roles: []":          `roles: must name at least one of connector, processor`,
		"roles: [connector]": `roles: is connector alone, but there is no other node that could be a processor: that takes cluster or nats`,
		"roles: processor":   `roles: is processor alone, but there is no other node that could be a connector: that takes cluster or nats`,
	} {
		expect(t, problems(t, Sources{File: write(t, text)}), "s.yaml:1: "+want)
	}
}

func TestPasswordsOfAClusterAndOfNATSAreNotPrinted(t *testing.T) {
	s := load(t, Sources{File: write(t, threeNodes)})
	s.NATS.URL = "nats://me:hunter2@a:4222,nats://b:4222"
	text := string(s.YAML())
	if strings.Contains(text, clusterSecret) || strings.Contains(text, "hunter2") || !strings.Contains(text, "  secret: (hidden)\n") || !strings.Contains(text, "nats://me:xxxxx@a:4222,nats://b:4222") {
		t.Errorf("%s", text)
	}
	if text := fmt.Sprintf("%v %+v %#v", s.Cluster, s.Cluster, s.Cluster); strings.Contains(text, clusterSecret) {
		t.Error(text)
	}
	// What is wrong with a URL does not show it either.
	got := problems(t, Sources{File: write(t, "nats: {url: 'http://me:hunter2@a'}")})
	if strings.Contains(fmt.Sprint(got), "hunter2") {
		t.Error(got)
	}
}

// certificates makes the files of a node's certificate, which signs itself.
func certificates(t *testing.T) TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: bigint.NewInt(1), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"node1"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, kind string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return TLS{Cert: file("cert.pem", "CERTIFICATE", cert), Key: file("key.pem", "PRIVATE KEY", encoded), CA: file("ca.pem", "CERTIFICATE", cert)}
}

func TestCertificatesAreReadForBothDirections(t *testing.T) {
	files := certificates(t)
	c, err := files.Config()
	if err != nil || len(c.Certificates) != 1 || c.RootCAs == nil || c.ClientAuth != tls.RequireAndVerifyClientCert {
		t.Fatalf("%+v, %v", c, err)
	}
	s := load(t, Sources{File: write(t, threeNodes+fmt.Sprintf("  tls: {cert: %s, key: %s, ca: %s}\n", files.Cert, files.Key, files.CA))})
	if s.OpenCluster() || s.Cluster.TLS != files {
		t.Errorf("%+v", s.Cluster.TLS)
	}
	if c, err := (TLS{}).Config(); c != nil || err != nil {
		t.Error(c, err)
	}
	for _, bad := range []TLS{{Cert: files.Key, Key: files.Key, CA: files.CA}, {Cert: files.Cert, Key: files.Cert}, {CA: files.Key}, {CA: os.DevNull}} {
		if _, err := bad.Config(); err == nil {
			t.Errorf("%+v is good", bad)
		}
	}
}
