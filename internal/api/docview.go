package api

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"go.yaml.in/yaml/v3"
)

// What the page at /docs/api shows, made of the OpenAPI document.
type (
	docView struct {
		Title, Summary string
		Intro          template.HTML
		Sections       []docSection // headings of the introduction
		Tags           []docTag
		Scopes, Codes  []docCode
		Style          template.CSS
	}
	docSection struct{ Name, Anchor string }
	docTag     struct {
		Name, Anchor string
		Text         template.HTML
		Calls        []docCall
	}
	docCall struct {
		Method, Path, Anchor, Summary, Scope string
		PathParts                            []docPart
		Credentials                          []docCredential // other than an API key
		Text                                 template.HTML
		Params, Body                         []docField
		BodyExample                          string
		Answers                              []docAnswer
		Problems                             []docProblem
	}
	// docPart is a part of a path; parameters are shown otherwise.
	docPart struct {
		Text  string
		Param bool
	}
	// docCredential is what stands in the header Authorization.
	docCredential struct {
		What string // in place of <…>
		Text template.HTML
	}
	docField struct {
		Name, In, Type string
		Note           string   // whether it has to be there
		Choices        []string // what it may be, when that is a few words
		Default        string
		Text           template.HTML
	}
	docAnswer struct {
		Status, Type string
		Text         template.HTML
		Fields       []docField
		Example      string
	}
	docProblem struct {
		Status string
		Codes  []string
		Text   template.HTML
	}
	docCode struct {
		Code, Status string
		Text         template.HTML
	}
)

// view makes what the page shows.
func (d document) view() (docView, error) {
	info := member(d.root, "info")
	intro, err := markdown(text(info, "description"))
	if err != nil {
		return docView{}, err
	}
	v := docView{Title: text(info, "title"), Summary: text(info, "summary")}
	v.Intro, v.Sections = anchored(intro)
	for _, tag := range elements(member(d.root, "tags")) {
		name := text(tag, "name")
		t := docTag{Name: name, Anchor: anchor(name)}
		if t.Text, err = markdown(text(tag, "description")); err != nil {
			return docView{}, err
		}
		if t.Calls, err = d.callsOf(name); err != nil {
			return docView{}, err
		}
		v.Tags = append(v.Tags, t)
	}
	if v.Scopes, err = d.constants("Scope"); err == nil {
		v.Codes, err = d.constants("ProblemCode")
	}
	return v, err
}

// constants lists what a schema of the document may be.
func (d document) constants(schema string) (list []docCode, err error) {
	for _, c := range elements(member(member(member(member(d.root, "components"), "schemas"), schema), "oneOf")) {
		if text(c, "const") == "" {
			continue // a pattern, which a sentence beside it explains
		}
		said, err := inline(text(c, "description"))
		if err != nil {
			return nil, err
		}
		list = append(list, docCode{Code: text(c, "const"), Status: text(c, "title"), Text: said})
	}
	return list, nil
}

func (d document) callsOf(tag string) (calls []docCall, err error) {
	for path, item := range members(member(d.root, "paths")) {
		for method, operation := range members(item) {
			of := elements(member(operation, "tags"))
			if len(of) == 0 || of[0].Value != tag {
				continue
			}
			c, err := d.call(strings.ToUpper(method), path, operation)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			calls = append(calls, c)
		}
	}
	return calls, nil
}

func (d document) call(method, path string, operation *yaml.Node) (c docCall, err error) {
	c = docCall{Method: method, Path: path, Anchor: text(operation, "operationId"), Summary: text(operation, "summary")}
	for part := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(path, "{", "\x00{"), "}", "}\x00"), "\x00") {
		c.PathParts = append(c.PathParts, docPart{Text: part, Param: strings.HasPrefix(part, "{")})
	}
	for _, requirement := range elements(member(operation, "security")) {
		for scheme, scopes := range members(requirement) {
			for _, s := range elements(scopes) {
				c.Scope = s.Value
			}
			if scheme == "apiKey" {
				continue
			}
			s := member(member(member(d.root, "components"), "securitySchemes"), scheme)
			said, err := inline(text(s, "description"))
			if err != nil {
				return c, err
			}
			c.Credentials = append(c.Credentials, docCredential{What: text(s, "bearerFormat"), Text: said})
		}
	}
	if c.Text, err = markdown(text(operation, "description")); err != nil {
		return c, err
	}
	for _, p := range elements(member(operation, "parameters")) {
		p = d.resolve(p)
		f := docField{Name: text(p, "name"), In: text(p, "in"), Type: d.typeNamed(member(p, "schema"))}
		f.Choices, f.Default = d.bounds(member(p, "schema"))
		if text(p, "required") == "true" {
			f.Note = needed
		}
		if f.Text, err = inline(text(p, "description")); err != nil {
			return c, err
		}
		c.Params = append(c.Params, f)
	}
	if body := member(member(member(operation, "requestBody"), "content"), "application/json"); body != nil {
		if c.Body, err = d.fields(member(body, "schema"), "", needed, ""); err != nil {
			return c, err
		}
		if c.BodyExample, err = example(body); err != nil {
			return c, err
		}
	}
	return c, d.answers(&c, member(operation, "responses"))
}

