package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Check says what is wrong with settings that were made by hand, as
// [Problems]; what Load returned is checked already.
func (s Settings) Check() error {
	c := checker{hidden: s.hidden}
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
	c.checkApps(s)
	c.checkGateway(s)
	c.checkTogether(s, nil)
	return c.problems.orNil()
}

// checker collects what is wrong with a whole of settings.
type checker struct {
	places   map[string]Place
	hidden   map[string]bool // what is said of these keys may hold a secret
	single   Problems        // what is wrong with single values, which count as absent
	problems Problems
}

// refuse notes a problem with a key, at the place where it, or what it is
// part of, was set.
func (c *checker) refuse(key, format string, args ...any) {
	at, ok := c.places[key]
	for part := key; !ok && part != ""; at, ok = c.places[part] {
		part = part[:max(0, strings.LastIndexAny(part, ".["))]
	}
	text := fmt.Sprintf(format, args...)
	if c.hidden[key] {
		text = hiddenProblem
	}
	c.problems = append(c.problems, Problem{Place: at, Key: key, Text: text})
}

// checkTogether notes values that are good alone but not with each other. It
// passes over what the problems may have put other values into.
func (c *checker) checkTogether(s Settings, problems Problems) {
	if s.Demo && problems.leaveApps() {
		if problems.leave(c.places, "listen") {
			c.checkReach("listen", s.Listen)
		}
		if problems.leave(c.places, "admin") {
			c.checkReach("admin", s.Admin)
		}
	}
	if problems.leave(c.places, "listen", "admin") {
		c.checkListeners(s)
		c.checkEntrance(s)
	}
	l := s.Limits
	if room := l.Frame + 128*KiB; l.QueueBytes < room && problems.leave(c.places, "limits.queueBytes", "limits.frame") {
		c.refuse(c.firstSet("limits.queueBytes", "limits.frame"),
			"limits.queueBytes is %s, but must have room for limits.frame (%s) and 128KiB more", l.QueueBytes, l.Frame)
	}
	if l.MailboxBytes < l.Frame && problems.leave(c.places, "limits.mailboxBytes", "limits.frame") {
		c.refuse(c.firstSet("limits.mailboxBytes", "limits.frame"),
			"limits.mailboxBytes is %s, less than one frame (limits.frame, %s)", l.MailboxBytes, l.Frame)
	}
	if problems.leave(c.places, "limits.mailboxAge", "limits.webhookRetry") {
		c.checkEventAge(s)
	}
	c.checkMeeting(s, problems)
	if problems.leave(c.places, "chat.enabled", "chat.appName") {
		c.checkChat(s)
	}
	if problems.leave(c.places, "domain", "meta") {
		c.checkDomain(s)
	}
}

// checkMeeting notes what is wrong with how nodes meet, and with whom they ask.
func (c *checker) checkMeeting(s Settings, problems Problems) {
	good := func(group string) bool {
		return !slices.ContainsFunc(problems, func(p Problem) bool {
			part, _, _ := strings.Cut(p.Key, ".")
			return part == group || part == "" || !slices.Contains(childrenOf(""), part)
		})
	}
	cluster, nats := good("cluster"), good("nats")
	if cluster && nats && good("listen") && good("admin") {
		c.checkCluster(s)
	}
	if nats {
		c.checkNATSUse(s)
	}
	if cluster && nats && good("roles") {
		c.checkRoles(s)
	}
	if good("relay") {
		c.checkRelayUse(s.Relay)
	}
	if good("registry") {
		c.checkRegistry(s.Registry)
	}
}

// eventSlack is how much longer events have to be kept than they are tried:
// those that wait behind others are given up after those.
const eventSlack = time.Hour

// checkEventAge refuses to have events of webhooks go from their mailboxes before
// they are given up, unseen by the history.
func (c *checker) checkEventAge(s Settings) {
	l := s.Limits
	if l.MailboxAge >= l.WebhookRetry+eventSlack || len(s.Chat.Webhooks) == 0 && !slices.ContainsFunc(s.Apps, func(a App) bool { return len(a.Webhooks) > 0 }) {
		return
	}
	c.refuse(c.firstSet("limits.mailboxAge", "limits.webhookRetry"),
		"limits.mailboxAge is %s, but where there are webhooks it must be an hour longer than limits.webhookRetry (%s): else events expire while they are tried",
		durationText(l.MailboxAge), durationText(l.WebhookRetry))
}

// checkListeners notes that the listeners exclude each other.
func (c *checker) checkListeners(s Settings) {
	if sameAddress(s.Listen, s.Admin) {
		c.refuse(c.firstSet("admin", "listen"), "listen (%s) and admin (%s) want the same port", s.Listen, s.Admin)
	}
}

// leave says whether the keys, which are of one group, are as they were meant
// in spite of the problems: a key that was refused or misspelt, or a source
// that cannot be read, may have left a default behind.
func (ps Problems) leave(places map[string]Place, keys ...string) bool {
	group, _, grouped := strings.Cut(keys[0], ".")
	allSet := !slices.ContainsFunc(keys, func(key string) bool { _, ok := places[key]; return !ok })
	top := childrenOf("")
	return !slices.ContainsFunc(ps, func(p Problem) bool {
		part, _, below := strings.Cut(p.Key, ".")
		part, _, listed := strings.Cut(part, "[")
		elsewhere := slices.Contains(top, part) && part != group
		if !grouped {
			elsewhere = below || listed || slices.Contains(top, part)
		}
		return slices.Contains(keys, p.Key) || !elsewhere && !allSet
	})
}

// leaveApps says whether there are none because none were meant: what the
// problems are about cannot have been the list of apps, or that of chat.
func (ps Problems) leaveApps() bool {
	top := childrenOf("")
	return !slices.ContainsFunc(ps, func(p Problem) bool {
		part, _, below := strings.Cut(p.Key, ".")
		part, _, listed := strings.Cut(part, "[")
		unknown := !below && !listed && !slices.Contains(top, part)
		return part == "apps" || p.Key == "chat.enabled" || p.Place.Flag == "" && unknown // of flags, none sets apps
	})
}

// checkReach refuses to let others than this machine reach the demo app.
func (c *checker) checkReach(key, address string) {
	if !loopback(address) {
		c.refuse(key, "other machines can reach %s, and without apps the demo app lets anyone in: "+
			"name your apps in a settings file (switchboard config init writes one to start from), or write chat.enabled: true there for accounts and rooms alone, or take a loopback address", address)
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
