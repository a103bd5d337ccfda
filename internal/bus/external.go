package bus

import (
	"context"
	"crypto/tls"
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
	// AcceptUnsynced takes a NATS of which is not known, or known not, that it
	// syncs each message before it says that it is stored.
	AcceptUnsynced bool
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

// place is the address without what is secret in it.
func (x *External) place() string {
	var all []string
	for _, s := range strings.Split(x.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			return "the given URL"
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
			log.Info("waiting for NATS", "url", x.place(), "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(waitStep / 10):
		}
	}
}
