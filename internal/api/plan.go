package api

import (
	"encoding"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// App is the name of an app in a request: always the key's own, unless the key
// is an admin key.
type App string

// plan says how the fields of a request are filled. It is made once, for a type.
type plan struct {
	request reflect.Type
	params  []param
	page    []int           // index of the field Page; nil for none
	once    []int           // of the field *Once; nil for none
	body    []int           // of the body; nil for none
	raw     bool            // which the handler reads itself
	tree    *bodyPlan       // of the body; nil where there is nothing to check
	names   map[string]bool // query parameters that there are
	members map[string]bool // of the body
	ofUser  bool            // it is about a user, whose ID says the app
}

// param is one field that comes from path or query.
type param struct {
	index    []int
	name     string
	path     bool
	kind     reflect.Type
	optional bool // of an App: may be absent with an admin key
}

// newPlan panics when a request type breaks the rules in call.go: that is a
// mistake of ours, and is seen when the table is made.
func newPlan(t reflect.Type) *plan {
	p := &plan{request: t, names: make(map[string]bool), members: make(map[string]bool)}
	p.add(t, nil)
	return p
}

func (p *plan) add(t reflect.Type, at []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(append([]int(nil), at...), i)
		name, isPath := f.Tag.Lookup("path")
		query, isQuery := f.Tag.Lookup("query")
		switch {
		case !f.IsExported():
		case f.Type == reflect.TypeFor[Page]():
			p.page = index
			p.add(f.Type, index)
		case f.Type == reflect.TypeFor[*Once]():
			p.once = index
		case f.Tag.Get("body") == "raw":
			p.body, p.raw = index, true
		case f.Tag.Get("body") == "json":
			p.body, p.tree = index, newBodyPlan(f.Type)
			p.listMembers(f.Type)
		case isPath || isQuery:
			if isQuery {
				name = query
				p.names[name] = true
			}
			mustBeReadable(f.Type)
			p.ofUser = p.ofUser || isPath && f.Type == reflect.TypeFor[wire.UserID]()
			p.params = append(p.params, param{index: index, name: name, path: isPath, kind: f.Type, optional: f.Tag.Get("api") == "optional"})
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			p.add(f.Type, index)
		default:
			panic(fmt.Sprintf("api: field %s of %s comes from nowhere", f.Name, t))
		}
	}
}

// listMembers notes what a body may have.
func (p *plan) listMembers(t reflect.Type) {
	if s, ok := reflect.Zero(t).Interface().(shaped); ok {
		t = s.shape()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		p.members[name] = true
	}
}

// stray refuses a parameter that the call does not have, and says where else it
// would belong.
func (p *plan) stray(name string) *Refusal {
	switch {
	case p.members[name]:
		return Invalid(name, "is no parameter of this call: it goes into the body")
	case name == "app" && p.ofUser:
		return Invalid(name, "is no parameter of this call: the app is that of the user ID")
	}
	return Invalid(clip(name), "is no parameter of this call")
}

// decode reads the body, of which it says also when a parameter stands in it.
func (p *plan) decode(body []byte, v reflect.Value, who Identity) *Refusal {
	refused := p.tree.decode(body, v, who)
	if refused != nil && refused.stray && p.names[refused.Field] {
		return Invalid(refused.Field, "is no field of this call: it goes into the URL, as ?%s=…", refused.Field)
	}
	return refused
}

func mustBeReadable(t reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
	case t.Kind() == reflect.String, t.Kind() == reflect.Bool, t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
	default:
		panic(fmt.Sprintf("api: a parameter cannot be a %s", t))
	}
}

// read fills a request from path and query, and returns it as a pointer.
func (p *plan) read(r *http.Request, who Identity, most int) (reflect.Value, *Refusal) {
	request := reflect.New(p.request)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return request, Invalid("", "the query of the URL is not well-formed")
	}
	for name, values := range query {
		if !p.names[name] {
			return request, p.stray(name)
		}
		if len(values) > 1 {
			return request, Invalid(name, "is given more than once")
		}
	}
	for i := range p.params {
		if refused := p.params[i].read(request.Elem(), r, query, who); refused != nil {
			return request, refused
		}
	}
	if p.page != nil {
		page := request.Elem().FieldByIndex(p.page).Addr().Interface().(*Page)
		if refused := page.begin(r.URL.Path, query, most); refused != nil {
			return request, refused
		}
	}
	return request, nil
}

// read fills one field.
func (p *param) read(request reflect.Value, r *http.Request, query url.Values, who Identity) *Refusal {
	text, given := r.PathValue(p.name), true
	if !p.path {
		given = query.Has(p.name)
		text = query.Get(p.name)
	}
	field := request.FieldByIndex(p.index)
	if given {
		if refused := setText(field, p.name, text); refused != nil {
			return refused
		}
	}
	return p.bind(field, who)
}

// bind checks that what a field names is of the key's app, and that a user whom the
// path names lives here.
func (p *param) bind(field reflect.Value, who Identity) *Refusal {
	switch v := field.Addr().Interface().(type) {
	case *App:
		return v.bind(p.name, "name the app, as ?"+p.name+"=…", p.optional, who)
	case *wire.UserID:
		if *v == "" {
			return nil
		}
		if refused := who.checkApp(p.name, v.App()); refused != nil || !p.path {
			return refused
		}
		return who.checkHome(p.name, *v)
	}
	return nil
}

// bind makes an app the key's own when none is named, and refuses another. how
// says how to name one.
func (a *App) bind(name, how string, optional bool, who Identity) *Refusal {
	switch {
	case *a == "" && !who.Admin:
		*a = App(who.App)
	case *a == "" && !optional:
		return Invalid(name, "is needed with an admin key: %s", how)
	case *a != "":
		return who.checkApp(name, string(*a))
	}
	return nil
}

func asRefusal(err error) *Refusal {
	if err == nil {
		return nil
	}
	r, _ := refusalOf(err)
	return r
}

// setText sets a field to what a parameter says. One that is a pointer says by being
// nil that there was none.
func setText(field reflect.Value, name, text string) *Refusal {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	if user, ok := field.Addr().Interface().(*wire.UserID); ok {
		id, err := wire.ParseUserID(text)
		if err != nil {
			return Invalid(name, "is no user ID: %s", err)
		}
		*user = id
		return nil
	}
	if u, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return Invalid(name, "%s", err)
		}
		return nil
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return Invalid(name, "must be true or false")
		}
		field.SetBool(text == "true")
	default:
		n, err := strconv.ParseInt(text, 10, field.Type().Bits())
		if err != nil || strconv.FormatInt(n, 10) != text {
			return Invalid(name, "must be a whole number")
		}
		field.SetInt(n)
	}
	return nil
}
