package arch

import (
	"path"
	"slices"
	"strings"
)

// layer is a floor of the house. Imports only go down.
type layer string

const (
	command layer = "command" // cmd: flags, signals, exit codes
	hall    layer = "hall"    // node: sees all below it
	door    layer = "door"    // what the world connects to
	pipe    layer = "pipe"    // what we connect to
	room    layer = "room"    // a capability; a room never imports a room
	wire    layer = "wire"    // the protocol
	cellar  layer = "cellar"  // knows nothing of the product
	client  layer = "client"  // the Go client
	page    layer = "page"    // the console's files
	tool    layer = "tool"    // runs or loads the program from outside
	tests   layer = "tests"   // this package
	none    layer = ""        // not in the house
)

// layerOf says on which floor a package stands, by its path in the module.
func layerOf(pkg string) layer {
	if pkg == "cmd" || strings.HasPrefix(pkg, "cmd/") {
		return command
	}
	for l, packages := range map[layer][]string{
		hall:   {"internal/node"},
		door:   {"internal/socket", "internal/api", "internal/link", "internal/meta", "internal/demo", "internal/gateway"},
		pipe:   {"internal/bus", "internal/db", "internal/shards"},
		room:   {"internal/delivery", "internal/mailbox", "internal/members", "internal/accounts", "internal/apps", "internal/events", "internal/keys", "internal/stats", "internal/domains", "internal/chat", "internal/match", "internal/journal", "internal/traffic", "internal/nearby", "internal/relay", "internal/registry", "internal/settings", "internal/webhooks"},
		wire:   {"wire"},
		cellar: {"internal/lifecycle", "internal/window", "internal/grid", "internal/spool", "internal/config", "internal/tlsfiles", "internal/turnstile", "internal/audit"},
		client: {"client"},
		page:   {"console"},
		tool:   {"internal/load", "internal/nodetest", "internal/faultfs", "internal/postgres"},
		tests:  {"internal/arch"},
	} {
		if slices.Contains(packages, pkg) {
			return l
		}
	}
	return none
}

// mayImport says whether a package of one floor may import one of another. In
// tests only the rooms' law and the cellar's stay as strict.
func mayImport(from, to layer, test bool) bool {
	allowed := map[layer][]layer{
		command: {hall, door, pipe, room, wire, cellar, client, page, tool},
		hall:    {door, pipe, room, wire, cellar, page},
		door:    {room, wire, cellar, page, client}, // a link is a client of another domain
		pipe:    {room, wire, cellar},
		room:    {wire, cellar},
		wire:    {},
		cellar:  {cellar}, // a spool has the lock of a folder
		client:  {wire},
		page:    {},
		tool:    {client, wire, cellar},
		tests:   {},
	}[from]
	if slices.Contains(allowed, to) {
		return true
	}
	if !test {
		return false
	}
	// A test may bring the real engine, the real program and the protocol.
	switch from {
	case cellar, tests:
		return false
	case room:
		return to == pipe || to == tool || to == client
	case wire:
		return false
	}
	return to != command && to != tests
}

// library says who alone may import a module, outside of tests.
type library struct {
	module string   // import path of the module, all packages of it included
	users  []string // packages of ours
	always bool     // in tests too
}

func libraries() []library {
	return []library{
		{module: "github.com/nats-io/nats-server/v2", users: []string{"internal/bus"}, always: true},
		{module: "github.com/nats-io/nats.go", users: []string{"internal/bus"}},
		{module: "github.com/lxzan/gws", users: []string{"client", "internal/load"}},
		{module: "github.com/go-json-experiment/json", users: []string{"internal/api"}},
		{module: "github.com/yuin/goldmark", users: []string{"internal/api"}},
		{module: "modernc.org/sqlite", users: []string{"internal/db"}},
		{module: "github.com/jackc/pgx/v5", users: []string{"internal/db", "internal/postgres"}},
		{module: "github.com/pressly/goose/v3", users: []string{"internal/db"}},
		{module: "github.com/alecthomas/kong", users: []string{"cmd/switchboard"}},
		{module: "github.com/knadh/koanf", users: []string{"internal/config"}},
		{module: "code.dny.dev/ssrf", users: []string{"internal/config"}},
		{module: "github.com/DataDog/sketches-go", users: []string{"internal/window"}},
		{module: "github.com/tidwall/btree", users: []string{"internal/delivery"}},
		{module: "github.com/go-git/go-git/v5", users: []string{"internal/meta"}},
		{module: "github.com/go-git/go-billy/v5", users: []string{"internal/meta"}},
		{module: "github.com/hanwen/go-fuse/v2", users: []string{"internal/faultfs"}, always: true},
	}
}

// within says whether an import path is the module's or below it.
func within(imported, module string) bool {
	return imported == module || strings.HasPrefix(imported, module+"/")
}

// badName says whether a package's name says nothing.
func badName(pkg string) bool {
	return slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared"}, path.Base(pkg))
}

// standard says whether an import path is of the standard library.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
