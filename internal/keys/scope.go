package keys

import (
	"regexp"
	"slices"
	"strings"
)

// Scope is one thing that a key may do.
type Scope string

// The scopes.
const (
	MessagesSend   Scope = "messages:send"
	UsersRead      Scope = "users:read"
	SessionsClose  Scope = "sessions:close"
	MailboxesRead  Scope = "mailboxes:read"
	MailboxesClear Scope = "mailboxes:clear"
	KeysManage     Scope = "keys:manage"
	WebhooksRead   Scope = "webhooks:read"
	WebhooksManage Scope = "webhooks:manage"
	StatsRead      Scope = "stats:read"
	AccountsManage Scope = "accounts:manage"
	JournalRead    Scope = "journal:read"
	JournalWrite   Scope = "journal:write"
	NearbyRead     Scope = "nearby:read"
	ServicesRead   Scope = "services:read"
	ServicesWrite  Scope = "services:write"
)

// Permission is a scope with a sentence that says what it lets a key do.
type Permission struct {
	Scope Scope
	What  string
}

// Permissions returns the table of all scopes.
func Permissions() []Permission {
	return []Permission{
		{MessagesSend, "Send messages and broadcasts as users of the app."},
		{UsersRead, "See who is connected, their sessions, and how much waits in their mailboxes."},
		{SessionsClose, "Close sessions."},
		{MailboxesRead, "Read what waits in mailboxes."},
		{MailboxesClear, "Remove what waits in mailboxes."},
		{KeysManage, "List and revoke the app's keys, and make keys that may do no more than itself."},
		{WebhooksRead, "See webhooks, and what became of their events."},
		{WebhooksManage, "Send events of webhooks again, and test webhooks."},
		{StatsRead, "See counters and rates of the server, and the nodes of its cluster."},
		{AccountsManage, "Make, find and delete accounts of chat, and make tokens with which their users set a forgotten password anew."},
		{JournalRead, "Read the journal of the app's devices, and their states."},
		{JournalWrite, "Write events of the app's devices into the journal."},
		{NearbyRead, "See where the app's users are."},
		{ServicesRead, "See all services, their instances and where these are."},
		{ServicesWrite, "Register and remove instances of any service, whose requests they get then; `services:write:NAME` those of the service NAME alone."},
	}
}

// Scopes returns all scopes, in the order of the table.
func Scopes() []Scope {
	var list []Scope
	for _, p := range Permissions() {
		list = append(list, p.Scope)
	}
	return list
}

// ScopeNames names all scopes in a row, for people.
func ScopeNames() string {
	var names []string
	for _, s := range Scopes() {
		names = append(names, string(s))
	}
	names = append(names, string(ServicesWrite.Of("NAME")))
	return strings.Join(names, ", ")
}

// MaxNamed is how many scopes for one service a key may have.
const MaxNamed = 64

// Of returns the scope for a service alone, of one that is for any: services:write:NAME.
func (s Scope) Of(service string) Scope { return s + ":" + Scope(service) }

// whole returns the scope for any service that holds one for a service alone; false for
// other scopes.
func (s Scope) whole() (of Scope, named bool) {
	name, named := strings.CutPrefix(string(s), string(ServicesWrite)+":")
	return ServicesWrite, named && serviceName.MatchString(name)
}

// serviceName is how services may be called, as the registry has it.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Known says whether there is such a scope.
func (s Scope) Known() bool {
	_, named := s.whole()
	return named || slices.Contains(Scopes(), s)
}
