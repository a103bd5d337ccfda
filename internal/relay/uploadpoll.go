package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// headerRun names the run of a network server of ours: one that began anew without
// what it knew has forgotten collectors that did not leave.
const headerRun = "Switchboard-Run"

// asker asks a network server who is there. It belongs to one goroutine.
type asker struct {
	plan     *plan
	clock    clock
	stranger time.Duration // since the start: until then it is known to have no /members
}

// ask returns what the server lists.
func (a *asker) ask(ctx context.Context) (listing, error) {
	if a.clock.since() >= a.stranger {
		l, err := a.get(ctx, pathMembers)
		if err == nil {
			return l, nil
		}
		var status *statusError
		var other *notClusters
		refused := errors.As(err, &status) && status.Status/100 == 4 && status.Status != http.StatusUnauthorized && status.Status != http.StatusTooManyRequests
		if !refused && !errors.As(err, &other) && !errors.As(err, &status) {
			return listing{}, err
		}
		l, err = a.get(ctx, pathClusters)
		if err == nil && l.server == "" && (refused || other != nil) {
			a.stranger = a.clock.since() + strangerTime
		}
		return l, err
	}
	return a.get(ctx, pathClusters)
}

func (a *asker) get(ctx context.Context, path string) (listing, error) {
	l := listing{tells: path == pathMembers}
	header, err := a.plan.creds.fetch(ctx, a.plan.client, http.MethodGet, a.plan.network+path, nil, func(answer io.Reader) (err error) {
		l.clusters, err = readListing(answer, a.plan.clusters)
		return err
	})
	if err != nil {
		return listing{}, fmt.Errorf("ask %s: %w", a.plan.network+path, err)
	}
	l.server = cutText(header.Get(headerRun))
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		l.at = at
	}
	if l.clusters == nil {
		return listing{}, fmt.Errorf("ask %s: %w", a.plan.network+path, &notClusters{errors.New("null")})
	}
	if err := l.narrow(a.plan.clusters); err != nil {
		return listing{}, fmt.Errorf("ask %s: %w", a.plan.network+path, err)
	}
	return l, nil
}
