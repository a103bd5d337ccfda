package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of settings into docs/settings.md")

const docs = "../../docs/settings.md"

// structKeys returns the names that a struct's yaml tags make.
func structKeys(typ reflect.Type, prefix string) []string {
	var names []string
	for f := range typ.Fields() {
		name := f.Tag.Get("yaml")
		switch {
		case name == "-":
		case f.Type == reflect.TypeFor[[]App]():
			names = append(names, structKeys(reflect.TypeFor[App](), prefix+name+"[].")...)
		case f.Type == reflect.TypeFor[[]Webhook]():
			names = append(names, structKeys(reflect.TypeFor[Webhook](), prefix+name+"[].")...)
		case f.Type == reflect.TypeFor[[]Route]():
			names = append(names, structKeys(reflect.TypeFor[Route](), prefix+name+"[].")...)
		case f.Type == reflect.TypeFor[*Fallback]():
			names = append(names, structKeys(reflect.TypeFor[Fallback](), prefix+name+".")...)
		case f.Type == reflect.TypeFor[*JWT]():
			names = append(names, structKeys(reflect.TypeFor[JWT](), prefix+name+".")...)
		case f.Type.Kind() == reflect.Struct:
			names = append(names, structKeys(f.Type, prefix+name+".")...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}

func tableKeys() []string {
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	return names
}

func TestTheTableHasEveryFieldOfTheStructAndNoOther(t *testing.T) {
	inTable, inStruct := tableKeys(), structKeys(reflect.TypeFor[Settings](), "")
	slices.Sort(inTable)
	slices.Sort(inStruct)
	if !slices.Equal(inTable, inStruct) {
		t.Errorf("table:  %v\nstruct: %v", inTable, inStruct)
	}
}

func TestEveryKeySetsAFieldOfItsOwn(t *testing.T) {
	seen, variables := map[any]string{}, map[string]string{}
	var s Settings
	for _, k := range Keys() {
		if k.What == "" || k.Kind == "" {
			t.Errorf("%s: incomplete: %+v", k.Name, k)
		}
		if k.field == nil {
			continue
		}
		p := k.field(&s)
		if other, ok := seen[p]; ok {
			t.Errorf("%s and %s share a field", k.Name, other)
		}
		seen[p] = k.Name
		if other, ok := variables[k.EnvName()]; ok {
			t.Errorf("%s and %s share %s", k.Name, other, k.EnvName())
		}
		variables[k.EnvName()] = k.Name
	}
}

func TestOnlyWhatIsMeantToChangesAtRunTime(t *testing.T) {
	for _, k := range Keys() {
		part, rest, _ := strings.Cut(k.Name, ".")
		want := part == "apps[]" || part == "limits" || part == "gateway" || part == "registry" || k.Name == "origins" || k.Name == "log.level" ||
			part == "matching" && !slices.Contains([]string{"enabled", "simple.enabled", "simple.access"}, rest) ||
			part == "journal" && slices.Contains([]string{"devices", "queue", "streams"}, rest)
		if k.Live != want {
			t.Errorf("%s: live is %v", k.Name, k.Live)
		}
	}
}

func TestTheTemplateHasEveryKeyAndLoadsAsTheDefaults(t *testing.T) {
	template := string(Template())
	if strings.Contains(template, "](") || !strings.Contains(template, "docs/gateway.md. It is read") {
		t.Error("a comment of the template has a link of the documentation")
	}
	s := load(t, Sources{File: write(t, template)})
	want := Defaults()
	want.Demo = false         // it names the demo app itself
	want.Chat.Enabled = false // which is on where nothing names one, as the next two are
	want.Matching.Simple.Enabled, want.Matching.Simple.Access = false, AccessKey
	if got := Diff(s, want); len(got.Live)+len(got.Restart) > 0 {
		t.Errorf("the template differs from the defaults: %+v", got)
	}
	for _, k := range Keys() {
		name := k.Name[strings.LastIndexByte(k.Name, '.')+1:]
		if !regexp.MustCompile(`(?m)^[ #-]*` + name + `:`).MatchString(template) {
			t.Errorf("the template lacks %s", k.Name)
		}
	}
	for line := range strings.Lines(template) {
		if len(line) > 100 {
			t.Errorf("a long line: %s", line)
		}
	}
}

// uncommented returns the template with the n-th block of examples taken in.
func uncommented(template string, n int) string {
	blocks := regexp.MustCompile(`(?m)(^    #\S.*\n)(^    #  .*\n)*`)
	at := 0
	return blocks.ReplaceAllStringFunc(template, func(block string) string {
		if at++; at-1 != n {
			return block
		}
		return strings.ReplaceAll(block, "    #", "    ")
	})
}

func TestEachBlockOfTheTemplateCanBeUncommentedAtOnce(t *testing.T) {
	template := string(Template())
	verified := strings.Replace(template, "    authEnabled: false\n", "", 1)
	for n, want := range []string{
		"",
		"",
		`apps[0].jwt.publicKey: is not one PEM block "PUBLIC KEY"`,
		"apps[0].jwt.secret: is too short: HS256 needs at least 32 bytes",
	} {
		file := write(t, uncommented(verified, n))
		if want == "" {
			if s := load(t, Sources{File: file}); !s.Apps[0].AuthEnabled {
				t.Errorf("block %d: anyone is let in", n)
			}
		} else if got := problems(t, Sources{File: file}); len(got) != 1 || !strings.HasSuffix(got[0], want) {
			t.Errorf("block %d: got %q, want %q", n, got, want)
		}
		// With the line that lets anyone in, none of them is taken.
		got := problems(t, Sources{File: write(t, uncommented(template, n))})
		if !strings.Contains(strings.Join(got, "\n"), "apps[0].authEnabled: is false, yet there is ") {
			t.Errorf("block %d: got %q", n, got)
		}
	}
	others := problems(t, Sources{File: write(t, uncommented(template, 4))})
	if len(others) != 1 || !strings.HasSuffix(others[0], `apps[0].allowApps: "OTHER" is not another app of these settings`) {
		t.Errorf("allowApps: got %q", others)
	}
	hooks := problems(t, Sources{File: write(t, uncommented(template, 5))})
	if len(hooks) != 1 || !strings.HasSuffix(hooks[0], `apps[0].webhooks[0].secret: is too short: write whsec_ and base64, or at least 32 bytes of text`) {
		t.Errorf("webhooks: got %q", hooks)
	}
}

func TestWhatIsPrintedLoadsAgainAndHidesSecrets(t *testing.T) {
	file := write(t, `
origins: ["https://a.example"]
apps:
- {appName: SHOP, appId: "007", masterUserId: SHOP-1, authUrl: "https://shop.example/auth?shop=1", allowApps: [BANK]}
- {appName: BANK, appId: "true", jwt: {jwksUrl: "https://bank.example/jwks", issuer: "null", audience: "a: b"}}
limits: {frame: 12345, mailboxAge: 36h}
log: {level: debug}
`)
	s := load(t, Sources{File: file})
	again := load(t, Sources{File: write(t, string(s.YAML()))})
	if got := Diff(s, again); len(got.Live)+len(got.Restart) > 0 {
		t.Errorf("differs: %+v\n%s", got, s.YAML())
	}

	secret := "0123456789abcdef0123456789abcdef"
	s.Apps[1].JWT = &JWT{Secret: Secret(secret)}
	for _, text := range []string{string(s.YAML()), fmt.Sprintf("%v %+v %#v %s", s.Apps[1].JWT, *s.Apps[1].JWT, *s.Apps[1].JWT, s.Apps[1].JWT.Secret)} {
		if strings.Contains(text, secret) || !strings.Contains(text, mask) {
			t.Errorf("the secret is not hidden:\n%s", text)
		}
	}
	if text := string(Defaults().YAML()); !strings.Contains(text, "frame: 64KiB\n") || !strings.Contains(text, "origins: []\n") {
		t.Errorf("got\n%s", text)
	}
}

// Whatever may hold a secret is marked in all settings, and nothing of it is printed.
func TestNoSecretOfAnyKeyIsPrinted(t *testing.T) {
	const mark = "hush4711hush4711hush4711hush4711"
	marked := map[string]string{
		kindNATS: "nats://" + mark + "@a.example:4222,nats://me:" + mark + "@b.example:4222",
		kindDB:   "postgres://me:" + mark + "@db.example/chat?sslpassword=" + mark,
		kindMeta: "http://me:" + mark + "@meta.example", kindURL: "https://" + mark + "@a.example/?api_key=" + mark + "&b=c",
	}
	hook := Webhook{Name: "h", URL: marked[kindURL], Secret: mark, SecondSecret: mark}
	s := Defaults()
	s.Apps = []App{{Name: "A", AuthURL: marked[kindURL], JWT: &JWT{Secret: mark, JWKSURL: marked[kindURL]}, Webhooks: []Webhook{hook}}}
	s.Chat.Webhooks = []Webhook{hook}
	named := regexp.MustCompile(`(?i)secret|password|token|credential|private|apikey`)
	for _, k := range Keys() {
		hides := slices.Contains([]string{kindSecret, kindSecrets, kindURL, kindDB, kindNATS, kindMeta}, k.Kind)
		if open := slices.Contains([]string{kindFile, kindPath, kindDuration, kindCount, kindSwitch}, k.Kind); named.MatchString(k.Name) && !hides && !open {
			t.Errorf("%s is called as a secret is, and its kind %q shows it", k.Name, k.Kind)
		}
		if k.field == nil {
			if hides && !strings.HasPrefix(k.Name, "apps[].") && !strings.HasPrefix(k.Name, "chat.webhooks[].") {
				t.Errorf("this test does not mark %s", k.Name)
			}
			continue
		}
		switch p := k.field(&s).(type) {
		case *Secret:
			*p = mark
		case *map[string]Secret:
			*p = map[string]Secret{"d": mark}
		case *string:
			if hides {
				*p = marked[k.Kind]
			}
		}
	}
	text := string(s.YAML())
	if at := strings.Index(text, mark[:8]); at >= 0 || strings.Count(text, mask) < 8 || strings.Count(text, hiddenPart) < 10 {
		t.Errorf("%d of what is not to be seen:\n%s", at, text)
	}
	for _, want := range []string{"nats://xxxxx@a.example:4222,nats://me:xxxxx@b.example:4222", "?api_key=xxxxx&b=c", "postgres://me:xxxxx@"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not to be seen:\n%s", want, text)
		}
	}
}

// row is the line of a key in docs/settings.md.
func row(k Key) string {
	def, bounds, change := "–", "–", "restart"
	if k.Default != "" {
		def = "`" + k.Default + "`"
	}
	switch {
	case k.Max > 0:
		bounds = "`" + k.bound(k.Min) + "` to `" + k.bound(k.Max) + "`"
	case len(k.Choices) > 0:
		bounds = "`" + strings.Join(k.Choices, "`, `") + "`"
	}
	if k.Live {
		change = "at once"
	}
	kind := k.Kind
	if k.Kind == kindKey {
		kind = "public key"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n", k.Name, kind, def, bounds, change, k.What)
}

func TestTheDocumentationHasTheTable(t *testing.T) {
	content, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	want.WriteString("| key | kind | default | may be | changes | what it does |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, k := range Keys() {
		want.WriteString(row(k))
	}
	table := regexp.MustCompile(`(?m)(^\| key \|.*\n)(^\|.*\n)+`)
	if *update {
		content = table.ReplaceAll(content, bytes.ReplaceAll(want.Bytes(), []byte("$"), []byte("$$")))
		if err := os.WriteFile(docs, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := table.Find(content); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s does not have the table as it is; write it with: go test ./internal/config -run Documentation -update\nwant:\n%s", docs, want.Bytes())
	}
}
