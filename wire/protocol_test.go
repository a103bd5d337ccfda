package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// page returns the protocol page's section under a heading.
func page(t *testing.T, heading string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/protocol.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// tables returns the rows of a section's tables, without their heads.
func tables(section string) [][][]string {
	var all [][][]string
	inside := false
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case !inside:
			inside = true
			all = append(all, nil)
		case !strings.HasPrefix(line, "| ---"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			all[len(all)-1] = append(all[len(all)-1], cells)
		}
	}
	return all
}

func sameRows(t *testing.T, what string, page, code []string) {
	t.Helper()
	for i := range max(len(page), len(code)) {
		switch {
		case i >= len(page):
			t.Errorf("%s: the page lacks\n%s", what, code[i])
		case i >= len(code):
			t.Errorf("%s: the package lacks\n%s", what, page[i])
		case page[i] != code[i]:
			t.Errorf("%s:\nthe page has    %s\nthe package has %s", what, page[i], code[i])
		}
	}
}

func firstCells(rows [][]string) (list []string) {
	for _, row := range rows {
		list = append(list, row[0])
	}
	return list
}

func TestThePageNamesAllTypes(t *testing.T) {
	var client, server []string
	for _, typ := range wire.Types() {
		if typ.FromClient() {
			client = append(client, "`"+typ.String()+"`")
		}
		if typ.FromServer() {
			server = append(server, "`"+typ.String()+"`")
		}
	}
	all := tables(page(t, "Frames"))
	if len(all) != 2 {
		t.Fatalf("%d tables, want 2", len(all))
	}
	sameRows(t, "from the client", firstCells(all[0]), client)
	sameRows(t, "from the server", firstCells(all[1]), server)
}

func TestThePageNamesAllCodes(t *testing.T) {
	var code []string
	for _, c := range wire.Codes() {
		code = append(code, fmt.Sprintf("`%s` | `%s` | %s", c.Kind, c.Code, c.Meaning))
	}
	var onPage []string
	for _, row := range tables(page(t, "Errors"))[0] {
		onPage = append(onPage, strings.Join(row, " | "))
	}
	sameRows(t, "codes", onPage, code)
}

func TestThePageNamesAllCloseCodes(t *testing.T) {
	var code []string
	for _, c := range wire.CloseCodes() {
		retry := "no"
		if c.Retry {
			retry = "yes"
		}
		code = append(code, fmt.Sprintf("%d | %s | %s | %s", c.Code, c.Name, c.Meaning, retry))
	}
	var onPage []string
	for _, row := range tables(page(t, "Close codes"))[0] {
		onPage = append(onPage, strings.Join(row, " | "))
	}
	sameRows(t, "close codes", onPage, code)
}

func TestThePageNamesTheLimits(t *testing.T) {
	want := []string{
		fmt.Sprint(wire.MaxDepth), fmt.Sprint(wire.MaxAppName, " bytes"), fmt.Sprint(wire.MaxFetch), fmt.Sprint(wire.DefaultFetch),
		fmt.Sprint(wire.MaxProducer, " bytes"), fmt.Sprint(wire.MaxSeq), fmt.Sprint(wire.SeqWindow), fmt.Sprint(int64(wire.MaxTTL/time.Second), " seconds"),
		fmt.Sprint(wire.MaxForwardReceivers), fmt.Sprint(wire.MaxHops),
		fmt.Sprint(wire.DefaultRoomPage), fmt.Sprint(wire.MaxRoomPage), fmt.Sprint(wire.MaxClientID, " bytes"),
	}
	var onPage []string
	for _, row := range tables(page(t, "Limits"))[0] {
		onPage = append(onPage, row[1])
	}
	sameRows(t, "limits", onPage, want)
}

func TestThePageNamesTheFieldsOfAForward(t *testing.T) {
	full := aForward()
	full.Fast, full.Notice, full.Presence = true, true, true
	var fields []string
	d := json.NewDecoder(bytes.NewReader(wire.AppendForward(nil, &full)))
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			break
		}
		switch name, _ := token.(string); {
		case token == json.Delim('{'):
			depth++
		case token == json.Delim('}'):
			depth--
		case depth == 2 && name != "":
			fields = append(fields, "`"+name+"`")
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				t.Fatal(err)
			}
		}
	}
	var onPage []string
	for _, row := range tables(page(t, "Between domains"))[0] {
		onPage = append(onPage, strings.Split(row[0], ", ")...)
	}
	sameRows(t, "fields of a FORWARD", onPage, fields)
}

// Every line of the page that shows a whole frame shows one that is accepted.
func TestThePageShowsFramesThatAreAccepted(t *testing.T) {
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	frames := 0
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  ")
		if frame, ok := strings.CutPrefix(line, "→ {"); ok {
			frames++
			if _, err := wire.ParseFrame([]byte("{" + frame)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if frame, ok := strings.CutPrefix(line, "← {"); ok {
			frames++
			if f, err := wire.ParseServerFrame([]byte("{" + frame)); err != nil || f.Type == wire.TypeUnknown {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	if frames < 10 {
		t.Errorf("found %d frames only", frames)
	}
}

func TestEveryTypeHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	for _, typ := range wire.Types() {
		f, err := wire.ParseServerFrame([]byte(`{"type":"` + typ.String() + `"}`))
		if err != nil || (f.Type == typ) != typ.FromServer() || seen[typ.String()] || !(typ.FromClient() || typ.FromServer()) {
			t.Errorf("%s: %+v, %v", typ, f, err)
		}
		seen[typ.String()] = true
	}
	if wire.TypeUnknown.String() != "UNKNOWN" || wire.Type(200).String() != "UNKNOWN" {
		t.Error("what is no type has a name")
	}
}
