package arch

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "example.com/house"

func TestTheSourceKeepsTheLaw(t *testing.T) {
	const root = "../.."
	goMod, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(goMod)
	if m == nil {
		t.Fatal("go.mod names no module")
	}
	found, err := Check(os.DirFS(root), string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// house makes a module of files; a text that does not begin with a comment or
// a package clause is put behind "package p".
func house(files map[string]string) fstest.MapFS {
	fs := fstest.MapFS{}
	for name, text := range files {
		if !strings.HasPrefix(text, "//") && !strings.HasPrefix(text, "package") {
			text = "// Package p is for tests.\npackage p\n" + text
		}
		fs[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fs
}

// check returns what is found in a module of files.
func check(t *testing.T, files map[string]string) []string {
	t.Helper()
	found, err := Check(house(files), module)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, v := range found {
		lines = append(lines, v.String())
	}
	return lines
}

func TestAHouseInOrderHasNoViolations(t *testing.T) {
	got := check(t, map[string]string{
		"cmd/switchboard/main.go":      "import (\"os\"; \"os/signal\"; _ \"example.com/house/internal/node\"; _ \"github.com/alecthomas/kong\")\nfunc f() { os.Exit(1); signal.Stop(nil) }",
		"internal/node/n.go":           `import (_ "example.com/house/internal/socket"; _ "example.com/house/internal/bus"; _ "example.com/house/internal/mailbox"; _ "example.com/house/console")`,
		"internal/socket/s.go":         `import (_ "example.com/house/internal/delivery"; _ "example.com/house/wire")`,
		"internal/bus/b.go":            `import (_ "github.com/nats-io/nats-server/v2/server"; _ "github.com/nats-io/nats.go/jetstream"; _ "example.com/house/internal/mailbox")`,
		"internal/mailbox/m.go":        `import (_ "example.com/house/wire"; _ "example.com/house/internal/lifecycle")`,
		"internal/mailbox/m_test.go":   "package p_test\nimport (_ \"example.com/house/internal/bus\"; _ \"example.com/house/internal/mailbox\"; \"os\")\nfunc init() { os.Exit(1) }",
		"internal/delivery/d.go":       `import exit "example.com/house/wire"` + "\nfunc f() { exit.Exit() }",
		"internal/lifecycle/l.go":      `import "os"` + "\nfunc f() { os.Getpid() }\nfunc (t) init() {}\ntype t struct{}",
		"internal/lifecycle/l_more.go": "package p",
		"wire/w.go":                    `import _ "encoding/json"`,
		"wire/w_test.go":               `import _ "pgregory.net/rapid"`,
		"client/c.go":                  `import (_ "example.com/house/wire"; _ "github.com/lxzan/gws")`,
		"client/c_test.go":             `import _ "example.com/house/internal/nodetest"`,
		"console/page.go":              "",
		"node_modules/x/x.go":          `import _ "github.com/lxzan/gws"`,
		"wire/testdata/x.go":           `import _ "github.com/lxzan/gws"`,
		".cache/x.go":                  "not Go",
		"deploy/check/go.mod":          "module other",
		"deploy/check/x.go":            `import _ "github.com/lxzan/gws"`,
	})
	if len(got) > 0 {
		t.Errorf("found:\n%s", strings.Join(got, "\n"))
	}
}

func TestEveryBreachIsFound(t *testing.T) {
	imports := func(paths ...string) string {
		return "import (_ \"" + strings.Join(paths, "\"; _ \"") + "\")"
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"a room imports a room", map[string]string{"internal/mailbox/m.go": imports("example.com/house/internal/delivery")},
			[]string{"internal/mailbox/m.go:3: internal/mailbox (room) must not import internal/delivery (room)"}},
		{"a room imports a room in a test", map[string]string{"internal/mailbox/m_test.go": imports("example.com/house/internal/delivery")},
			[]string{"internal/mailbox/m_test.go:3: internal/mailbox (room) must not import internal/delivery (room)"}},
		{"a room imports a pipe, a door, the hall", map[string]string{"internal/mailbox/m.go": imports("example.com/house/internal/bus") + ";" + imports("example.com/house/internal/socket", "example.com/house/internal/node")},
			[]string{"internal/mailbox/m.go:3: internal/mailbox (room) must not import internal/bus (pipe)",
				"internal/mailbox/m.go:3: internal/mailbox (room) must not import internal/node (hall)",
				"internal/mailbox/m.go:3: internal/mailbox (room) must not import internal/socket (door)"}},
		{"a door imports a pipe", map[string]string{"internal/socket/s.go": imports("example.com/house/internal/bus")},
			[]string{"internal/socket/s.go:3: internal/socket (door) must not import internal/bus (pipe)"}},
		{"the hall imports a command", map[string]string{"internal/node/n.go": imports("example.com/house/cmd/switchboard")},
			[]string{"internal/node/n.go:3: internal/node (hall) must not import cmd/switchboard (command)"}},
		{"the program imports the test harness", map[string]string{"internal/node/n.go": imports("example.com/house/internal/nodetest")},
			[]string{"internal/node/n.go:3: internal/node (hall) must not import internal/nodetest (tool)"}},
		{"the cellar imports the product", map[string]string{"internal/config/c.go": imports("example.com/house/wire"), "internal/config/c_test.go": imports("example.com/house/wire")},
			[]string{"internal/config/c.go:3: internal/config (cellar) must not import wire (wire)",
				"internal/config/c_test.go:3: internal/config (cellar) must not import wire (wire)"}},
		{"the client imports more than wire", map[string]string{"client/c.go": imports("example.com/house/internal/config")},
			[]string{"client/c.go:3: client (client) must not import internal/config (cellar)"}},
		{"wire imports a library", map[string]string{"wire/w.go": imports("encoding/json", "github.com/google/uuid")},
			[]string{"wire/w.go:3: wire imports the standard library only, not github.com/google/uuid"}},
		{"nats-server outside of bus, even in a test", map[string]string{"internal/node/n.go": imports("github.com/nats-io/nats-server/v2/server"), "internal/node/n_test.go": imports("github.com/nats-io/nats-server/v2")},
			[]string{"internal/node/n.go:3: github.com/nats-io/nats-server/v2 is imported by internal/bus only",
				"internal/node/n_test.go:3: github.com/nats-io/nats-server/v2 is imported by internal/bus only"}},
		{"gws outside of the clients", map[string]string{"internal/api/a.go": imports("github.com/lxzan/gws")},
			[]string{"internal/api/a.go:3: github.com/lxzan/gws is imported by client, internal/load only"}},
		{"the process is ended outside of cmd", map[string]string{"internal/node/n.go": "import (sys \"os\"; \"log\")\nfunc f() { sys.Exit(1)\nlog.Fatalf(\"\") }\nvar g = sys.Exit"},
			[]string{"internal/node/n.go:4: only cmd ends the process: return an error",
				"internal/node/n.go:5: only cmd ends the process: return an error",
				"internal/node/n.go:6: only cmd ends the process: return an error"}},
		{"signals outside of cmd", map[string]string{"internal/node/n.go": "import \"os/signal\"\nfunc f() { signal.Stop(nil) }"},
			[]string{"internal/node/n.go:4: signals are known to cmd only"}},
		{"an init function", map[string]string{"wire/w.go": "func init() {}"},
			[]string{"wire/w.go:3: no init functions: build it in New"}},
		{"log lines that say too much, or differently each time", map[string]string{"wire/w.go": "func f() {\nlog.Info(\"came \" + who.String())\nt.opts.Logger.Warn(err.Error(), \"err\", err)\nslog.Log(ctx, level, fmt.Sprint(1))\nlog.Debug(\"came\", \"password\", p)\nlog.With(\"a key\", 1).Info(\"came\", \"user\", a.Token)\nlog.ErrorContext(ctx, what.bad, \"user\", u)\nlog.Error(message(part)+\" here\", attr, \"app\", app)\n}"},
			[]string{"wire/w.go:4: the message of a log line is constant: put what differs into its pairs",
				"wire/w.go:5: the message of a log line is constant: put what differs into its pairs",
				"wire/w.go:6: the message of a log line is constant: put what differs into its pairs",
				"wire/w.go:7: \"password\" is no key for a log line: one word, and none for secrets or what users send",
				"wire/w.go:8: \"a key\" is no key for a log line: one word, and none for secrets or what users send",
				"wire/w.go:8: a.Token is not for the log: secrets, and what users send, never are"}},
		{"two package comments, and none", map[string]string{"wire/a.go": "// Package p is one.\npackage p", "wire/b.go": "// Package p is two.\npackage p", "client/c.go": "package p"},
			[]string{"client: has 0 package comments, not one []", "wire: has 2 package comments, not one [wire/a.go wire/b.go]"}},
		{"a name that says nothing", map[string]string{"internal/util/u.go": ""},
			[]string{"internal/util: a package is named for what it is about, not \"util\"", "internal/util: is not in the house: say in internal/arch where it stands"}},
		{"a package that nobody placed", map[string]string{"internal/attic/a.go": ""},
			[]string{"internal/attic: is not in the house: say in internal/arch where it stands"}},
	} {
		if got := check(t, c.files); !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}

func TestWhatIsNotGoIsAnError(t *testing.T) {
	if _, err := Check(house(map[string]string{"wire/w.go": "package"}), module); err == nil {
		t.Error("no error")
	}
}
