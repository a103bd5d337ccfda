package api

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// readBody reads the body of a request; nil for none. A body that is there must
// say that it is JSON.
func readBody(r *http.Request, wanted bool) ([]byte, *Refusal) {
	if r.ContentLength == 0 && len(r.TransferEncoding) == 0 && !wanted {
		return nil, nil
	}
	body, err := readAll(r)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, Refuse(http.StatusRequestEntityTooLarge, CodeBodyTooLarge, "a body may have %d bytes", tooLarge.Limit)
		}
		return nil, Invalid("", "the body ended before its end")
	}
	switch {
	case len(body) == 0 && wanted:
		return nil, Invalid("", "the request has no body, which must be a JSON object")
	case len(body) > 0 && !wanted:
		return nil, Invalid("", "this call takes no body")
	case len(body) == 0:
		return nil, nil
	}
	codings, kinds := r.Header.Values("Content-Encoding"), r.Header.Values("Content-Type")
	if coding := strings.Join(codings, ","); coding != "" && coding != "identity" {
		return nil, Refuse(http.StatusUnsupportedMediaType, CodeMediaType, "a body with Content-Encoding is not read: send it plain")
	}
	// What is said twice may be read by its first or its last by whoever is between.
	kind, params, err := mime.ParseMediaType(strings.Join(kinds, ","))
	charset := params["charset"]
	if err != nil || len(kinds) > 1 || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, Refuse(http.StatusUnsupportedMediaType, CodeMediaType, "the Content-Type of the body must be application/json, once")
	}
	return body, nil
}

// A body has room for as much as this at first, and then for so many times what
// has come: a length costs its client nothing to claim, and would cost us memory.
const (
	firstRead  = 4 << 10
	readGrowth = 4
)

// readAll reads a body whose length is often known.
func readAll(r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 {
		return io.ReadAll(r.Body)
	}
	body := make([]byte, 0, min(r.ContentLength, firstRead))
	for int64(len(body)) < r.ContentLength {
		if len(body) == cap(body) {
			more := make([]byte, len(body), min(r.ContentLength, readGrowth*int64(cap(body))))
			copy(more, body)
			body = more
		}
		n, err := io.ReadFull(r.Body, body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err != nil {
			return body, err
		}
	}
	return body, nil
}

// decode reads JSON into what v points to, and checks it: no member that
// there is no field for, none twice, none missing that is required.
func (b *bodyPlan) decode(body []byte, v reflect.Value, who Identity) *Refusal {
	if raw, ok := v.Addr().Interface().(rawBody); ok {
		raw.set(body)
		return nil
	}
	if kind := jsontext.Value(body).Kind(); kind != '{' && v.Kind() == reflect.Struct {
		return Invalid("", "the body must be a JSON object")
	}
	if err := json.Unmarshal(body, v.Addr().Interface(), json.RejectUnknownMembers(true)); err != nil {
		return bodyRefusal(err)
	}
	return b.check(v, "", who)
}

// bodyRefusal says for people what is wrong with a body.
func bodyRefusal(err error) *Refusal {
	var refused *Refusal
	var wrong *json.SemanticError
	var broken *jsontext.SyntacticError
	switch {
	case errors.As(err, &broken) && broken.Err == jsontext.ErrDuplicateName:
		return Invalid(place(broken.JSONPointer), "is given twice")
	case errors.As(err, &broken):
		return Invalid("", "the body is not JSON: %s at byte %d", sentence(broken.Err), broken.ByteOffset)
	case errors.As(err, &refused):
		return refused
	case !errors.As(err, &wrong):
		return Invalid("", "the body cannot be read: %s", err)
	case wrong.Err == json.ErrUnknownName:
		refused := Invalid(place(wrong.JSONPointer), "is no field of this call")
		refused.stray = true
		return refused
	}
	var parse *strconv.NumError
	if wrong.Err != nil && !errors.As(wrong.Err, &parse) && wrong.JSONKind == '"' {
		return Invalid(place(wrong.JSONPointer), "%s", wrong.Err)
	}
	return Invalid(place(wrong.JSONPointer), "must be %s", wanted(wrong.GoType))
}

// sentence strips what a library puts before its errors.
func sentence(err error) string {
	return strings.TrimPrefix(err.Error(), "jsontext: ")
}

// place turns "/messages/3/ttl" into messages[3].ttl.
func place(p jsontext.Pointer) string {
	var b strings.Builder
	for part := range p.Tokens() {
		if n, err := strconv.Atoi(part); err == nil && b.Len() > 0 {
			fmt.Fprintf(&b, "[%d]", n)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(clip(part))
	}
	return b.String()
}

// wanted says what a member must be to fit a type.
func wanted(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[Time]() {
		return aTime
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "something else"
}

// bodyPlan is what is checked in a body once it is decoded.
type bodyPlan struct {
	fields []bodyField
	elem   *bodyPlan // of an array's elements; nil where there is nothing to check
	user   bool      // a user ID
}

type bodyField struct {
	index    []int
	name     string
	required bool
	app      bool
	optional bool // of an App: may be absent with an admin key
	plan     *bodyPlan
}

// newBodyPlan returns nil when there is nothing to check in a type.
func newBodyPlan(t reflect.Type) *bodyPlan {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[wire.UserID]():
		return &bodyPlan{user: true}
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		if elem := newBodyPlan(t.Elem()); elem != nil {
			return &bodyPlan{elem: elem}
		}
		return nil
	case t.Kind() != reflect.Struct || readsItself(t):
		return nil
	}
	b := &bodyPlan{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("api: field %s of %s has no name in JSON", f.Name, t))
		}
		field := bodyField{
			index: []int{i}, name: name, required: options != "omitzero", plan: newBodyPlan(f.Type),
			app: f.Type == reflect.TypeFor[App](), optional: f.Tag.Get("api") == "optional",
		}
		if field.required || field.app || field.plan != nil {
			b.fields = append(b.fields, field)
		}
	}
	return b
}

// readsItself says whether a type decodes itself, and so is not looked into.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[json.UnmarshalerFrom]()) ||
		p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// check goes through what was decoded.
func (b *bodyPlan) check(v reflect.Value, at string, who Identity) *Refusal {
	if b == nil {
		return nil
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch {
	case b.user:
		if _, err := wire.ParseUserID(v.String()); v.String() != "" && err != nil {
			return Invalid(at, "is no user ID: %s", err)
		}
		return nil
	case b.elem != nil:
		for i := range v.Len() {
			if refused := b.elem.check(v.Index(i), fmt.Sprintf("%s[%d]", at, i), who); refused != nil {
				return refused
			}
		}
		return nil
	}
	for i := range b.fields {
		if refused := b.fields[i].check(v, at, who); refused != nil {
			return refused
		}
	}
	return nil
}

func (f *bodyField) check(object reflect.Value, at string, who Identity) *Refusal {
	name := f.name
	if at != "" {
		name = at + "." + name
	}
	v := object.FieldByIndex(f.index)
	if f.app {
		return v.Addr().Interface().(*App).bind(name, "name the app in the body", f.optional, who)
	}
	if f.required && v.IsZero() {
		return Invalid(name, "is missing or empty")
	}
	return f.plan.check(v, name, who)
}
