package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// traceCommand prints the path that a message to a user would take.
type traceCommand struct {
	User string `arg:"" help:"The user, such as ANZ-1000007."`
	nodeFlags
}

// Validate checks the user; what it says is a matter of usage.
func (c traceCommand) Validate() error {
	if _, err := wire.ParseUserID(c.User); err != nil {
		return fmt.Errorf("%q is no user ID: %w", c.User, err)
	}
	return c.nodeFlags.Validate()
}

// traceAnswer is what a node says of the way to a user.
type traceAnswer struct {
	User    string   `json:"userId"`
	Domain  string   `json:"domain"`
	Local   bool     `json:"local"`
	Version uint64   `json:"version"`
	Path    []string `json:"path"`
	Next    string   `json:"next"`
	Cost    int      `json:"cost"`
	Sending struct {
		State string    `json:"state"`
		Since time.Time `json:"since"`
		Why   string    `json:"why"`
		Node  string    `json:"node"`
	} `json:"sending"`
	Waiting struct {
		Messages int       `json:"messages"`
		Bytes    int64     `json:"bytes"`
		Oldest   time.Time `json:"oldest"`
	} `json:"waiting"`
}

// Run implements the command.
func (c traceCommand) Run(p *program) error {
	n, err := c.node(p)
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	var answer traceAnswer
	raw, err := n.call(context.Background(), "GET", "/v1/domains/trace?user="+url.QueryEscape(c.User), nil, &answer)
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	if c.JSON {
		_, err = p.out.Write(raw)
	} else {
		_, err = fmt.Fprint(p.out, answer.text())
	}
	if err == nil {
		err = answer.trouble()
	}
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}

// text is what is printed.
func (a traceAnswer) text() string {
	switch {
	case a.Local && a.Domain == "":
		return fmt.Sprintf("%s lives here: there are no other domains\n", a.User)
	case a.Local:
		return fmt.Sprintf("%s lives here, in %s\n", a.User, a.Domain)
	case a.Domain == "":
		return fmt.Sprintf("%s lives nowhere: no range of the app has this number (version %d of the network)\n", a.User, a.Version)
	case len(a.Path) == 0:
		return fmt.Sprintf("%s lives in %s, and no path leads there (version %d of the network)\n", a.User, a.Domain, a.Version)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s lives in %s\n", a.User, a.Domain)
	fmt.Fprintf(&b, "path  %s, cost %d (version %d of the network)\n", strings.Join(a.Path, " > "), a.Cost, a.Version)
	fmt.Fprintf(&b, "link  to %s: %s", a.Next, a.Sending.State)
	if !a.Sending.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", a.Sending.Since.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if a.Sending.Node != "" {
		fmt.Fprintf(&b, " at node %s", a.Sending.Node)
	}
	fmt.Fprintf(&b, ", %s (%d bytes)", plural(a.Waiting.Messages, "message"), a.Waiting.Bytes)
	if !a.Waiting.Oldest.IsZero() {
		fmt.Fprintf(&b, ", the oldest of %s", a.Waiting.Oldest.UTC().Format("2006-01-02T15:04:05Z"))
	}
	b.WriteString(" on the way or waiting\n")
	return b.String()
}

// trouble is why a message would not go on its way now; nil if it would.
func (a traceAnswer) trouble() error {
	switch {
	case a.Local:
		return nil
	case a.Domain == "" || len(a.Path) == 0:
		return fmt.Errorf("a message to %s would be refused: there is no way", a.User)
	case a.Sending.State != "up":
		return fmt.Errorf("a message to %s would wait here: %s", a.User, a.Sending.Why)
	}
	return nil
}
