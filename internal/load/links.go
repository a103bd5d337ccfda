package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// pair is two domains of one node each that are linked.
type pair struct {
	cluster
	child Child
	files []string // their settings
}

// farUsers is where the numbers of the second domain's users begin.
const farUsers = 1_000_000_000

// startPair starts two domains, with their data below a folder, and waits until the
// link is up both ways.
func startPair(ctx context.Context, child Child, folder string) (*pair, error) {
	files, err := pairSettings(folder)
	if err != nil {
		return nil, err
	}
	p := &pair{child: child, files: files, cluster: make(cluster, len(files))}
	for i := range files {
		if err := p.start(ctx, i); err != nil {
			p.kill()
			return nil, err
		}
	}
	if err := p.linked(ctx); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// start starts one of them.
func (p *pair) start(ctx context.Context, i int) (err error) {
	p.cluster[i], err = p.child.start(ctx, "serve", "--config", p.files[i])
	return err
}

// pairSettings writes the description and a settings file for each domain. The link
// needs no secret on loopback.
func pairSettings(folder string) (files []string, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("write a domain's settings: %w", err)
	}
	at, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	network := filepath.Join(folder, "network.yaml")
	texts := map[string]string{network: fmt.Sprintf(`domains:
  - {name: domain-01, urls: ["ws://%s"]}
  - {name: domain-02, urls: ["ws://%s"]}
domainLinks: [{n1: domain-01, n2: domain-02}]
clientApps:
  - appName: ANZ
    appId: app-id-343
    authEnabled: false
    userDistributions: [{domainName: domain-01, from: 0, to: %d}, {domainName: domain-02, from: %d}]
`, at[0], at[1], farUsers-1, farUsers)}
	for i, listen := range at {
		name := fmt.Sprintf("domain-%02d", i+1)
		// JSON is YAML, and knows how to quote a folder.
		paths, err := json.Marshal([]string{filepath.Join(folder, name), network})
		if err != nil {
			return nil, err
		}
		data, meta, _ := strings.Cut(strings.Trim(string(paths), "[]"), ",")
		file := filepath.Join(folder, name+".yaml")
		texts[file] = fmt.Sprintf("listen: %s\nadmin: 127.0.0.1:0\ndata: %s\ndomain: %s\nmeta: %s\n", listen, data, name, meta)
		files = append(files, file)
	}
	for file, text := range texts {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write a domain's settings: %w", err)
		}
	}
	return files, nil
}

// linked waits until the link is up both ways.
func (p *pair) linked(ctx context.Context) error {
	for _, s := range p.cluster {
		if _, err := p.await(ctx, s, "has the link of its neighbour", func(v values) bool { return v.sum("switchboard_socket_link_sessions") > 0 }); err != nil {
			return err
		}
	}
	return nil
}

// values are the metrics of a server.
type values string

// sum adds up what stands there under a name.
func (v values) sum(name string) (sum float64) {
	for line := range strings.Lines(string(v)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		var one float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &one); err == nil {
			sum += one
		}
	}
	return sum
}

// look is how often a server is asked: more often would cost it what is measured.
const look = 10 * time.Millisecond

// await asks a server for its metrics until something holds, and returns how long
// before that it was last seen not to hold.
func (p *pair) await(ctx context.Context, s *server, what string, holds func(values) bool) (before time.Time, err error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for before = time.Now(); ; {
		var text strings.Builder
		asked := time.Now()
		if err := get(ctx, client, s.admin+"metrics", &text); err != nil {
			return before, fmt.Errorf("wait until %s %s: %w", s.admin, what, err)
		}
		if holds(values(text.String())) {
			return before, nil
		}
		before = asked
		select {
		case <-ctx.Done():
			return before, fmt.Errorf("wait until %s %s: %w", s.admin, what, ctx.Err())
		case <-time.After(look):
		}
	}
}

// across returns the options for a load of pairs whose users live in one domain each.
func (p *pair) across(o Options) Options {
	o = p.load(o)
	o.home = func(i int) int64 { return int64(i%2) * farUsers }
	return o
}

// measureLinks compares what two domains move over their link with what one of them
// moves by itself, and measures how soon what had waited for a link has crossed it.
func measureLinks(ctx context.Context, s *suite) (all []found, err error) {
	err = s.withFolder(func(folder string) error {
		p, err := startPair(ctx, s.o.Child, folder)
		if err != nil {
			return err
		}
		for _, feature := range []string{FeatureReliable, FeatureFast} {
			f, err := s.compareLink(ctx, p, feature)
			if err != nil {
				return errors.Join(err, p.stop())
			}
			all = append(all, f)
		}
		f, err := s.reconnect(ctx, p)
		all = append(all, f)
		return errors.Join(err, p.stop())
	})
	return all, err
}

func (s *suite) compareLink(ctx context.Context, p *pair, feature string) (found, error) {
	o := s.options(feature, 1000)
	o.Pattern = PatternPairs
	local, err := s.keep(Measure(ctx, p.cluster[:1].load(o)))
	if err != nil {
		return found{}, err
	}
	linked, err := s.keep(Measure(ctx, p.across(o)))
	if err != nil {
		return found{}, err
	}
	return found{what: feature + " over the link, with one domain's", unit: unitRate, value: linked.ArrivedRate, base: local.ArrivedRate, reach: 0.40}, nil
}

// reconnect measures, from when the neighbour is connected again, how long it takes
// until it has all that had waited.
func (s *suite) reconnect(ctx context.Context, p *pair) (found, error) {
	if err := p.cluster[1].stop(); err != nil {
		return found{}, err
	}
	o := s.mail(10_000, 1000, 1000)
	o.KeepMail, o.home = true, func(i int) int64 {
		if i < o.Connections {
			return 0
		}
		return farUsers
	}
	near := p.cluster[0]
	run, err := s.keep(Measure(ctx, p.cluster[:1].load(o)))
	if err != nil {
		return found{}, errors.Join(err, p.start(ctx, 1))
	}
	if err := p.start(ctx, 1); err != nil {
		return found{}, err
	}
	up, err := p.await(ctx, near, "has the link of its neighbour", func(v values) bool { return v.sum("switchboard_socket_link_sessions") > 0 })
	if err != nil {
		return found{}, err
	}
	// Its mailboxes hold nothing else; the gauge of links is counted only now and then.
	if _, err := p.await(ctx, near, "has nothing more for its neighbour", func(v values) bool { return v.sum("switchboard_mailbox_messages") == 0 }); err != nil {
		return found{}, err
	}
	took := time.Since(up)
	if _, err := p.await(ctx, p.cluster[1], "has what waited", func(v values) bool { return int64(v.sum("switchboard_mailbox_messages")) >= run.Mailbox.Stored }); err != nil {
		return found{}, err
	}
	return found{what: fmt.Sprintf("all of %s waiting have crossed", spaced(int(run.Mailbox.Stored))), unit: unitMicro, value: micro(took), reach: micro(time.Second), atMost: true}, nil
}
