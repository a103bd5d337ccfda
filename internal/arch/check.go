package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Violation is one breach of the law.
type Violation struct {
	Place string // file:line in the module, or the package
	Text  string
}

// String returns "place: text".
func (v Violation) String() string { return v.Place + ": " + v.Text }

// Check reads every Go file below root, the folder of the module, and returns
// what breaks the law, sorted by place. It fails when a file cannot be read or
// is not Go.
func Check(root fs.FS, module string) ([]Violation, error) {
	c := checker{module: module, files: token.NewFileSet(), comments: map[string][]string{}, packages: map[string]bool{}}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (ignored(name) || otherModule(root, name)):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return c.file(name, content)
	})
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	c.checkPackages()
	slices.SortFunc(c.found, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return c.found, nil
}

// ignored says whether a folder holds no source of ours.
func ignored(name string) bool {
	base := path.Base(name)
	return name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) ||
		base == "testdata" || base == "node_modules" || base == "vendor"
}

// otherModule says whether a folder is a module of its own, which the program
// cannot import.
func otherModule(root fs.FS, name string) bool {
	_, err := fs.Stat(root, path.Join(name, "go.mod"))
	return name != "." && err == nil
}

type checker struct {
	module   string
	files    *token.FileSet
	packages map[string]bool     // folders with source that is not a test
	comments map[string][]string // the files with a package comment, by folder
	found    []Violation
}

func (c *checker) refuse(place, format string, args ...any) {
	c.found = append(c.found, Violation{Place: place, Text: fmt.Sprintf(format, args...)})
}

// place returns "file:line".
func (c *checker) place(pos token.Pos) string {
	p := c.files.Position(pos)
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

// file checks one file and notes what its package needs.
func (c *checker) file(name string, content []byte) error {
	f, err := parser.ParseFile(c.files, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	pkg, test := path.Dir(name), strings.HasSuffix(name, "_test.go")
	if !test {
		c.packages[pkg] = true
		if f.Doc != nil {
			c.comments[pkg] = append(c.comments[pkg], name)
		}
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		c.checkImport(c.place(spec.Pos()), pkg, imported, test)
	}
	if !test {
		c.checkInit(f)
		c.checkEnds(pkg, f)
		c.checkLogs(f)
	}
	return nil
}

func (c *checker) checkImport(place, pkg, imported string, test bool) {
	from := layerOf(pkg)
	if target, ours := strings.CutPrefix(imported, c.module+"/"); ours {
		to := layerOf(target)
		sameTest := test && target == pkg // an external test of the package
		if from != none && to != none && !sameTest && !mayImport(from, to, test) {
			c.refuse(place, "%s (%s) must not import %s (%s)", pkg, from, target, to)
		}
		return
	}
	if from == wire && !test && !standard(imported) {
		c.refuse(place, "wire imports the standard library only, not %s", imported)
	}
	for _, lib := range libraries() {
		if within(imported, lib.module) && !slices.Contains(lib.users, pkg) && (!test || lib.always) {
			c.refuse(place, "%s is imported by %s only", lib.module, strings.Join(lib.users, ", "))
		}
	}
}

// checkInit refuses functions that run before main.
func (c *checker) checkInit(f *ast.File) {
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			c.refuse(c.place(fn.Pos()), "no init functions: build it in New")
		}
	}
}

// checkEnds refuses what ends the process or listens to signals outside of
// cmd.
func (c *checker) checkEnds(pkg string, f *ast.File) {
	if layerOf(pkg) == command {
		return
	}
	names := importNames(f)
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch from := names[x.Name]; {
		case from == "os/signal":
			c.refuse(c.place(sel.Pos()), "signals are known to cmd only")
		case from == "os" && sel.Sel.Name == "Exit",
			from == "syscall" && sel.Sel.Name == "Exit",
			from == "log" && strings.HasPrefix(sel.Sel.Name, "Fatal"):
			c.refuse(c.place(sel.Pos()), "only cmd ends the process: return an error")
		}
		return true
	})
}

// importNames returns the import paths of a file by the name that the file
// uses for them.
func importNames(f *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it already
		}
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imported
	}
	return names
}

// checkPackages checks what holds for whole packages.
func (c *checker) checkPackages() {
	for pkg := range c.packages {
		if n := len(c.comments[pkg]); n != 1 {
			slices.Sort(c.comments[pkg])
			c.refuse(pkg, "has %d package comments, not one %v", n, c.comments[pkg])
		}
		if badName(pkg) {
			c.refuse(pkg, "a package is named for what it is about, not %q", path.Base(pkg))
		}
		if layerOf(pkg) == none {
			c.refuse(pkg, "is not in the house: say in internal/arch where it stands")
		}
	}
}
