package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// settlePatience is how long a cluster may take, once all its nodes are ready, until
// each shows all of them and shards do not move any more.
const settlePatience = 60 * time.Second

// cluster is several nodes, each a process that we started.
type cluster []*server

// startCluster starts n nodes, with their data below a folder, and waits until they
// are one cluster that has settled.
func (s *suite) startCluster(ctx context.Context, child Child, folder string, n int) (c cluster, err error) {
	files, err := clusterSettings(folder, n)
	if err != nil {
		return nil, err
	}
	c = make(cluster, n)
	var starting errgroup.Group
	for i, file := range files {
		starting.Go(func() (err error) {
			c[i], err = child.start(ctx, "serve", "--config", file)
			return err
		})
	}
	err = starting.Wait()
	if err == nil {
		err = c.settle(ctx)
	}
	if err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// clusterSettings writes a settings file for each node.
func clusterSettings(folder string, n int) (files []string, err error) {
	peers, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("write a node's settings: %w", err)
	}
	list, err := json.Marshal(peers)
	if err != nil {
		return nil, err
	}
	secret := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) // for some seconds, on loopback
	for i, peer := range peers {
		name := fmt.Sprint("node", i+1)
		// JSON is YAML, and knows how to quote a folder.
		data, err := json.Marshal(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: %s\ncluster: {name: bench, node: %s, listen: %q, peers: %s, secret: %q}\n",
			data, name, peer, list, secret)
		file := filepath.Join(folder, name+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write a node's settings: %w", err)
		}
		files = append(files, file)
	}
	return files, nil
}

// freePorts returns addresses of loopback at which nobody listens. They are none of
// those that systems give away by themselves, so that nobody gets one by chance
// before it is used.
func freePorts(n int) (list []string, err error) {
	for tries := 0; len(list) < n; tries++ {
		addr := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			if tries >= 1000 {
				return nil, fmt.Errorf("find free ports for a cluster: %w", err)
			}
			continue
		}
		defer l.Close() // so that none is found twice
		list = append(list, addr)
	}
	return list, nil
}

// settle waits until every node is ready, shows all of them as up, and has its part
// of the shards.
func (c cluster) settle(ctx context.Context) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for {
		why := c.unsettled(ctx, client)
		if why == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), fmt.Errorf("the cluster has not settled: %w", why))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// unsettled says what is missing.
func (c cluster) unsettled(ctx context.Context, client *http.Client) error {
	least, most := -1, 0
	for _, s := range c {
		if err := get(ctx, client, s.admin+"readyz", io.Discard); err != nil {
			return err
		}
		var text strings.Builder
		if err := get(ctx, client, s.admin+"cluster", &text); err != nil {
			return err
		}
		if up := strings.Count(text.String(), `"status":"up"`); up != len(c) {
			return fmt.Errorf("%s shows %d of %s that are up", s.admin, up, plural(len(c), "node"))
		}
		text.Reset()
		if err := get(ctx, client, s.admin+"metrics", &text); err != nil {
			return err
		}
		kept := 0
		if _, after, ok := strings.Cut(text.String(), "\nswitchboard_shards_kept "); ok {
			_, _ = fmt.Sscan(after, &kept) // a number, by the format
		}
		most = max(most, kept)
		if least < 0 || kept < least {
			least = kept
		}
	}
	if most > least+1 {
		return fmt.Errorf("one node keeps %d shards, another %d", most, least)
	}
	return nil
}

