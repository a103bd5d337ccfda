package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// DB says which database keeps what is at rest. Without a URL it is a file in the
// data folder.
type DB struct {
	URL         string `yaml:"url"`         // postgres://, or empty
	Connections int    `yaml:"connections"` // to it, at most
}

// Chat says whether this server has accounts and rooms of its own, and of which app
// its users are.
type Chat struct {
	Enabled      bool          `yaml:"enabled"`
	AppName      string        `yaml:"appName"`
	AppID        string        `yaml:"appId"`
	SignUp       bool          `yaml:"signUp"`       // anybody may make an account
	AccessToken  time.Duration `yaml:"accessToken"`  // how long one is good
	RefreshToken time.Duration `yaml:"refreshToken"` // how long one is good that is not used
	ResetToken   time.Duration `yaml:"resetToken"`   // how long one is good
	Webhooks     []Webhook     `yaml:"webhooks"`     // where events of its users are posted to
}

// passwordReset is the event that only chat has: somebody has forgotten his password.
const passwordReset = "passwordReset"

// ChatEvents returns the kinds of events that a webhook of chat may be told of.
func ChatEvents() []string { return append(WebhookEvents(), passwordReset) }

func dbKeys() []Key {
	return []Key{
		{Name: "db.url", Kind: kindDB, optional: true,
			What:  "A PostgreSQL that keeps accounts and rooms, such as postgres://user:password@db.example:5432/switchboard; the same on all nodes. Without it that is a file of SQLite in the data folder, which one node alone can use.",
			field: func(s *Settings) any { return &s.DB.URL }},
		{Name: "db.connections", Kind: kindCount, Default: "16", Min: 2, Max: 1000,
			What:  "Connections to it that a node has at most.",
			field: func(s *Settings) any { return &s.DB.Connections }},
	}
}

func chatKeys() []Key {
	const day = 24 * time.Hour
	hook := func(name, kind, what string) Key {
		return Key{Name: "chat.webhooks[]." + name, Kind: kind, What: what}
	}
	period := func(name, def string, low, high time.Duration, what string, field func(*Settings) any) Key {
		return Key{Name: "chat." + name, Kind: kindDuration, Default: def, Min: int64(low), Max: int64(high), What: what, field: field}
	}
	return []Key{
		{Name: "chat.enabled", Kind: kindSwitch, Default: "false",
			What:  "Whether there are accounts and rooms. In the demo there are, unless this is written. Where a file says true apps may be absent, and there is no demo then.",
			field: func(s *Settings) any { return &s.Chat.Enabled }},
		{Name: "chat.appName", Kind: kindApp, Default: "chat",
			What:  "The app whose users the accounts are; their user IDs begin with it. It is none of apps.",
			field: func(s *Settings) any { return &s.Chat.AppName }},
		{Name: "chat.appId", Kind: kindText, Default: "chat",
			What:  "What clients of that app send as appId.",
			field: func(s *Settings) any { return &s.Chat.AppID }},
		{Name: "chat.signUp", Kind: kindSwitch, Default: "true",
			What:  "Whether anybody may make an account. The accounts that there are stay.",
			field: func(s *Settings) any { return &s.Chat.SignUp }},
		period("accessToken", "15m", time.Second, day, "How long an access token is good; the sessions that it signed in end with it, unless they are given another one.",
			func(s *Settings) any { return &s.Chat.AccessToken }),
		period("refreshToken", "720h", time.Minute, 365*day, "How long a refresh token is good; each use gives a new one.",
			func(s *Settings) any { return &s.Chat.RefreshToken }),
		period("resetToken", "1h", time.Minute, 7*day, "How long a token is good that sets a forgotten password anew.",
			func(s *Settings) any { return &s.Chat.ResetToken }),
		hook("name", kindText, "The name of a webhook of chat. All of this is as in apps[].webhooks."),
		hook("url", kindURL, "Where events are posted to. Required."),
		hook("secret", kindSecret, "Signs what is posted. Required."),
		hook("secondSecret", kindSecret, "Signs it too. None if absent."),
		hook("events", kindNames, "What is posted: "+strings.Join(ChatEvents(), ", ")+". At least one."),
		hook("allowPrivate", kindSwitch, "Whether the webhook may be at a private, loopback or otherwise special address. It may not if absent."),
	}
}

func chatLimits() []Key {
	return []Key{
		count("signUps", "100", 1, 1_000_000, "Accounts that can be made from one address in an hour, as each node counts them.",
			func(l *Limits) any { return &l.SignUps }),
		count("accountSessions", "100", 1, 10_000, "Sign-ins of one account that can be refreshed; one more ends that which was used longest ago.",
			func(l *Limits) any { return &l.AccountSessions }),
		count("blockedUsers", "1000", 1, 100_000, "Users that one account may block.",
			func(l *Limits) any { return &l.BlockedUsers }),
		size("roomContent", "16KiB", KiB, MiB, "The largest content of one message in a room. At most what the frame limit leaves counts.",
			func(l *Limits) any { return &l.RoomContent }),
		count("roomMembers", "100000", 2, 10_000_000, "Members of one room.",
			func(l *Limits) any { return &l.RoomMembers }),
		count("roomsPerUser", "1000", 1, 100_000, "Rooms that one user may be a member of.",
			func(l *Limits) any { return &l.RoomsPerUser }),
		count("roomsOwned", "100", 1, 100_000, "Rooms that one user may have made and be the owner of, those for two not counted.",
			func(l *Limits) any { return &l.RoomsOwned }),
	}
}

// checkDB checks the URL of a database. What is wrong is said without it: it may
// carry a password.
func checkDB(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme == "":
		return errors.New("is not a URL such as postgres://user:password@db.example:5432/switchboard")
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return fmt.Errorf("begins with %s://: the URL of a PostgreSQL begins with postgres://", u.Scheme)
	case u.Hostname() == "" && !u.Query().Has("host"):
		return errors.New("names no host")
	case u.Path == "" || u.Path == "/":
		return errors.New("names no database, as /switchboard at its end would")
	case checkPort(u.Port()) != nil:
		return errors.New("has no valid port")
	case u.Fragment != "":
		return errors.New("must not have a fragment (#…): in a password # is written as %23")
	}
	return nil
}

// ChatOff says why a server whose settings want chat cannot have it; nil where it can, or is
// not wanted.
func (s Settings) ChatOff() error {
	if !s.Chat.Enabled || s.DB.URL != "" || !s.Shared() {
		return nil
	}
	return errors.New("chat is off on this node: several nodes keep accounts and rooms in one PostgreSQL, so db.url has to be set, the same on all of them")
}

// checkChat notes what is wrong with the app of chat.
func (c *checker) checkChat(s Settings) {
	if !s.Chat.Enabled {
		return
	}
	c.checkWebhooks("chat.webhooks", s.Chat.Webhooks, ChatEvents())
	if s.Chat.AppID == "" {
		c.refuse("chat.appId", "is required")
	}
	for i, a := range s.Apps {
		if a.Name == s.Chat.AppName {
			c.refuse(fmt.Sprintf("apps[%d].appName", i), "%q is the app of chat (chat.appName), whose users are accounts: name one of the two differently", a.Name)
		}
	}
}

// webhooksOfChatTemplate returns a commented-out webhook of chat.
func webhooksOfChatTemplate() string {
	return commentLines("  ", "Where your own server is told of events of its users, with the keys of apps[].webhooks:") +
		"  #webhooks:\n  #  - name: mailer\n  #    url: https://example.com/switchboard\n  #    secret: (yours)\n  #    events: [" + passwordReset + "]\n"
}
