package api

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
)

// rowsOf returns the cells of those rows of a page's tables that have n and begin
// with code.
func rowsOf(t *testing.T, page string, n int) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if strings.HasPrefix(line, "| `") && len(cells) == n {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

func TestThePageOfTheInterfaceHasAllScopesAndCodes(t *testing.T) {
	var scopes, codes []string
	for _, row := range rowsOf(t, "api.md", 2) {
		if strings.Contains(row[0], ":") {
			scopes = append(scopes, fmt.Sprint(row))
		}
	}
	for i, p := range keys.Permissions() {
		if want := fmt.Sprint([]string{"`" + string(p.Scope) + "`", p.What}); i >= len(scopes) || scopes[i] != want {
			t.Errorf("docs/api.md lacks %s", want)
		}
	}
	for _, row := range rowsOf(t, "api.md", 3) {
		codes = append(codes, fmt.Sprint(row))
	}
	d := loaded(t)
	list := constantsOf(t, d, "ProblemCode")
	for _, n := range elements(member(member(member(member(d.root, "components"), "schemas"), "ProblemCode"), "oneOf")) {
		want := fmt.Sprint([]string{"`" + text(n, "const") + "`", text(n, "title"), text(n, "description")})
		found := false
		for _, row := range codes {
			found = found || row == want
		}
		if !found {
			t.Errorf("docs/api.md lacks %s", want)
		}
	}
	if len(codes) != len(list) || len(scopes) != len(keys.Permissions()) {
		t.Errorf("docs/api.md has %d codes and %d scopes, there are %d and %d", len(codes), len(scopes), len(list), len(keys.Permissions()))
	}
}
