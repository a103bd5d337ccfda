package demo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// part is one process of the demo.
type part struct {
	name string
	does string   // what the table says
	args []string // of the part command of the program
}

// layout is where everything is: absolute paths, and addresses on this machine.
type layout struct {
	data    string // the folder of the demo
	chart   string // host:port
	static  bool
	network int            // port of the network server
	ports   map[string]int // of the collectors, with static; else the first that is given out is network+1
}

// hops are the services that take reports from a collector, in the order in which
// these pass them.
func hops() []string { return []string{"gateway", "visualize", "archive"} }

// services are all, the sensor too.
func services() []string { return append([]string{"sensor"}, hops()...) }

func (l layout) in(service string) string  { return filepath.Join(l.data, service, "in") }
func (l layout) out(service string) string { return filepath.Join(l.data, service, "out") }
func (l layout) warehouse() string         { return filepath.Join(l.data, "warehouse") }
func (l layout) config(program string) string {
	return filepath.Join(l.data, "config", program+".yaml")
}
func (l layout) log(part string) string { return filepath.Join(l.data, "log", part+".log") }

// networkPart is the network server.
const networkPart = "network"

// parts returns all processes, those first that others ask.
func (l layout) parts() []part {
	var list []part
	relay := func(name, does, program string) {
		list = append(list, part{name, does, []string{"relay", program, "--config", l.config(name)}})
	}
	if !l.static {
		relay(networkPart, "tells uploaders which collectors there are", "network")
	}
	for _, hop := range slices.Backward(hops()) {
		relay(hop+"-collector", "takes reports for "+hop, "collector")
	}
	list = append(list,
		part{"archive", "puts reports into a folder for their day", []string{"archive", "--in", l.in("archive"), "--out", l.warehouse()}},
		part{"visualize", "shows reports in the chart, and hands them on", []string{"visualize", "--in", l.in("visualize"), "--out", l.out("visualize"), "--listen", l.chart}},
		part{"gateway", "hands reports on", []string{"gateway", "--in", l.in("gateway"), "--out", l.out("gateway")}},
	)
	for i, hop := range slices.Backward(hops()) {
		relay(services()[i]+"-uploader", "sends reports from "+services()[i]+" to "+hop, "uploader")
	}
	return append(list, part{"sensor", "reports the load every second", []string{"sensor", "--folder", filepath.Join(l.data, "sensor"), "--out", l.out("sensor")}})
}

// write makes the folders, and the settings files of the relay's programs.
func (l layout) write() error {
	folders := []string{filepath.Dir(l.config("x")), filepath.Dir(l.log("x")), l.warehouse(), l.out("sensor")}
	for _, hop := range hops() {
		folders = append(folders, l.in(hop), l.out(hop))
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{}
	if !l.static {
		files[networkPart] = fmt.Sprintf("server: {address: 127.0.0.1, port: %d}\nclusters: {port: {start: %d}}\nexpireAfter: 5s\ndata: %s\n",
			l.network, l.network+1, strconv.Quote(filepath.Join(l.data, "network")))
	}
	for i, hop := range hops() {
		files[hop+"-collector"] = l.collector(hop)
		files[services()[i]+"-uploader"] = l.uploader(services()[i], hop)
	}
	for name, text := range files {
		file := l.config(name)
		if err := writeWhole(filepath.Dir(file), filepath.Base(file), []byte("# Written by switchboard demo relay at each start.\n"+text)); err != nil {
			return err
		}
	}
	return nil
}

// collector returns the settings of a service's collector.
func (l layout) collector(hop string) string {
	text := fmt.Sprintf("id: %s\naddress: 127.0.0.1\nspool: %s\n", idOf(hop), strconv.Quote(l.in(hop)))
	if l.static {
		return text + fmt.Sprintf("port: %d\n", l.ports[hop])
	}
	return text + fmt.Sprintf("network: {server: \"127.0.0.1:%d\", cluster: %s, heartbeat: 1s}\n", l.network, hop)
}

// uploader returns the settings of what sends a service's reports to the next.
func (l layout) uploader(service, hop string) string {
	text := fmt.Sprintf("spool: %s\nevery: 1s\nquiet: 0s\nnexthop:\n  - {pattern: \"%s*%s\", cluster: %s}\n", strconv.Quote(l.out(service)), reportPrefix, reportSuffix, hop)
	if l.static {
		return text + fmt.Sprintf("clusters:\n  %s:\n    - {id: %s, address: 127.0.0.1, port: %d}\n", hop, idOf(hop), l.ports[hop])
	}
	return text + fmt.Sprintf("network: {server: \"127.0.0.1:%d\", heartbeat: 1s}\n", l.network)
}

func idOf(hop string) string { return hop + "-1" }

// Ports that the demo takes: below those that systems give to connections.
const (
	firstPort  = 20_000
	lastPort   = 32_000
	portsInRow = 8 // the network server, the collectors, and some that these may have to avoid
	portTries  = 100
)

// freePorts returns the first of some ports in a row that nobody listens on now.
func freePorts() (int, error) {
	for range portTries {
		first := firstPort + rand.IntN(lastPort-firstPort)
		free := true
		for port := first; free && port < first+portsInRow; port++ {
			free = listens("127.0.0.1:"+strconv.Itoa(port)) == nil
		}
		if free {
			return first, nil
		}
	}
	return 0, fmt.Errorf("find no %d free ports in a row from %d to %d on 127.0.0.1", portsInRow, firstPort, lastPort)
}

// listens says why one cannot listen at an address.
func listens(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// chartAddress checks where the chart is to be, and gives it a port if it has none.
func chartAddress(listen string) (string, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || !loopback(host) {
		return "", &Wrong{fmt.Errorf("--listen %q: give a host and port of this machine alone, such as 127.0.0.1:8070", listen)}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return "", fmt.Errorf("the chart cannot be shown: %w; give --listen another address", err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(address)
	return net.JoinHostPort(host, port), err
}

// Wrong says that an option is wrong.
type Wrong struct{ cause error }

// Error implements error.
func (w *Wrong) Error() string { return w.cause.Error() }

// Unwrap returns what is wrong.
func (w *Wrong) Unwrap() error { return w.cause }

// layOut decides where everything is.
func layOut(data, listen string, static bool) (layout, error) {
	l := layout{static: static, ports: map[string]int{}}
	var err error
	if l.data, err = filepath.Abs(data); err != nil {
		return l, err
	}
	if strings.ContainsAny(l.data, "\n\r\x00") {
		return l, &Wrong{errors.New("--data: the name of a folder has no end of line in it")}
	}
	if l.chart, err = chartAddress(listen); err != nil {
		return l, err
	}
	if l.network, err = freePorts(); err != nil {
		return l, err
	}
	for i, hop := range hops() {
		l.ports[hop] = l.network + 1 + i
	}
	return l, nil
}
