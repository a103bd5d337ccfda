package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
)

// keysCommands make, list and revoke API keys.
type keysCommands struct {
	Create createKeyCommand `cmd:"" help:"Make a key, and print it: nobody can find it out later."`
	List   listKeysCommand  `cmd:"" help:"List the keys that there are."`
	Revoke revokeKeyCommand `cmd:"" help:"Revoke keys: from then on they are refused."`
}

// keyInfo is a key as the node shows it.
type keyInfo struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	App        string     `json:"app"`
	Admin      bool       `json:"admin"`
	Scopes     []string   `json:"scopes"`
	CreatedAt  time.Time  `json:"createdAt"`
	ExpiresAt  *time.Time `json:"expiresAt"`
	LastUsedAt *time.Time `json:"lastUsedAt"`
	Key        string     `json:"key"` // when it was just made
}

// createKeyCommand makes a key.
type createKeyCommand struct {
	App     string   `help:"The app that it is for."`
	Scope   []string `placeholder:"SCOPE" help:"What it may do; more than one with commas or by repeating it: ${scopes}."`
	Admin   bool     `help:"An admin key instead: for all apps, with all scopes."`
	Name    string   `help:"What it is called in lists, for people."`
	Expires span     `placeholder:"DURATION" help:"For how long it is good, such as 30d or 12h. Else until it is revoked."`
	nodeFlags
}

// Validate checks the flags; what it says is a matter of usage.
func (c createKeyCommand) Validate() error {
	switch {
	case c.Admin && (c.App != "" || len(c.Scope) > 0):
		return errors.New("--admin is a key for all apps with all scopes: leave --app and --scope out")
	case !c.Admin && c.App == "":
		return errors.New("--app is needed: the app that the key is for; or --admin")
	case !c.Admin && len(c.Scope) == 0:
		return fmt.Errorf("--scope is needed: one or more of %s", keys.ScopeNames())
	}
	for _, s := range c.Scope {
		if !keys.Scope(s).Known() {
			return fmt.Errorf("--scope %s: choose of %s", s, keys.ScopeNames())
		}
	}
	return c.nodeFlags.Validate()
}

// Run implements the command.
func (c createKeyCommand) Run(p *program) error {
	wish := map[string]any{"name": c.Name, "app": c.App, "scopes": c.Scope, "admin": c.Admin}
	if c.Admin {
		wish = map[string]any{"name": c.Name, "admin": true}
	}
	if c.Expires > 0 {
		wish["expiresAt"] = time.Now().Add(time.Duration(c.Expires)).UTC().Format(time.RFC3339Nano)
	}
	n, err := c.node(p)
	if err != nil {
		return fmt.Errorf("keys create: %w", err)
	}
	var made keyInfo
	raw, err := n.call(context.Background(), "POST", "/v1/keys", wish, &made)
	if err != nil {
		return fmt.Errorf("keys create: %w", byOption(err))
	}
	if c.JSON {
		_, err = p.out.Write(raw)
		return err
	}
	// The key alone on standard output, so that a script can take it.
	if _, err = fmt.Fprintln(p.out, made.Key); err != nil {
		return err
	}
	// The key is out; that this can be read too is not worth an error.
	fmt.Fprintf(p.err, "key %s %s, good %s; it is not shown again\n", made.ID, made.power(), made.until())
	return nil
}

// byOption has a refusal name the option that is wrong where it names the field
// of the request, which whoever types a command has not seen.
func byOption(err error) error {
	var refused *problemError
	if !errors.As(err, &refused) {
		return err
	}
	option := map[string]string{"app": "--app", "scopes": "--scope", "admin": "--admin", "name": "--name", "expiresAt": "--expires"}[refused.Field]
	if option == "" {
		return err
	}
	said := *refused
	if rest, ok := strings.CutPrefix(said.Detail, said.Field); ok {
		said.Detail = option + rest
	} else {
		said.Detail = option + ": " + said.Detail
	}
	return &said
}

// span is a duration above zero that may be in days.
type span time.Duration