// answers adds what a call answers.
func (d document) answers(c *docCall, responses *yaml.Node) error {
	for status, response := range members(responses) {
		response = d.resolve(response)
		said, err := inline(text(response, "description"))
		if err != nil {
			return err
		}
		for kind, content := range members(member(response, "content")) {
			if kind == "application/problem+json" {
				p := docProblem{Status: status, Text: said}
				for code := range members(member(content, "examples")) {
					p.Codes = append(p.Codes, code)
				}
				c.Problems = append(c.Problems, p)
				continue
			}
			a := docAnswer{Status: status + " " + http.StatusText(number(status)), Type: kind, Text: said}
			if a.Fields, err = d.fields(member(content, "schema"), "", "", "optional"); err != nil {
				return err
			}
			if a.Example, err = example(content); err != nil {
				return err
			}
			c.Answers = append(c.Answers, a)
		}
	}
	return nil
}

func number(s string) (n int) {
	_, _ = fmt.Sscan(s, &n) // 0 has no name
	return n
}

// needed is what is noted of a field that a request must have.
const needed = "required"

// fields lists what an object has, with what is in it, and what is to be noted of
// fields that are required and of others.
func (d document) fields(schema *yaml.Node, under, required, optional string) (list []docField, err error) {
	schema = d.resolve(schema)
	musts := elements(member(schema, "required"))
	for name, property := range members(member(schema, "properties")) {
		resolved := d.resolve(property)
		f := docField{Name: under + name, Type: d.typeNamed(property), Note: optional}
		f.Choices, f.Default = d.bounds(property)
		if slices.ContainsFunc(musts, func(n *yaml.Node) bool { return n.Value == name }) {
			f.Note = required
		}
		says := text(property, "description")
		if says == "" {
			says = text(resolved, "description")
		}
		if f.Text, err = inline(says); err != nil {
			return nil, err
		}
		list = append(list, f)
		inner, prefix := resolved, under+name+"."
		if text(resolved, "type") == "array" {
			inner, prefix = d.resolve(member(resolved, "items")), under+name+"[]."
		}
		more, err := d.fields(inner, prefix, required, optional)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// resolve follows a $ref within the document.
func (d document) resolve(n *yaml.Node) *yaml.Node {
	ref := text(n, "$ref")
	if ref == "" {
		return n
	}
	target := d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		target = member(target, part)
	}
	return d.resolve(target)
}

// bounds returns the words that a value may be, or that each of a list may be, and
// what holds when it is absent.
func (d document) bounds(schema *yaml.Node) (choices []string, standard string) {
	s := d.resolve(schema)
	standard = text(s, "default")
	if text(s, "type") == "array" {
		s = d.resolve(member(s, "items"))
	}
	for _, choice := range elements(member(s, "enum")) {
		choices = append(choices, choice.Value)
	}
	return choices, standard
}

// typeNamed is typeOf for people: a type that has a title is called by it.
func (d document) typeNamed(schema *yaml.Node) string {
	s := d.resolve(schema)
	switch title := text(s, "title"); {
	case title != "":
		return title
	case text(s, "type") == "array":
		return "array of " + d.typeNamed(member(s, "items"))
	}
	return d.typeOf(schema)
}

// typeOf names the type of a schema.
func (d document) typeOf(schema *yaml.Node) string {
	s := d.resolve(schema)
	switch t := text(s, "type"); {
	case t == "array":
		return "array of " + d.typeOf(member(s, "items"))
	case text(s, "format") == "date-time":
		return "time"
	case t == "" && s != nil:
		return "any JSON"
	default:
		return t
	}
}

// text returns a scalar of an object; empty for none.
func text(object *yaml.Node, name string) string {
	if n := member(object, name); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}

// example returns the example of a body, or the first of several, as it would be
// sent.
func example(content *yaml.Node) (string, error) {
	n := member(content, "example")
	for _, e := range members(member(content, "examples")) {
		if n == nil {
			n = member(e, "value")
		}
	}
	if n == nil {
		return "", nil
	}
	if n.Kind == yaml.ScalarNode {
		return n.Value, nil // of a stream
	}
	b, err := nodeJSON(n, "  ")
	return string(b), err
}

// markdown makes HTML of a description. It is our own text.
func markdown(s string) (template.HTML, error) {
	var b bytes.Buffer
	if err := goldmark.Convert([]byte(s), &b); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil
}

// inline is markdown without a paragraph around it.
func inline(s string) (template.HTML, error) {
	html, err := markdown(s)
	text := strings.TrimSpace(string(html))
	if strings.Count(text, "<p>") == 1 {
		text = strings.TrimSuffix(strings.TrimPrefix(text, "<p>"), "</p>")
	}
	return template.HTML(text), err
}

// anchored gives headings anchors, and lists them.
func anchored(html template.HTML) (template.HTML, []docSection) {
	var sections []docSection
	heading := regexp.MustCompile(`<h2>([^<]*)</h2>`)
	out := heading.ReplaceAllStringFunc(string(html), func(h string) string {
		name := heading.FindStringSubmatch(h)[1]
		sections = append(sections, docSection{Name: name, Anchor: "about-" + anchor(name)})
		return fmt.Sprintf(`<h2 id="about-%s">%s</h2>`, anchor(name), name)
	})
	return template.HTML(out), sections
}

func anchor(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "-")) }
