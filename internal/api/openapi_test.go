package api

import (
	"bytes"
	"cmp"
	"encoding"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// The document is written by hand, and held to what the program does: each call
// with its scope, parameters and fields, every code, every scope, and examples
// that are what they say.

func loaded(t testing.TB) document {
	t.Helper()
	d, err := loadDocument()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// operations returns what the document has of calls, by "GET /v1/keys".
func (d document) operations() map[string]*yaml.Node {
	all := map[string]*yaml.Node{}
	for path, item := range members(member(d.root, "paths")) {
		for method, operation := range members(item) {
			all[strings.ToUpper(method)+" "+path] = operation
		}
	}
	return all
}

// schemaOf compiles a schema of the document, by its JSON pointer.
func (d document) schemaOf(t testing.TB, c *jsonschema.Compiler, pointer string) *jsonschema.Schema {
	t.Helper()
	s, err := c.Compile("switchboard.json#" + pointer)
	if err != nil {
		t.Fatalf("%s: %v", pointer, err)
	}
	return s
}

func (d document) compiler(t testing.TB) *jsonschema.Compiler {
	t.Helper()
	text, err := d.json()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("switchboard.json", whole); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheDocumentIsOpenAPI(t *testing.T) {
	d := loaded(t)
	written, err := d.json()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	s, err := jsonschema.NewCompiler().Compile("testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(whole); err != nil {
		t.Errorf("%#v", err)
	}
	if version := text(d.root, "openapi"); version != "3.1.0" {
		t.Errorf("it is OpenAPI %s", version)
	}
}

func TestTheDocumentHasTheCallsThatThereAre(t *testing.T) {
	d := loaded(t)
	operations := d.operations()
	for _, c := range Calls(Rooms{}) {
		operation := operations[c.name()]
		if operation == nil {
			t.Errorf("the document lacks %s", c.name())
			continue
		}
		delete(operations, c.name())
		d.compareCall(t, &c, operation)
	}
	for name := range operations {
		t.Errorf("the document has %s, the table has not", name)
	}
}

func (d document) compareCall(t *testing.T, c *Call, operation *yaml.Node) {
	t.Helper()
	at := c.name()
	if scope := cmp.Or(c.Scope, c.Also); scope != "" {
		var scopes []string
		for _, requirement := range elements(member(operation, "security")) {
			for scheme, list := range members(requirement) {
				if scheme != "apiKey" && c.Also == "" {
					t.Errorf("%s: %s opens it, not an API key", at, scheme)
				}
				for _, s := range elements(list) {
					scopes = append(scopes, s.Value)
				}
			}
		}
		if !slices.Equal(scopes, []string{string(scope)}) {
			t.Errorf("%s: the document says scope %v, it is %s", at, scopes, scope)
		}
	}
	d.compareParameters(t, c, operation)
	d.compareBody(t, c, operation)
	d.compareAnswers(t, c, operation)
}

func (d document) compareParameters(t *testing.T, c *Call, operation *yaml.Node) {
	t.Helper()
	var got, want []string
	for _, p := range elements(member(operation, "parameters")) {
		p = d.resolve(p)
		if c.Auth == ByToken && text(p, "in") == "header" {
			continue // the handler reads it by itself
		}
		required := text(p, "required") == "true" && (c.Auth == ByKey || text(p, "in") == "path") // to others the handler sees
		got = append(got, fmt.Sprint(text(p, "in"), " ", text(p, "name"), " ", d.typeOf(member(p, "schema")), " ", required))
		if text(p, "description") == "" {
			t.Errorf("%s: the parameter %s is not described", c.name(), text(p, "name"))
		}
	}
	for _, p := range c.Handler.plan.params {
		in := "query"
		if p.path {
			in = "path"
		}
		want = append(want, fmt.Sprint(in, " ", p.name, " ", jsonType(p.kind), " ", p.path))
	}
	if c.Once {
		want = append(want, "header Idempotency-Key string false")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: parameters\ndocument %q\nprogram  %q", c.name(), got, want)
	}
}

func (d document) compareBody(t *testing.T, c *Call, operation *yaml.Node) {
	t.Helper()
	body := member(operation, "requestBody")
	if (body != nil) != (c.Handler.plan.body != nil) {
		t.Errorf("%s: the document has a body: %t", c.name(), body != nil)
		return
	}
	if body == nil {
		return
	}
	content := member(member(body, "content"), "application/json")
	if text(body, "required") != "true" || content == nil {
		t.Errorf("%s: the body is required, and JSON", c.name())
		return
	}
	field := c.Handler.Request.FieldByIndex(c.Handler.plan.body)
	d.compareType(t, c.name()+" body", member(content, "schema"), field.Type)
}

func (d document) compareAnswers(t *testing.T, c *Call, operation *yaml.Node) {
	t.Helper()
	good := []string{}
	needs := map[string]bool{"401": c.Auth == ByKey, "403": c.Auth == ByKey, "429": c.Auth == ByKey, "422": c.Once,
		"400": len(c.Handler.plan.params) > 0 || c.Handler.plan.body != nil, "413": c.Handler.plan.body != nil, "415": c.Handler.plan.body != nil, "404": c.Auth == ByKey && takesApp(c.Handler.plan)}
	for status, response := range members(member(operation, "responses")) {
		response = d.resolve(response)
		delete(needs, status)
		content := member(response, "content")
		if status < "300" {
			good = append(good, status)
			if c.Handler.Answer != nil {
				d.compareType(t, c.name()+" "+status, member(member(content, "application/json"), "schema"), c.Handler.Answer)
			}
			continue
		}
		if examples := member(member(content, "application/problem+json"), "examples"); examples == nil {
			t.Errorf("%s: the answer %s has no example of a problem", c.name(), status)
		}
	}
	for status, needed := range needs {
		if needed {
			t.Errorf("%s: the document does not say that it may answer %s", c.name(), status)
		}
	}
	status := max(c.Status, 200)
	varies := c.Handler.Answer != nil && c.Handler.Answer.Implements(reflect.TypeFor[interface{ Status() int }]())
	if !slices.Contains(good, fmt.Sprint(status)) || !varies && len(good) != 1 {
		t.Errorf("%s: the document says that it answers %v, it is %d", c.name(), good, status)
	}
}

// takesApp says whether a request names an app, of which there may be none.
func takesApp(p *plan) bool {
	return p.ofUser || p.names["app"] || p.members["app"]
}

// jsonType names the type that a Go type has in JSON.
func jsonType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[jsontext.Value]():
		return "any JSON"
	case t == reflect.TypeFor[Time]():
		return "time"
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()), t.Kind() == reflect.String:
		return "string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Int32:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array of " + jsonType(t.Elem())
	}
	return "object"
}

