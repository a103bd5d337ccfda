package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// vitals are what health checks have found of an instance. Who is new counts as healthy:
// it is asked at once, and a request that meets it too soon is repeated elsewhere.
type vitals struct {
	down      bool
	good, bad int // in a row
}

// note takes a look, and says whether the instance is taken for another from now on.
func (v *vitals) note(ok bool, h Health) (changed bool) {
	if ok {
		v.good, v.bad = v.good+1, 0
	} else {
		v.good, v.bad = 0, v.bad+1
	}
	switch {
	case v.down && v.good >= h.HealthyAfter:
		v.down = false
	case !v.down && v.bad >= h.UnhealthyAfter:
		v.down = true
	default:
		return false
	}
	return true
}

// longestHealth is how much of an answer to a health check is read.
const longestHealth = 64 << 10

// tend looks after an instance until ctx ends.
func (g *Gateway) tend(ctx context.Context, i *instance) {
	for {
		h := g.table.Load().config.Health
		err := g.look(ctx, i, h)
		if ctx.Err() != nil {
			return
		}
		if i.looks.note(err == nil, h) {
			i.turned(g.opts.Now(), err)
			i.down.Store(i.looks.down)
			if i.looks.down {
				g.opts.Log.Warn("an instance of a service is unhealthy, and gets no requests", "service", i.service, "instance", i.Name, "err", err)
			} else {
				g.opts.Log.Info("an instance of a service is healthy again", "service", i.service, "instance", i.Name)
			}
		}
		wait := time.NewTimer(h.Interval)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// look asks an instance how it is. The error says why it is not well.
func (g *Gateway) look(ctx context.Context, i *instance, h Health) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	path := i.Health
	if path == "" {
		path = h.Path
	}
	if path == "" {
		conn, err := g.opts.Dial(ctx, "tcp", hostPort(i.target))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	to := *i.target
	to.Path, to.RawQuery, _ = cutQuery(path)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "switchboard-health")
	res, err := g.health.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	// An instance that cannot end its answer is not well either.
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, longestHealth)); err != nil {
		return err
	}
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("its health check answers %s", res.Status)
	}
	return nil
}

// hostPort returns where a URL is to be dialled.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
