package meta

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// domain is a domain that follows a meta server, as nodes do.
type domain struct {
	t      *testing.T
	source *domains.Source
	news   chan *domains.Network
}

// newDomain starts one. It ends with the test.
func newDomain(t *testing.T, url, secret string) *domain {
	t.Helper()
	s, err := domains.NewSource(domains.SourceOptions{
		URL: url, Secret: secret, Self: "domain-1", File: filepath.Join(t.TempDir(), "network.json"), Retry: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{t: t, source: s, news: make(chan *domains.Network, 64)}
	stop := s.Watch(func(n *domains.Network) { d.news <- n })
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		cancel()
		running.Wait()
	})
	return d
}

// hears waits for the next description, and checks how many domains it has.
func (d *domain) hears(count int) *domains.Network {
	d.t.Helper()
	select {
	case n := <-d.news:
		if len(n.Domains) != count {
			d.t.Fatalf("it hears of %d domains, want %d", len(n.Domains), count)
		}
		return n
	case <-time.After(patience):
		d.t.Fatalf("it hears of nothing: %+v", d.source.State())
		return nil
	}
}

func TestADomainFollowsTheMetaServerThroughAllItsTroubles(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	o, path := described(t, 2)
	o.Secret = secret
	r := start(t, o)
	d := newDomain(t, r.url, secret)
	first := d.hears(2)
	if answer, _ := r.get(pathGraph, "Authorization", "Bearer "+secret); !strings.HasPrefix(answer.Header.Get("ETag"), `"`+plain(first.Version)+"-") {
		t.Errorf("the domain has version %d, served is %s", first.Version, answer.Header.Get("ETag"))
	}

	write(t, path, describe(3))
	r.look()
	d.hears(3)

	write(t, path, "domains: [") // refused: nobody hears of it
	r.look()
	write(t, path, describe(4))
	r.look()
	fourth := d.hears(4)

	// A restart with the same content is no news, one with another content is.
	r.options.Listen = strings.TrimPrefix(r.url, "http://")
	r = r.again()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	write(t, path, describe(5))
	r = r.again()
	fifth := d.hears(5)
	if fifth.Version <= fourth.Version {
		t.Errorf("version %d comes after %d", fifth.Version, fourth.Version)
	}

	// The folder is lost, and with it the versions: they rise all the same.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(o.Data); err != nil {
		t.Fatal(err)
	}
	write(t, path, describe(6))
	r = r.again()
	d.hears(6)

	// This domain is not in it any more: it stays with what it has.
	write(t, path, "domains: [{name: domain-7, urls: ['ws://127.0.0.1:1']}]\n")
	r.look()
	r.eventually("the domain says that it is not described", func() bool { return d.source.State().Trouble != "" })
	if n := d.source.Current(); len(n.Domains) != 6 {
		t.Errorf("it took what does not describe it: %+v", n)
	}
	write(t, path, describe(3))
	r.look()
	d.hears(3)
	r.eventually("the trouble is over", func() bool { return d.source.State().Trouble == "" })
}

func TestADomainWithoutTheSecretIsToldNothing(t *testing.T) {
	o, _ := described(t, 2)
	o.Secret = "0123456789abcdef0123456789abcdef"
	r := start(t, o)
	d := newDomain(t, r.url, "another0another0")
	r.eventually("the domain is in trouble", func() bool { return d.source.State().Trouble != "" })
	if d.source.Current() != nil {
		t.Error("it was told all the same")
	}
}