// compareType compares a schema with a Go type, and what is in them.
func (d document) compareType(t *testing.T, at string, schema *yaml.Node, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if s, ok := reflect.Zero(typ).Interface().(shaped); ok {
		typ = s.shape()
	}
	want := jsonType(typ)
	if got := d.typeOf(schema); got != want && want != "any JSON" && member(d.resolve(schema), "oneOf") == nil {
		t.Errorf("%s: the document says %s, it is %s", at, got, want)
		return
	}
	s := d.resolve(schema)
	switch {
	case strings.HasPrefix(want, "array of "):
		d.compareType(t, at+"[]", member(s, "items"), typ.Elem())
	case want == "object" && typ.Kind() == reflect.Struct:
		d.compareStruct(t, at, s, typ)
	}
}

func (d document) compareStruct(t *testing.T, at string, schema *yaml.Node, typ reflect.Type) {
	t.Helper()
	properties := map[string]*yaml.Node{}
	for name, p := range members(member(schema, "properties")) {
		properties[name] = p
		if text(p, "description") == "" && text(d.resolve(p), "description") == "" {
			t.Errorf("%s: %s is not described", at, name)
		}
	}
	var got, want []string
	for _, r := range elements(member(schema, "required")) {
		got = append(got, r.Value)
	}
	for _, f := range jsonFields(typ) {
		p := properties[f.name]
		if p == nil {
			t.Errorf("%s: the document lacks %s", at, f.name)
			continue
		}
		delete(properties, f.name)
		if f.required {
			want = append(want, f.name)
		}
		d.compareType(t, at+"."+f.name, p, f.typ)
	}
	for name := range properties {
		t.Errorf("%s: the document has %s, the program has not", at, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: required are %v, the document says %v", at, want, got)
	}
}

type jsonField struct {
	name     string
	required bool
	typ      reflect.Type
}

// jsonFields lists the fields that a struct has in JSON, embedded ones too.
func jsonFields(t reflect.Type) (list []jsonField) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case f.Anonymous && name == "":
			list = append(list, jsonFields(f.Type)...)
		default:
			list = append(list, jsonField{name, options != "omitzero", f.Type})
		}
	}
	return list
}

