package apps

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// MaxAppID is the longest appId, in bytes.
const MaxAppID = 256

// FieldError is one thing that is wrong with the settings of an app.
type FieldError struct {
	Index   int    // the app's place in the list, from 0
	App     string // its name, as it is given
	Field   string // the setting, for example "authUrl" or "jwt.secret"
	Problem string // holds no value of a secret or a URL
}

// Error names the app, the field and the problem.
func (e FieldError) Error() string {
	name := fmt.Sprintf("app %q", e.App)
	if e.App == "" {
		name = fmt.Sprintf("app number %d", e.Index+1)
	}
	return name + ": " + e.Field + ": " + e.Problem
}

// FieldErrors is all that is wrong with a list of apps.
type FieldErrors []FieldError

// Error returns all of them, separated by semicolons.
func (e FieldErrors) Error() string {
	texts := make([]string, len(e))
	for i, f := range e {
		texts[i] = f.Error()
	}
	return strings.Join(texts, "; ")
}

// Check says what is wrong with a list of apps: nil, or a [FieldErrors]. It
// asks nobody; whether a URL answers is found out at run time.
func Check(list []App) error {
	c := checker{names: make(map[string]struct{}, len(list)), ids: make(map[string]string, len(list))}
	known := make(map[string]struct{}, len(list))
	for _, app := range list {
		known[app.Name] = struct{}{}
	}
	for i := range list {
		c.index, c.app = i, &list[i]
		c.identity()
		c.authentication()
		for _, name := range c.app.AllowApps {
			if _, ok := known[name]; !ok {
				c.bad("allowApps", fmt.Sprintf("there is no app %q", name))
			}
		}
	}
	if len(c.found) > 0 {
		return c.found
	}
	return nil
}

// checker collects what is wrong.
type checker struct {
	names map[string]struct{} // seen so far
	ids   map[string]string   // seen so far, with whose
	found FieldErrors

	index int
	app   *App
}

func (c *checker) bad(field, problem string) {
	c.found = append(c.found, FieldError{Index: c.index, App: c.app.Name, Field: field, Problem: problem})
}

func (c *checker) identity() {
	app := c.app
	if _, err := wire.ParseUserID(app.Name + "-0"); err != nil {
		c.bad("appName", fmt.Sprintf("has 1 to %d letters, digits and '_'", wire.MaxAppName))
	}
	if _, again := c.names[app.Name]; again {
		c.bad("appName", "is given to two apps")
	}
	c.names[app.Name] = struct{}{}

	if problem := checkAppID(app.ID); problem != "" {
		c.bad("appId", problem)
	} else if other, again := c.ids[app.ID]; again {
		c.bad("appId", fmt.Sprintf("is also that of the app %q", other))
	} else {
		c.ids[app.ID] = app.Name
	}

	if app.Master == "" {
		return
	}
	if _, err := wire.ParseUserID(app.Master); err != nil {
		c.bad("masterUserId", err.Error())
	} else if app.Master.App() != app.Name {
		c.bad("masterUserId", fmt.Sprintf("%q is a user of another app", app.Master))
	}
}

func (c *checker) authentication() {
	app := c.app
	if app.Authority != nil {
		if app.AuthURL != "" || app.JWT != nil {
			c.bad("authority", "is there, and so is authUrl or jwt")
		}
		return
	}
	if app.AuthEnabled && app.AuthURL == "" && app.JWT == nil {
		c.bad("authEnabled", "is true, but there is neither authUrl nor jwt")
	}
	if app.AuthURL != "" {
		if err := checkURL(app.AuthURL); err != nil {
			c.bad("authUrl", err.Error())
		}
	}
	if app.JWT == nil {
		return
	}
	if !app.AuthEnabled {
		// Whoever writes down keys believes that they are used.
		c.bad("authEnabled", "is false, but there is jwt: set it to true, or remove jwt")
	}
	if field, problem := app.JWT.problem(); problem != "" {
		c.bad(field, problem)
	}
}

func checkAppID(id string) string {
	switch {
	case id == "":
		return "is missing"
	case len(id) > MaxAppID:
		return fmt.Sprintf("is longer than %d bytes", MaxAppID)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return "has characters that are not text"
	}
	return ""
}

// checkURL says whether raw can be called. Its errors do not repeat it: a URL
// may hold a password.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("does not begin with http:// or https://")
	case u.Hostname() == "" || u.Opaque != "":
		return errors.New("names no host")
	case u.Fragment != "":
		return errors.New("has a fragment (what follows '#' is never sent)")
	}
	return nil
}

// isPlain says whether raw is called without encryption over a network.
func isPlain(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}
