package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// readTime is how long a reader waits for the network server.
const readTime = 3 * time.Second

// ReaderOptions say where a reader asks.
type ReaderOptions struct {
	Server     string // host:port or URL of a network server
	SecretFile string // as Access has it; read again for each question
	CA         string // as TLS has it
}

// Reader asks a network server how the relay is doing. It is safe for concurrent use.
type Reader struct {
	access Access
	server string
	base   string
	client *http.Client
}

// NewReader makes one. It fails when the address is none, or a file cannot be read.
func NewReader(o ReaderOptions) (*Reader, error) {
	r := &Reader{server: o.Server, access: Access{SecretFile: o.SecretFile, TLS: config.TLS{CA: o.CA}}}
	c, err := r.access.read()
	if err != nil {
		return nil, err
	}
	if r.base, err = c.base(o.Server); err != nil {
		return nil, err
	}
	r.client = c.caller(2)
	return r, nil
}

// Server is where it asks, as it was set.
func (r *Reader) Server() string { return r.server }

// Close lets go of the connections that are kept.
func (r *Reader) Close() { r.client.CloseIdleConnections() }

// Status asks. It waits for three seconds at most, and takes an answer of 48 MiB at
// most, as large as that of a network server with all that it may keep; it is read
// piece by piece, so that few bytes of it cannot become many in memory. Of a network
// server of another make, which has no status, it tells the members, about whom nothing
// more is known.
func (r *Reader) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	s, err := r.ask(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", readTime)
	}
	return s, err
}

func (r *Reader) ask(ctx context.Context) (s Status, err error) {
	c, err := r.access.read()
	if err != nil {
		return s, err
	}
	_, err = c.fetch(ctx, r.client, http.MethodGet, r.base+pathStatus, nil, func(answer io.Reader) (err error) {
		s, err = readStatus(answer)
		return err
	})
	var answered *statusError
	if errors.As(err, &answered) && (answered.Status == http.StatusNotFound || answered.Status == http.StatusMethodNotAllowed) {
		return r.askStranger(ctx, c)
	}
	return s, err
}

// askStranger makes a status of what every network server knows.
func (r *Reader) askStranger(ctx context.Context, c *credentials) (s Status, err error) {
	text, err := c.call(ctx, r.client, http.MethodGet, r.base+pathClusters, nil)
	if err != nil {
		return s, fmt.Errorf("it is no network server of a relay: %w", err)
	}
	var clusters Clusters
	if err := json.Unmarshal(text, &clusters); err != nil {
		return s, fmt.Errorf("it is no network server of a relay: %w", err)
	}
	for name, members := range clusters {
		one := ClusterStatus{Name: name}
		for id, m := range members {
			one.Members = append(one.Members, MemberStatus{ID: id, Address: m.Address, Port: int(m.Port), State: memberUp})
		}
		slices.SortFunc(one.Members, func(a, b MemberStatus) int { return strings.Compare(a.ID, b.ID) })
		s.Clusters = append(s.Clusters, one)
	}
	slices.SortFunc(s.Clusters, func(a, b ClusterStatus) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}