func TestEveryCallIsDescribedWithExamplesThatAreTrue(t *testing.T) {
	d := loaded(t)
	c := d.compiler(t)
	ids := map[string]bool{}
	tags := map[string]bool{}
	for _, tag := range elements(member(d.root, "tags")) {
		tags[text(tag, "name")] = text(tag, "description") != ""
	}
	for name, operation := range d.operations() {
		id := text(operation, "operationId")
		of := elements(member(operation, "tags"))
		if id == "" || ids[id] || text(operation, "summary") == "" || text(operation, "description") == "" || len(of) != 1 || !tags[of[0].Value] {
			t.Errorf("%s: lacks its own operationId, a summary, a description or a tag", name)
		}
		ids[id] = true
		method, path, _ := strings.Cut(name, " ")
		pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path) + "/" + strings.ToLower(method)
		if body := member(member(member(operation, "requestBody"), "content"), "application/json"); body != nil {
			d.checkExamples(t, c, name+" body", body, pointer+"/requestBody/content/application~1json/schema")
		}
		for status, response := range members(member(operation, "responses")) {
			if ref := text(response, "$ref"); ref != "" {
				continue // looked at once, below
			}
			for kind, content := range members(member(response, "content")) {
				d.checkExamples(t, c, name+" "+status, content, pointer+"/responses/"+status+"/content/"+strings.ReplaceAll(kind, "/", "~1")+"/schema")
			}
		}
	}
	for name, response := range members(member(member(d.root, "components"), "responses")) {
		for kind, content := range members(member(response, "content")) {
			d.checkExamples(t, c, name, content, "/components/responses/"+name+"/content/"+strings.ReplaceAll(kind, "/", "~1")+"/schema")
		}
	}
}

// checkExamples checks that a body has examples, and that they fit its schema.
func (d document) checkExamples(t *testing.T, c *jsonschema.Compiler, at string, content *yaml.Node, pointer string) {
	t.Helper()
	var all []*yaml.Node
	if e := member(content, "example"); e != nil {
		all = append(all, e)
	}
	for code, e := range members(member(content, "examples")) {
		value := member(e, "value")
		all = append(all, value)
		if said := text(value, "code"); said != "" {
			if said != code || text(value, "title") != http.StatusText(number(text(value, "status"))) {
				t.Errorf("%s: the example %s is not of that code, or has another status's title", at, code)
			}
		}
	}
	if len(all) == 0 {
		t.Errorf("%s: there is no example", at)
	}
	if member(content, "schema") == nil {
		return // a stream
	}
	s := d.schemaOf(t, c, pointer)
	for _, e := range all {
		b, err := nodeJSON(e, "")
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); err != nil {
			t.Errorf("%s: the example does not fit: %v", at, err)
		}
	}
}

// constantsOf returns what a schema may be, with its sentence.
func constantsOf(t *testing.T, d document, schema string) (list []docCode) {
	t.Helper()
	list, err := d.constants(schema)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTheDocumentHasAllScopesAndCodes(t *testing.T) {
	d := loaded(t)
	var scopes, codes []string
	for _, c := range constantsOf(t, d, "Scope") {
		scopes = append(scopes, c.Code+" "+string(c.Text))
	}
	var want []string
	for _, p := range keys.Permissions() {
		html, err := inline(p.What)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(p.Scope)+" "+string(html))
	}
	if !slices.Equal(scopes, want) {
		t.Errorf("scopes\ndocument %q\nprogram  %q", scopes, want)
	}
	for _, c := range constantsOf(t, d, "ProblemCode") {
		codes = append(codes, c.Code+" "+c.Status)
		if c.Text == "" {
			t.Errorf("%s is not explained", c.Code)
		}
	}
	want = nil
	for _, c := range ProblemCodes() {
		want = append(want, fmt.Sprint(c.Code, " ", c.Status))
	}
	slices.Sort(codes)
	slices.Sort(want)
	if !slices.Equal(codes, want) {
		t.Errorf("codes\ndocument %q\nprogram  %q", codes, want)
	}
	// What an answer may be named by its examples has to be among them.
	for name, operation := range d.operations() {
		for status, response := range members(member(operation, "responses")) {
			for code := range members(member(member(member(d.resolve(response), "content"), "application/problem+json"), "examples")) {
				if !slices.Contains(codes, code+" "+status) {
					t.Errorf("%s: %s %s is no code with that status", name, status, code)
				}
			}
		}
	}
}

// What handlers refuse with is written in the source: a code that the table does
// not have would be a surprise.
func TestTheTableOfCodesHasWhatTheSourceRefusesWith(t *testing.T) {
	known := map[string]bool{}
	for _, c := range ProblemCodes() {
		known[c.Code] = true
	}
	named := map[string]string{}
	source, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(Code\w+)\s+= "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		named[m[1]] = m[2]
		if !known[m[2]] {
			t.Errorf("%s is not in the table", m[2])
		}
	}
	for _, c := range ProblemCodes() {
		if wired := statusOf(c.Code); wired != 0 && wired != c.Status {
			t.Errorf("%s has two statuses", c.Code)
		}
	}
	if len(named) < 10 || !known[wire.CodeForbidden] {
		t.Errorf("found %v", named)
	}
}

