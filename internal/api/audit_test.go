package api

import (
	"go/ast"
	"go/parser"
	positions "go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// audited are the calls that change something, and what the audit log has of each: an
// event, or nothing where users act among themselves, or backends send for them.
func audited() map[string]string {
	return map[string]string{
		"POST /v1/accounts": "accountMade", "DELETE /v1/accounts/{userId}": "accountDeleted", "DELETE /v1/accounts/me": "accountDeleted",
		"POST /v1/accounts/me/password": "passwordChanged", "POST /v1/passwords": "passwordChanged",
		"POST /v1/accounts/{userId}/resets": "resetMade", "POST /v1/resets": "", // who asks is nobody yet
		"POST /v1/sessions": "accountSignIn", "POST /v1/sessions/refresh": "", // it goes on, or is refused as a request is
		"DELETE /v1/sessions": "accountSignOut", "DELETE /v1/accounts/me/sessions/{id}": "accountSignOut",
		"DELETE /v1/cluster/nodes/{name}": "nodeRemoved", "POST /v1/keys": "keyMade", "DELETE /v1/keys/{id}": "keyRevoked",
		"DELETE /v1/users/{userId}/mailbox/messages": "mailboxCleared",
		"DELETE /v1/users/{userId}/sessions":         "sessionsClosed", "DELETE /v1/users/{userId}/sessions/{id}": "sessionsClosed",
		"PUT /v1/services/{name}/{instance}": "instanceRegistered", "DELETE /v1/services/{name}/{instance}": "instanceRemoved",
		"POST /v1/webhooks/{name}/replays": "webhookReplayed", "POST /v1/webhooks/{name}/tests": "webhookTested",
		"POST /v1/journal/rebuild": "journalRebuilt",

		"DELETE /v1/events": "", "POST /v1/events/acks": "", "POST /v1/frames": "", // a session's: signIn and signOut
		"PATCH /v1/accounts/me": "", "PUT /v1/accounts/me/blocks/{userId}": "", "DELETE /v1/accounts/me/blocks/{userId}": "",
		"POST /device/event": "", "POST /v1/journal": "", "PUT /v1/positions/me": "", "DELETE /v1/positions/me": "",
		"POST /v1/messages": "", "POST /v1/messages/batch": "", "POST /v1/broadcasts": "",
	}
}

// notes returns which events each handler of the package notes, by its name.
func notes(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(positions.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				switch {
				case !ok:
				case sel.Sel.Name == "noteSignIn":
					all[fn.Name.Name] = append(all[fn.Name.Name], "accountSignIn")
				case sel.Sel.Name == "note", sel.Sel.Name == "noteDone":
					for _, arg := range call.Args {
						if lit, ok := arg.(*ast.BasicLit); ok {
							event, _ := strconv.Unquote(lit.Value) // the parser has read it
							all[fn.Name.Name] = append(all[fn.Name.Name], event)
							break
						}
					}
				}
				return true
			})
		}
	}
	return all
}

// Every call that changes something is in the table above, does note what stands there,
// and the documentation has the event; so a new call is not forgotten.
func TestEveryCallThatChangesSomethingIsAuditedOrNeedNotBe(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?s)\{Method: "(\w+)", Path: (room)?(?: ?\+ ?)?(?:"([^"]*)")?,[^\n]*Handler: (?:Handle|Serve)\(\w+\.(\w+)\)\}`)
	handlers := make(map[string]string)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllSubmatch(text, -1) {
			path := string(m[3])
			if len(m[2]) > 0 {
				path = "/v1/rooms/{room}" + path
			}
			handlers[string(m[1])+" "+path] = string(m[4])
		}
	}
	want, noted, seen := audited(), notes(t), map[string]bool{}
	for _, c := range Calls(Rooms{}) {
		event, known := want[c.name()]
		seen[c.name()] = true
		does := noted[handlers[c.name()]]
		switch {
		case c.Method == "GET":
		case strings.HasPrefix(c.Path, "/v1/rooms"): // users among themselves
		case !known:
			t.Errorf("%s changes something: say in this test what the audit log has of it", c.name())
		case handlers[c.name()] == "":
			t.Errorf("the handler of %s is not found", c.name())
		case event == "" && len(does) > 0, event != "" && !slices.Contains(does, event):
			t.Errorf("%s is to note %q, and notes %q", c.name(), event, does)
		case event != "" && !strings.Contains(string(page), "`"+event+"`"):
			t.Errorf("docs/operations.md does not have the event %s", event)
		}
	}
	for name := range want {
		if !seen[name] {
			t.Errorf("there is no call %s", name)
		}
	}
}