// UnmarshalText reads "30d", "12h", "1d12h". Zero is refused: the key that somebody
// means to have end at once would never end.
func (s *span) UnmarshalText(b []byte) error {
	text := string(b)
	rest, days := text, time.Duration(0)
	if before, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.Atoi(before)
		if err != nil || n < -mostDays || n > mostDays {
			return fmt.Errorf("%q is no duration such as 30d or 12h", text)
		}
		days, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 30d or 12h", text)
		}
		days += d
	}
	if days <= 0 {
		return fmt.Errorf("%q is no time to come: give one such as 30d or 12h", text)
	}
	*s = span(days)
	return nil
}

// mostDays is a hundred years.
const mostDays = 36_525

// power says what a key is for.
func (k keyInfo) power() string {
	if k.Admin {
		return "for all apps, with all scopes"
	}
	return fmt.Sprintf("for app %s: %s", k.App, strings.Join(k.Scopes, ", "))
}

func (k keyInfo) until() string {
	if k.ExpiresAt == nil {
		return "until it is revoked"
	}
	return "until " + k.ExpiresAt.UTC().Format(time.RFC3339)
}

// listKeysCommand lists keys.
type listKeysCommand struct {
	App string `help:"Only those of this app."`
	nodeFlags
}

// Run implements the command.
func (c listKeysCommand) Run(p *program) error {
	n, err := c.node(p)
	if err != nil {
		return fmt.Errorf("keys list: %w", err)
	}
	all, err := n.keys(context.Background(), c.App)
	if err != nil {
		return fmt.Errorf("keys list: %w", err)
	}
	if c.JSON {
		return writeJSON(p.out, map[string]any{"keys": all}) // as they came
	}
	if len(all) == 0 {
		_, err = fmt.Fprintln(p.out, "no keys")
		return err
	}
	table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0) // what fails is said by Flush
	fmt.Fprintln(table, "ID\tAPP\tNAME\tMADE\tGOOD UNTIL\tLAST USED\tSCOPES")
	for _, raw := range all {
		var k keyInfo
		if err := json.Unmarshal(raw, &k); err != nil {
			return fmt.Errorf("keys list: read the node's answer: %w", err)
		}
		app, scopes := k.App, strings.Join(k.Scopes, ",")
		if k.Admin {
			app, scopes = "all", "all"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, app, orDash(k.Name), day(&k.CreatedAt), k.end(), day(k.LastUsedAt), scopes)
	}
	return table.Flush()
}

// end says until when the key is good, and whether that is over.
func (k keyInfo) end() string {
	if k.ExpiresAt != nil && !k.ExpiresAt.After(time.Now()) {
		return day(k.ExpiresAt) + " (expired)"
	}
	return day(k.ExpiresAt)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func day(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04Z")
}

// keys fetches the keys of an app, or all, page by page.
func (n *nodeClient) keys(ctx context.Context, app string) ([]json.RawMessage, error) {
	all := []json.RawMessage{}
	query := url.Values{}
	if app != "" {
		query.Set("app", app)
	}
	for {
		var page struct {
			Keys []json.RawMessage `json:"keys"`
			Next string            `json:"next"`
		}
		if _, err := n.call(ctx, "GET", "/v1/keys?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Keys...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("cursor", page.Next)
	}
}

// revokeKeyCommand revokes keys.
type revokeKeyCommand struct {
	ID []string `arg:"" help:"The IDs of the keys; the keys themselves will do."`
	nodeFlags
}

// Run implements the command.
func (c revokeKeyCommand) Run(p *program) error {
	n, err := c.node(p)
	if err != nil {
		return fmt.Errorf("keys revoke: %w", err)
	}
	var errs []error
	revoked := []string{}
	for _, id := range c.ID {
		if whole, ok := strings.CutPrefix(id, "sb_"); ok {
			id, _, _ = strings.Cut(whole, "_")
		}
		if _, err := n.call(context.Background(), "DELETE", "/v1/keys/"+url.PathEscape(id), nil, nil); err != nil {
			errs = append(errs, fmt.Errorf("keys revoke: %w", err))
			continue
		}
		revoked = append(revoked, id)
	}
	if c.JSON {
		errs = slices.Insert(errs, 0, writeJSON(p.out, map[string]any{"revoked": revoked}))
		return errors.Join(errs...)
	}
	for _, id := range revoked {
		_, err := fmt.Fprintf(p.out, "%s is revoked\n", id)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