func TestTheDocumentAndItsPageAreServedWithoutAKey(t *testing.T) {
	x := newWorld(t)
	answer, said := ask(t, x.h, "GET", "/openapi.json")
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/json" || !strings.HasPrefix(said, "{\n  \"openapi\": \"3.1.0\"") {
		t.Errorf("%d %v %.100s", answer.StatusCode, answer.Header, said)
	}
	answer, said = ask(t, x.h, "GET", "/docs/api")
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" || strings.Contains(said, "<script") ||
		!strings.Contains(answer.Header.Get("Content-Security-Policy"), "style-src 'sha256-") {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	for _, c := range Calls(Rooms{}) {
		path := strings.NewReplacer("{", "<var>{", "}", "}</var>").Replace(c.Path)
		if !strings.Contains(said, `<span class="verb verb-`+c.Method+`">`+c.Method+`</span> <code>`+path+`</code>`) {
			t.Errorf("the page lacks %s", c.name())
		}
	}
	for _, c := range ProblemCodes() {
		if !strings.Contains(said, `id="code-`+c.Code+`"`) {
			t.Errorf("the page lacks %s", c.Code)
		}
	}
	if gaps := regexp.MustCompile(`<no value>|ZgotmplZ|<dd></dd>|\$ref`).FindString(said); gaps != "" {
		t.Errorf("the page has %s", gaps)
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(said, -1) {
		if place, err := url.PathUnescape(m[1]); err != nil || !strings.Contains(said, `id="`+place+`"`) {
			t.Errorf("nothing is at #%s", m[1])
		}
	}
	x.refused(405, CodeWrongMethod, "POST", "/docs/api")
}

func TestThePageSaysWhatAFieldMayBeAndWhatACallTakes(t *testing.T) {
	x := newWorld(t)
	_, said := ask(t, x.h, "GET", "/docs/api")
	for _, what := range []string{
		`<code>to</code> <span class="type">a user ID or a list of them</span> <span class="need need-required">required</span>`,
		`One of <code>RELIABLE</code>, <code>FAST</code>. Default: <code>RELIABLE</code>.`,
		`One of <code>websocket</code>, <code>sse</code>.`,
		`One of <code>delivered</code>, <code>failed</code>.`,
		`One of <code>connected</code>, `,
		`Default: <code>false</code>.`,
		`<code>userId</code> <span class="type">string, query</span> <span class="need need-required">required</span>`,
		`<code>userId</code> <span class="type">user ID, path</span> <span class="need need-required">required</span>`,
		`<code>Authorization: Bearer &lt;session&gt;</code>`,
		`<code>Authorization: Bearer &lt;token&gt;</code>`,
		`docs/protocol.md`,
	} {
		if !strings.Contains(said, what) {
			t.Errorf("the page lacks %s", what)
		}
	}
}

func TestTheExamplesOfThePageAreForTheServerThatShowsIt(t *testing.T) {
	x := newWorld(t)
	at := func(name, proto string) func(*http.Request) {
		return func(r *http.Request) {
			r.Host = name
			r.Header.Set("X-Forwarded-Proto", proto)
		}
	}
	for _, c := range []struct{ host, proto, want string }{
		{"chat.example:8443", "https", "https://chat.example:8443/v1/keys"},
		{"[::1]:8088", "", "http://[::1]:8088/v1/keys"},
		{"x;rm", "", demoAddress + "/v1/keys"}, // it may end up in a shell
		{"", "", demoAddress + "/v1/keys"},
	} {
		_, said := ask(t, x.h, "GET", "/docs/api", at(c.host, c.proto))
		if !strings.Contains(said, " "+c.want+"\n") {
			t.Errorf("%s: the page lacks %s", c.host, c.want)
		}
	}
}

// discarded is an answer that nobody keeps.
type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d discarded) WriteHeader(int)             {}

// Anybody may ask for the page, and take his time: it is the same memory for all of them.
func TestThePageIsNotCopiedForEachOfItsReaders(t *testing.T) {
	x := newWorld(t)
	r := httptest.NewRequest("GET", "/docs/api", nil)
	x.h.ServeHTTP(discarded{make(http.Header)}, r) // which makes it
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		x.h.ServeHTTP(discarded{make(http.Header)}, r)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 20; each > 50_000 {
		t.Errorf("one takes %d bytes", each)
	}
}

func TestFilesOfTheDocumentThatContradictEachOtherAreAnError(t *testing.T) {
	var one, two yaml.Node
	for text, n := range map[string]*yaml.Node{"a: {b: 1}": &one, "a: {b: 2}": &two} {
		if err := yaml.Unmarshal([]byte(text), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := mergeNode(one.Content[0], two.Content[0], ""); err == nil || err.Error() != "/a/b is there already" {
		t.Errorf("got %v", err)
	}
}
