package bus

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// External is a NATS that exists already.
type External struct {
	URL             string // one or several, with commas between
	CredentialsFile string // as `nsc` writes it; empty for none
	TLS             *tls.Config
	// Prefix begins every subject, and in capitals the name of every stream, so
	// that several Switchboards can use one NATS. Default "sb". Of small letters,
	// digits and dashes.
	Prefix string
	// Replicas of every stream. 0: 3 where that NATS is a cluster, else 1.
	Replicas int
	// SystemURL and SystemCredentialsFile are of a user of that NATS's system account,
	// which may ask its servers how they store; both empty when there is none. They
	// are used at the start. Without the first it is URL.
	SystemURL, SystemCredentialsFile string
	// AcceptUnsynced takes a NATS of which is not known, or known not, that it
	// syncs each message before it says that it is stored.
	AcceptUnsynced bool
}

// syncedWait is how long answers of an unknown number of servers are waited for.
const syncedWait = time.Second

// Synced says whether every message is on disk before it counts as stored, and
// whether that is known. It is of the embedded server, unless nothing is stored here:
// then it is not known of the others.
func (b *Bus) Synced() (known, yes bool) {
	if b.opts.External == nil {
		return true, true // every server of ours does
	}
	e := b.current.Load()
	if e == nil {
		return false, false
	}
	return e.syncKnown, e.synced
}

// askSynced finds out whether the servers sync, and fails when they must be known to.
func (e *engine) askSynced(ctx context.Context) error {
	x := e.opts.External
	if x == nil {
		return nil
	}
	e.syncKnown, e.synced = x.askSynced(ctx, e.reads, e.opts.Logger)
	if e.synced || x.AcceptUnsynced {
		if !e.synced {
			e.opts.Logger.Warn("NATS may lose what it says is stored when power fails: it is not known to sync each message", "known", e.syncKnown)
		}
		return nil
	}
	if e.syncKnown {
		return fmt.Errorf("%s does not sync each message before it says that it is stored, so a power cut may lose some: set `sync_interval: always` in the section `jetstream` of each of its servers, or accept it by name (--accept-unsynced): see docs/cluster.md", e.place())
	}
	return fmt.Errorf("it cannot be found out whether %s syncs each message before it says that it is stored: give a user of its system account, who may ask (nats.systemCredentials or nats.systemUrl), or accept it by name (--accept-unsynced): see docs/cluster.md", e.place())
}

// askSynced asks all servers with streams, which answer users of the system account
// only.
func (x *External) askSynced(ctx context.Context, c *nats.Conn, log *slog.Logger) (known, yes bool) {
	if x.SystemCredentialsFile != "" || x.SystemURL != "" {
		own := *x
		own.CredentialsFile = x.SystemCredentialsFile
		if x.SystemURL != "" {
			own.URL = x.SystemURL
		}
		ctx, cancel := context.WithTimeout(ctx, 5*waitStep)
		defer cancel()
		system, err := own.dial(ctx, []nats.Option{nats.Name("switchboard looks how messages are stored")}, log)
		if err != nil {
			log.Warn("the credentials of NATS's system account are of no use", "err", err)
			return false, false
		}
		defer system.Close()
		c = system
	}
	inbox, err := c.SubscribeSync(c.NewRespInbox())
	if err != nil {
		return false, false
	}
	defer func() { _ = inbox.Unsubscribe() }() // fails only on a closed connection
	if err := c.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox.Subject, nil); err != nil {
		return false, false
	}
	yes = true
	ctx, cancel := context.WithTimeout(ctx, syncedWait)
	defer cancel()
	for {
		m, err := inbox.NextMsgWithContext(ctx)
		if err != nil {
			return known, known && yes
		}
		var answer struct {
			Data *struct {
				Disabled bool `json:"disabled"`
				Config   struct {
					SyncAlways bool `json:"sync_always"`
				} `json:"config"`
			} `json:"data"`
		}
		if json.Unmarshal(m.Data, &answer) == nil && answer.Data != nil && !answer.Data.Disabled {
			known, yes = true, yes && answer.Data.Config.SyncAlways
		}
	}
}

func (x *External) check() error {
	if x.URL == "" {
		return errors.New("bus: External.URL is needed")
	}
	if x.Prefix == "" {
		x.Prefix = defaultPrefix
	}
	for _, r := range x.Prefix {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("bus: External.Prefix %q has something else than small letters, digits and dashes in it", x.Prefix)
		}
	}
	if x.Replicas < 0 || x.Replicas > 5 {
		return fmt.Errorf("bus: External.Replicas cannot be %d", x.Replicas)
	}
	return nil
}

// place is the address without what is secret in it: passwords, and tokens.
func (x *External) place() string {
	var all []string
	for _, s := range strings.Split(x.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			return "the given URL"
		}
		if _, both := u.User.Password(); u.User != nil && !both {
			u.User = url.User("xxxxx") // a name alone is a token
		}
		all = append(all, u.Redacted())
	}
	return strings.Join(all, ",")
}

// dial connects, and tries until ctx ends.
func (x *External) dial(ctx context.Context, opts []nats.Option, log *slog.Logger) (*nats.Conn, error) {
	if x.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(x.CredentialsFile))
	}
	opts = append(opts, nats.ReconnectWait(waitStep/10))
	if x.TLS != nil {
		opts = append(opts, nats.Secure(x.TLS))
	}
	said := time.Now()
	for {
		c, err := nats.Connect(x.URL, opts...)
		if err == nil || errors.Is(err, nats.ErrAuthorization) {
			return c, err
		}
		if time.Since(said) >= sayEvery {
			said = time.Now()
			log.Warn("waiting for NATS", "url", x.place(), "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(waitStep / 10):
		}
	}
}
