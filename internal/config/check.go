package config

import (
	"fmt"
	"strings"
)

// Check says what is wrong with settings that were made by hand, as
// [Problems]; what Load returned is checked already.
func (s Settings) Check() error {
	c := checker{}
	for _, k := range Keys() {
		if k.field == nil {
			continue
		}
		var scratch Settings
		if err := k.set(&scratch, k.text(&s)); err != nil {
			for _, one := range each(err) {
				c.refuse(k.Name, "%s", one)
			}
		}
	}
	c.checkApps(s.Apps)
	c.checkListeners(s)
	c.checkTogether(s)
	return c.problems.orNil()
}

// checker collects what is wrong with a whole of settings.
type checker struct {
	places   map[string]Place
	problems Problems
}

// refuse notes a problem with a key, at the place where it, or what it is
// part of, was set.
func (c *checker) refuse(key, format string, args ...any) {
	at, ok := c.places[key]
	for part := key; !ok && part != ""; at, ok = c.places[part] {
		part = part[:max(0, strings.LastIndexAny(part, ".["))]
	}
	c.problems = append(c.problems, Problem{Place: at, Key: key, Text: fmt.Sprintf(format, args...)})
}

// checkTogether notes values that are good alone but not with each other.
func (c *checker) checkTogether(s Settings) {
	if s.Demo {
		c.checkReach("listen", s.Listen)
		c.checkReach("admin", s.Admin)
	}
	l := s.Limits
	if room := l.Frame + 128*KiB; l.QueueBytes < room {
		c.refuse(c.firstSet("limits.queueBytes", "limits.frame"),
			"limits.queueBytes is %s, but must have room for limits.frame (%s) and 128KiB more", l.QueueBytes, l.Frame)
	}
	if l.MailboxBytes < l.Frame {
		c.refuse(c.firstSet("limits.mailboxBytes", "limits.frame"),
			"limits.mailboxBytes is %s, less than one frame (limits.frame, %s)", l.MailboxBytes, l.Frame)
	}
}

// checkListeners notes that the listeners exclude each other.
func (c *checker) checkListeners(s Settings) {
	if sameAddress(s.Listen, s.Admin) {
		c.refuse(c.firstSet("admin", "listen"), "listen (%s) and admin (%s) want the same port", s.Listen, s.Admin)
	}
}

// checkReach refuses to let others than this machine reach the demo app.
func (c *checker) checkReach(key, address string) {
	if !loopback(address) {
		c.refuse(key, "other machines can reach %s, and without apps the demo app lets anyone in: "+
			"name your apps in a settings file (switchboard config init writes one to start from) or take a loopback address", address)
	}
}

// firstSet returns the first of the keys that was set by anyone, or the first.
func (c *checker) firstSet(keys ...string) string {
	for _, key := range keys {
		if _, ok := c.places[key]; ok {
			return key
		}
	}
	return keys[0]
}