// get asks a node of ours for something.
func get(ctx context.Context, client *http.Client, url string, to io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(to, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

// stop ends all nodes in good order, side by side: what is left of one is of no use.
func (c cluster) stop() error {
	errs := make([]error, len(c))
	var stopping errgroup.Group
	for i, s := range c {
		stopping.Go(func() error {
			errs[i] = s.stop()
			return nil
		})
	}
	_ = stopping.Wait() // all errors are in errs
	return errors.Join(errs...)
}

// kill ends those that were started, at once.
func (c cluster) kill() {
	for _, s := range c {
		if s != nil {
			s.kill()
		}
	}
}

// onCluster starts a cluster of n nodes, has it measured, and ends it. Its nodes
// share the processors that child says.
func (s *suite) onCluster(ctx context.Context, child Child, n int, measure func(cluster) error) error {
	return s.withFolder(func(folder string) error {
		c, err := s.startCluster(ctx, child, folder, n)
		if err != nil {
			return err
		}
		return errors.Join(measure(c), c.stop())
	})
}

// everywhere returns a child that is kept to no processor.
func (c Child) everywhere() Child {
	c.ServerCPU = -1
	return c
}

// load returns the options for a load on all nodes.
func (c cluster) load(o Options) Options {
	o.URLs, o.PIDs = nil, watchable(c...)
	for _, s := range c {
		o.URLs = append(o.URLs, s.url)
	}
	return o
}

// measureClusterFast compares what a FAST message costs that goes to another node
// with one that stays: as many as can be, and so many a second that both carry them.
func measureClusterFast(ctx context.Context, s *suite) ([]found, error) {
	loads := func() []Options {
		closed := s.options(FeatureFast, 1000)
		closed.Pattern = PatternPairs
		paced := closed
		paced.Mode, paced.Rate = ModePaced, float64(s.size.rate(10_000))
		return []Options{closed, paced}
	}
	var cost [2][]*Cost // by one node, by two
	measure := func(at int) func(cluster) error {
		return func(c cluster) error {
			for _, o := range loads() {
				run, err := s.keep(Measure(ctx, c.load(o)))
				if err != nil {
					return err
				}
				if run.Latency == nil {
					return errNothing
				}
				cost[at] = append(cost[at], run.Server)
			}
			return nil
		}
	}
	err := s.withFolder(func(data string) error {
		one, err := s.start(ctx, data)
		if err != nil {
			return err
		}
		return errors.Join(measure(0)(cluster{one}), one.stop())
	})
	if err == nil {
		err = s.onCluster(ctx, s.o.Child, 2, measure(1))
	}
	if err != nil {
		return nil, err
	}
	var all []found
	for i, what := range []string{"closed loop", spaced(s.size.rate(10_000)) + " a second"} {
		if one, two := cost[0][i], cost[1][i]; one != nil && two != nil {
			all = append(all, found{what: "CPU a message, " + what, unit: unitMicro, value: two.CPUPerMessage, base: one.CPUPerMessage, reach: 1.8, atMost: true})
		}
	}
	return all, nil
}

// measureClusterReliable compares three nodes, on all processors together, with the
// bare echo: in messages a second, and in messages for the same CPU.
func measureClusterReliable(ctx context.Context, s *suite) ([]found, error) {
	base, err := s.baseline(ctx, s.options(FeatureFast, 1000))
	if err != nil {
		return nil, err
	}
	var run Run
	err = s.onCluster(ctx, s.o.Child.everywhere(), 3, func(c cluster) error {
		o := s.options(FeatureReliable, 1000)
		o.Pattern = PatternPairs
		run, err = s.keep(Measure(ctx, c.load(o)))
		return err
	})
	if err != nil {
		return nil, err
	}
	if run.Latency == nil || base.Latency == nil {
		return nil, errNothing
	}
	all := []found{{what: "messages", unit: unitRate, value: run.ArrivedRate, base: base.ArrivedRate, reach: 0.12}}
	if a, b := run.Server, base.Server; a != nil && b != nil && a.CPUPerMessage > 0 && b.CPUPerMessage > 0 {
		all = append(all, found{what: "messages for a second of CPU", unit: unitCPU, value: 1e6 / a.CPUPerMessage, base: 1e6 / b.CPUPerMessage, reach: 0.12})
	}
	return all, nil
}

// measureClusterCrowd measures how soon everybody is reachable from everywhere who
// connects at once to three nodes.
func measureClusterCrowd(ctx context.Context, s *suite) ([]found, error) {
	var run Run
	err := s.onCluster(ctx, s.o.Child.everywhere(), 3, func(c cluster) (err error) {
		o := s.options(FeatureFast, 10_000)
		o.Pattern, o.Payload = PatternGroup, 100
		run, err = s.keep(measureCrowd(ctx, c.load(o)))
		return err
	})
	if err != nil {
		return nil, err
	}
	limit := micro(3 * time.Second)
	return []found{
		{what: "all connected and reached from each node", unit: unitMicro, value: run.Crowd.Reached, reach: limit, atMost: true},
		{what: "of that, since the last was signed in", unit: unitMicro, value: run.Crowd.Reached - run.Crowd.SignedIn, reach: limit, atMost: true},
	}, nil
}
