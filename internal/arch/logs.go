package arch

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	logReceiver = regexp.MustCompile(`(?i)(^|\.)(slog|log|logger)(\.With)*$`)
	logMethod   = regexp.MustCompile(`^(Debug|Info|Warn|Error)(Context)?$`)
	logKey      = regexp.MustCompile(`^[a-z][A-Za-z]*$`)
	// secretName is how keys, and what holds their values, are not called.
	secretName = regexp.MustCompile(`(?i)(token|secret|password|passwd|body|payload|content|authorization|cookie|credentials?|apikey|header|rawquery|presented)$`)
)

// logTexts are functions that choose one of several constant messages.
func logTexts() []string { return []string{"message", "words"} }

// checkLogs refuses log lines whose message is put together, and so is many, whose keys are
// not plain words, or which show what is called as secrets are.
func (c *checker) checkLogs(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !logReceiver.MatchString(nameOf(sel.X)) {
			return true
		}
		args := call.Args
		switch name := sel.Sel.Name; {
		case name == "With":
			c.checkPairs(args)
			return true
		case name == "Log" && len(args) > 2:
			args = args[2:]
		case !logMethod.MatchString(name) || len(args) == 0:
			return true
		case strings.HasSuffix(name, "Context"):
			args = args[1:]
		}
		if !constant(args[0]) {
			c.refuse(c.place(call.Pos()), "the message of a log line is constant: put what differs into its pairs")
		}
		c.checkPairs(args[1:])
		return true
	})
}

// nameOf returns the words of a selector such as a.b.c, calls without their arguments;
// empty for anything else.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return nameOf(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		return nameOf(e.Fun)
	}
	return ""
}

// constant says whether a message is one of a few: a literal, a name of one, or a row of a
// table. Types are not known here; what formats is.
func constant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Kind == token.STRING
	case *ast.Ident:
		return true
	case *ast.SelectorExpr:
		return constant(e.X)
	case *ast.BinaryExpr: // a name in it is a constant's, or the table would hold the whole
		return constant(e.X) && constant(e.Y)
	case *ast.CallExpr:
		words := strings.Split(nameOf(e.Fun), ".")
		return slices.Contains(logTexts(), words[len(words)-1])
	}
	return false
}

// checkPairs checks keys and values of a log line. Attributes and what is spread are pairs
// of their own.
func (c *checker) checkPairs(args []ast.Expr) {
	for i := 0; i < len(args); i++ {
		lit, ok := args[i].(*ast.BasicLit)
		if !ok {
			continue
		}
		key, err := strconv.Unquote(lit.Value)
		if err != nil || !logKey.MatchString(key) || secretName.MatchString(key) {
			c.refuse(c.place(lit.Pos()), "%s is no key for a log line: one word, and none for secrets or what users send", lit.Value)
		}
		if i++; i < len(args) && secretName.MatchString(nameOf(args[i])) {
			c.refuse(c.place(args[i].Pos()), "%s is not for the log: secrets, and what users send, never are", nameOf(args[i]))
		}
	}
}
