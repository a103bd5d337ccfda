package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is one that keeps streams, as the cluster counts it: one that is gone counts
// until it is removed.
type Server struct {
	Name    string        // empty: not known, which is so of one that was away when the others started
	ID      string        // ServerID of its name
	Offline bool          // who leads the cluster does not hear it
	Away    time.Duration // how long it has not been heard of, as far as is known
	Streams int           // of which it has a copy, or is getting one
	Behind  int           // how many of these copies are not complete
}

// Placement says where the copies of the streams are.
type Placement struct {
	Servers []Server // by name
	Streams int
	// Short are those with fewer complete copies than they should have; of these Due
	// could have more on the servers that are there. Both by name.
	Short, Due []string

	groups map[string]group
}

// group is where one stream is, as its leader says; of one without a leader nothing
// is known but its name.
type group struct {
	led     bool
	want    int      // copies
	has     []string // IDs of servers with a complete copy
	members []string // IDs of all, those that are gone included
}

// ServerID is by what a server of that name is known to the others.
func ServerID(name string) string { return memberName(name) }

// ErrElsewhere says that a NATS that exists has its servers looked after by its own tools.
var ErrElsewhere = errors.New("the NATS that is used looks after its own servers")

// errNobodyLeads says that nobody can tell which servers there are.
var errNobodyLeads = errors.New("nobody leads the streams: more than half of the servers must be there")

// Placement asks who leads the cluster. A server on its own has none: nil.
func (b *Bus) Placement(ctx context.Context) (*Placement, error) {
	e, err := b.engine()
	switch {
	case err != nil:
		return nil, err
	case b.opts.External != nil:
		return nil, ErrElsewhere
	case b.opts.Cluster == nil:
		return nil, nil
	}
	for {
		step, cancel := context.WithTimeout(ctx, placementWait)
		p, err := e.placement(step)
		cancel()
		if err == nil {
			return p, nil
		}
		if !passing(err) || pause(ctx, e) != nil {
			return nil, fmt.Errorf("ask where the streams are: %w", err)
		}
	}
}

// placementWait bounds one look: who leads all streams waits 4 seconds for the leaders of
// each, and says then who has not answered.
const placementWait = 6 * time.Second

func (e *engine) placement(ctx context.Context) (*Placement, error) {
	meta, err := e.meta(ctx)
	if err != nil {
		return nil, err
	}
	list, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	p := &Placement{Streams: len(list), groups: list}
	at := make(map[string]int) // by ID, in p.Servers
	p.Servers = append(p.Servers, Server{Name: meta.Leader, ID: ServerID(meta.Leader)})
	for _, r := range meta.Replicas {
		p.Servers = append(p.Servers, Server{Name: known(r.Name), ID: r.Peer, Offline: away(r), Away: r.Active})
	}
	slices.SortFunc(p.Servers, func(a, b Server) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	there := 0
	for i, s := range p.Servers {
		at[s.ID] = i
		if !s.Offline {
			there++
		}
	}
	for name, g := range list {
		want := e.opts.Cluster.copies(g.want, there)
		if len(g.has) < want {
			p.Short = append(p.Short, name)
		}
		if len(g.has) < min(want, there) {
			p.Due = append(p.Due, name)
		}
		for _, id := range g.members {
			if i, is := at[id]; is {
				p.Servers[i].Streams++
				if !slices.Contains(g.has, id) {
					p.Servers[i].Behind++
				}
			}
		}
	}
	slices.Sort(p.Short)
	slices.Sort(p.Due)
	return p, nil
}

// copies is how many copies a stream should have that is set to have some, with so many
// servers there.
func (c *Cluster) copies(set, there int) int {
	switch {
	case c.NoStore:
		return set // those that keep streams know
	case c.Grow:
		return max(set, c.Replicas, min(there, mostCopies))
	}
	return max(set, c.Replicas)
}

// away says whether a member of a group is not heard of by the group's leader. The server
// itself takes one that was killed for connected for some minutes; and who has just begun
// to lead does not know how long one is away that it has never heard of.
func away(r *server.PeerInfo) bool {
	return r.Offline || r.Active > lostQuorumInterval || r.Active == 0 && !r.Current
}

// known is a server's name; empty in place of words that say that it is not known.
func known(name string) string {
	if strings.Contains(name, " ") {
		return ""
	}
	return name
}

// meta asks who leads all streams which servers there are.
func (e *engine) meta(ctx context.Context) (*server.MetaClusterInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	var answer struct {
		Data *struct {
			Meta *server.MetaClusterInfo `json:"meta_cluster"`
		} `json:"data"`
	}
	if err := ask(ctx, e.system, "$SYS.REQ.SERVER.PING.JSZ", server.JSzOptions{LeaderOnly: true}, &answer); err != nil {
		return nil, errors.Join(errNoLeader, errNobodyLeads, err)
	}
	if answer.Data == nil || answer.Data.Meta == nil || answer.Data.Meta.Leader == "" {
		return nil, errors.Join(errNoLeader, errNobodyLeads)
	}
	return answer.Data.Meta, nil
}

// list asks who leads all streams for each of them, as its own leader sees it.
func (e *engine) list(ctx context.Context) (map[string]group, error) {
	all := make(map[string]group)
	for offset := 0; ; {
		var answer struct {
			Error   *jetstream.APIError     `json:"error"`
			Total   int                     `json:"total"`
			Limit   int                     `json:"limit"`
			Streams []*jetstream.StreamInfo `json:"streams"`
			Missing []string                `json:"missing"`
		}
		if err := ask(ctx, e.reads, "$JS.API.STREAM.LIST", map[string]int{"offset": offset}, &answer); err != nil {
			return nil, err
		}
		if answer.Error != nil {
			return nil, answer.Error
		}
		for _, s := range answer.Streams {
			all[s.Config.Name] = groupOf(s)
		}
		for _, name := range answer.Missing {
			all[name] = group{}
		}
		if offset += max(answer.Limit, 1); offset >= answer.Total {
			return all, nil
		}
	}
}

func groupOf(s *jetstream.StreamInfo) group {
	g := group{want: s.Config.Replicas}
	if s.Cluster == nil {
		return g
	}
	if s.Cluster.Leader != "" {
		g.led = true
		id := ServerID(s.Cluster.Leader)
		g.members, g.has = append(g.members, id), append(g.has, id)
	}
	for _, r := range s.Cluster.Replicas {
		id := r.Peer
		if id == "" {
			id = ServerID(r.Name)
		}
		g.members = append(g.members, id)
		if r.Current && !r.Offline && !r.Pending {
			g.has = append(g.has, id)
		}
	}
	return g
}

// ask sends a question as JSON and reads the answer.
func ask(ctx context.Context, c *nats.Conn, subject string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	reply, err := c.RequestWithContext(ctx, subject, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return fmt.Errorf("the answer to %s is no JSON: %w", subject, err)
	}
	return nil
}
