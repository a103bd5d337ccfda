package db

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestSQLIsMadeOfConstants reads the source: the compiler already takes only
// constants for the text of a statement (it has a type of its own, and variables of
// strings are of another); what it would let pass is a conversion.
func TestSQLIsMadeOfConstants(t *testing.T) {
	files := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "text" && name != "tx.go" {
				t.Errorf("%s: something is made SQL that may be no constant", files.Position(call.Pos()))
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if ok && name != "tx.go" && strings.HasSuffix(sel.Sel.Name, "Context") && !constant(call.Args) {
				t.Errorf("%s: a statement goes past Tx, and is no constant", files.Position(call.Pos()))
			}
			return true
		})
	}
}

// constant says whether the second of some arguments, the statement, is written out,
// or of the type text.
func constant(args []ast.Expr) bool {
	if len(args) < 2 {
		return true
	}
	switch a := args[1].(type) {
	case *ast.BasicLit:
		return true
	case *ast.CallExpr:
		to, ok := a.Fun.(*ast.Ident)
		return ok && to.Name == "string"
	}
	return false
}
