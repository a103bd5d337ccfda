package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Document is a YAML file of other settings than a node's, read as those are: what
// is wrong is found all at once, each with its line. It is not safe for concurrent
// use.
type Document struct {
	r      *fileReader
	values []Value
}

// ReadDocument reads a file that may have these keys, "limits.file" say. A key
// stands for whatever is below it. The error is that the file cannot be read; what is
// wrong in it comes from [Document.Err].
func ReadDocument(path string, keys []string) (*Document, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, readError(path, err)
	}
	d := &Document{r: &fileReader{layer: newLayer(), name: path, keys: keys}}
	root, ok := d.r.parse(content)
	if ok && root != nil {
		d.walk("", root)
	}
	return d, nil
}

// walk keeps the values of the keys below a prefix.
func (d *Document) walk(prefix string, n *yaml.Node) {
	for _, f := range d.r.fields(n, prefix, childrenAmong(d.r.keys, prefix)) {
		key := prefix + f.name
		d.r.places[key] = f.at
		if slices.Contains(d.r.keys, key) {
			d.values = append(d.values, Value{Key: key, d: d, n: f.value})
			continue
		}
		d.walk(key+".", f.value)
	}
}

// Values returns what is set, in the order of the file.
func (d *Document) Values() []Value { return d.values }

// Has says whether a key, or one below it, is set.
func (d *Document) Has(key string) bool { _, ok := d.r.places[key]; return ok }

// Refuse notes a problem with a key at the place where it, or what it is part of,
// was set. It is passed over where that key, or what is below it, has a problem already.
func (d *Document) Refuse(key, format string, args ...any) {
	at := Place{File: d.r.name}
	for part := key; part != ""; part = part[:max(0, strings.LastIndexAny(part, ".["))] {
		if place, ok := d.r.places[part]; ok {
			at = place
			break
		}
	}
	p := Problem{Place: at, Key: key, Text: fmt.Sprintf(format, args...)}
	below := func(q Problem) bool { return Problems{p}.cover(q) }
	if !d.r.problems.cover(p) && !slices.ContainsFunc(d.r.problems, below) && !d.unread() {
		d.r.problems = append(d.r.problems, p)
	}
}

// unread says that the file as a whole could not be read: nothing is known of what
// it lacks.
func (d *Document) unread() bool {
	return slices.ContainsFunc(d.r.problems, func(p Problem) bool { return p.Key == "" })
}

// Err returns what is wrong, as [Problems], or nil.
func (d *Document) Err() error { return d.r.problems.orNil() }

// Value is what a key, or a part of it, is set to. What it does not have is refused
// as it is asked for; then ok is false.
type Value struct {
	Key string // "limits.file", "nexthop[1].cluster"

	d *Document
	n *yaml.Node
}

// Refuse notes a problem with the value.
func (v Value) Refuse(format string, args ...any) {
	v.d.r.refuse(v.d.r.at(v.n), v.Key, format, args...)
}

// IsList says whether the value is a list.
func (v Value) IsList() bool { return v.n.Kind == yaml.SequenceNode }

// IsMapping says whether the value is keys with values.
func (v Value) IsMapping() bool { return v.n.Kind == yaml.MappingNode }

// HasKey says whether the value is a mapping with a key.
func (v Value) HasKey(key string) bool {
	if !v.IsMapping() {
		return false
	}
	for i := 0; i+1 < len(v.n.Content); i += 2 {
		if resolve(v.n.Content[i]).Value == key {
			return true
		}
	}
	return false
}

// Text returns a single value as it is written.
func (v Value) Text() (text string, ok bool) { return v.d.r.scalar(v.Key, v.n) }

// Choice returns one of some words.
func (v Value) Choice(choices ...string) (text string, ok bool) {
	return v.checked(Key{Kind: kindChoice, Choices: choices})
}

// Address returns host:port.
func (v Value) Address() (text string, ok bool) { return v.checked(Key{Kind: kindAddress}) }

// checked returns a text that is as a kind of key wants it.
func (v Value) checked(k Key) (string, bool) {
	text, ok := v.Text()
	if !ok {
		return "", false
	}
	if err := k.checkText(text); err != nil {
		v.Refuse("%s", err)
		return "", false
	}
	return text, true
}

// Duration returns a time between two bounds.
func (v Value) Duration(least, most time.Duration) (d time.Duration, ok bool) {
	n, ok := v.number(kindDuration, int64(least), int64(most), func(text string) (int64, error) {
		d, err := parseDuration(text)
		return int64(d), err
	})
	return time.Duration(n), ok
}

// Bytes returns a size between two bounds.
func (v Value) Bytes(least, most Bytes) (b Bytes, ok bool) {
	n, ok := v.number(kindSize, int64(least), int64(most), func(text string) (int64, error) {
		b, err := ParseBytes(text)
		return int64(b), err
	})
	return Bytes(n), ok
}

// Count returns a whole number between two bounds.
func (v Value) Count(least, most int) (n int, ok bool) {
	count, ok := v.number(kindCount, int64(least), int64(most), func(text string) (int64, error) {
		n, err := strconv.Atoi(text)
		if err != nil {
			err = fmt.Errorf("%q is not a whole number", text)
		}
		return int64(n), err
	})
	return int(count), ok
}

func (v Value) number(kind string, least, most int64, parse func(string) (int64, error)) (int64, bool) {
	text, ok := v.Text()
	if !ok {
		return 0, false
	}
	n, err := parse(text)
	if err == nil {
		err = Key{Kind: kind, Min: least, Max: most}.checkRange(n)
	}
	if err != nil {
		v.Refuse("%s", err)
		return 0, false
	}
	return n, true
}

// Items returns the items of a list. One that is null is refused and left out.
func (v Value) Items() []Value {
	if !v.IsList() {
		v.Refuse("must be a list")
		return nil
	}
	var list []Value
	for i, n := range v.n.Content {
		item := Value{Key: v.Key + "[" + strconv.Itoa(i) + "]", d: v.d, n: resolve(n)}
		if isNull(item.n) {
			item.Refuse("must not be empty")
			continue
		}
		v.d.r.places[item.Key] = v.d.r.at(item.n)
		list = append(list, item)
	}
	return list
}

// Entry is one key with its value.
type Entry struct {
	Name string
	Value
}

// Entries returns the keys of a mapping with their values, in the order of the file:
// of those that are known, or all when none are given. What is unknown, or set twice,
// is refused; what is null is left out.
func (v Value) Entries(known ...string) []Entry {
	var list []Entry
	for _, f := range v.d.r.fields(v.n, v.Key+".", known) {
		v.d.r.places[v.Key+"."+f.name] = f.at
		list = append(list, Entry{f.name, Value{Key: v.Key + "." + f.name, d: v.d, n: f.value}})
	}
	return list
}

// Join makes one list of the problems of several documents; another error among
// them goes before.
func Join(errs ...error) error {
	var all Problems
	for _, err := range errs {
		var ps Problems
		if err != nil && !errors.As(err, &ps) {
			return err
		}
		all = append(all, ps...)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
