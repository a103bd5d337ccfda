package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// setting is one key of a settings file.
type setting struct {
	key      string
	standard string // what holds when it is not set, as it would be written; empty for none
	put      func(config.Value)
}

// readSettings reads a file into where its keys put what they have. What goes on
// about it is asked of the document.
func readSettings(file string, keys []setting) (*config.Document, error) {
	names := make([]string, len(keys))
	puts := map[string]func(config.Value){}
	for i, k := range keys {
		names[i] = k.key
		puts[k.key] = k.put
	}
	d, err := config.ReadDocument(file, names)
	if err != nil {
		return nil, err
	}
	for _, v := range d.Values() {
		puts[v.Key](v)
	}
	return d, nil
}

func putText(to *string) func(config.Value) {
	return putChecked(to, func(string) error { return nil })
}

// checked takes a text that is good.
func putChecked(to *string, check func(string) error) func(config.Value) {
	return func(v config.Value) {
		text, ok := v.Text()
		if !ok {
			return
		}
		if err := check(text); err != nil {
			v.Refuse("%s", err)
			return
		}
		*to = text
	}
}

func putPath(to *string) func(config.Value) {
	return putChecked(to, func(text string) error {
		if text == "" || strings.ContainsRune(text, 0) {
			return errors.New("must name a file or folder")
		}
		return nil
	})
}

func putDuration(to *time.Duration, least, most time.Duration) func(config.Value) {
	return func(v config.Value) {
		if d, ok := v.Duration(least, most); ok {
			*to = d
		}
	}
}

func putSize(to *config.Bytes, least, most config.Bytes) func(config.Value) {
	return func(v config.Value) {
		if b, ok := v.Bytes(least, most); ok {
			*to = b
		}
	}
}

func putCount(to *int, least, most int) func(config.Value) {
	return func(v config.Value) {
		if n, ok := v.Count(least, most); ok {
			*to = n
		}
	}
}

func putAddress(to *string) func(config.Value) {
	return func(v config.Value) {
		if text, ok := v.Address(); ok {
			*to = text
		}
	}
}

func putBool(to *bool) func(config.Value) {
	return func(v config.Value) {
		if text, ok := v.Choice("true", "false"); ok {
			*to = text == "true"
		}
	}
}

func putChoice(to *string, choices ...string) func(config.Value) {
	return func(v config.Value) {
		if text, ok := v.Choice(choices...); ok {
			*to = text
		}
	}
}

// Bounds of settings.
const (
	maxPort      = 65535
	leastBeat    = 100 * time.Millisecond // keeps a mistyped time from loading the network server
	mostBeat     = time.Hour
	mostKeep     = 10 * 365 * 24 * time.Hour
	mostBytes    = config.Bytes(1) << 50
	mostFiles    = 1_000_000_000
	mostParallel = 1000
	mostSockets  = 100_000
)

// shared are the keys that all programs have.
func shared(a *Access, admin *string, l *config.Log) []setting {
	return []setting{
		{"secretFile", "", putPath(&a.SecretFile)},
		{"tls.cert", "", putPath(&a.TLS.Cert)},
		{"tls.key", "", putPath(&a.TLS.Key)},
		{"tls.ca", "", putPath(&a.TLS.CA)},
		{"admin", "", putAddress(admin)},
		{"log.level", "info", putChoice(&l.Level, "debug", "info", "warn", "error")},
		{"log.format", "text", putChoice(&l.Format, "text", "json")},
	}
}

// standardLog is how is logged when nothing is said.
func standardLog() config.Log { return config.Log{Level: "info", Format: "text"} }

// atNetwork are the keys of a program that knows a network server.
func atNetwork(n *AtNetwork) []setting {
	return []setting{
		{"network.server", "", putChecked(&n.Server, checkServer)},
		{"network.heartbeat", durationOf(DefaultHeartbeat), putDuration(&n.Heartbeat, leastBeat, mostBeat)},
	}
}

// durationOf writes a duration without parts that are zero.
func durationOf(d time.Duration) string {
	text := d.String()
	if cut, ok := strings.CutSuffix(text, "m0s"); ok {
		text = cut + "m"
	}
	if cut, ok := strings.CutSuffix(text, "h0m"); ok {
		text = cut + "h"
	}
	return text
}

// checkAccess notes what is wrong with how calls are guarded, and with the files that
// say so.
func checkAccess(d *config.Document, a Access) {
	if (a.TLS.Cert == "") != (a.TLS.Key == "") {
		d.Refuse("tls", "tls.cert and tls.key go together: give both, or none")
	}
	_, bad := a.readAll()
	for _, one := range bad {
		d.Refuse(one.key, "%s", one.err)
	}
}

// checkApart notes that the admin address is where another door of the program, set by a
// key, listens, too. Ports that are 0 are any.
func checkApart(d *config.Document, admin, key, host string, port int) {
	other, at := hostAndPort(admin)
	if at == 0 || at != port {
		return
	}
	a, b := loopbackOf(other), loopbackOf(host)
	if a == b || isAny(a) || isAny(b) {
		d.Refuse("admin", "is the address of %s, too: give it another port", key)
	}
}

// hostAndPort takes host:port apart; the port is 0 where there is none.
func hostAndPort(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(text) // what is no number was refused
	return host, port
}

// loopbackOf writes a host in one way, also that which stands for this machine.
func loopbackOf(host string) string {
	if host = strings.ToLower(plainHost(host)); host == "localhost" {
		return "127.0.0.1"
	}
	return host
}

// isAny says whether a host stands for all addresses of a machine.
func isAny(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

// checkFolder notes that a folder cannot be used, or cannot be made. Nothing is made.
func checkFolder(d *config.Document, key, folder string) {
	if folder == "" {
		return
	}
	at := filepath.Clean(folder)
	about, err := os.Stat(at)
	for ; errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); about, err = os.Stat(at) {
		above := filepath.Dir(at)
		if above == at {
			break
		}
		at = above
	}
	cannot := "it cannot be made: " + at
	if at == filepath.Clean(folder) {
		cannot = at
	}
	switch {
	case err != nil:
		d.Refuse(key, "%s", unreadable(at, err))
	case !about.IsDir():
		d.Refuse(key, "%s is not a folder", cannot)
	default:
		if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
			d.Refuse(key, "%s cannot be written: %s", cannot, err)
		}
	}
}

// checkID says what is wrong with the name of a member or a cluster.
func checkID(id string) error {
	switch {
	case id == "" || len(id) > maxID:
		return fmt.Errorf("must have 1 to %d bytes", maxID)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("must be UTF-8 without control characters")
	}
	return nil
}
