package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// healthCommand asks a running process how it is, for supervisors that can run a
// command and nothing else: the image has no shell and no curl.
type healthCommand struct {
	Data    string        `placeholder:"FOLDER" help:"The data folder of a node that runs on this machine (default: as serve has it, ./data)."`
	Config  string        `placeholder:"FILE" help:"The settings file that names the data folder. Else the variable SWITCHBOARD_CONFIG names it."`
	URL     string        `placeholder:"URL" help:"The listener to ask instead, such as http://127.0.0.1:9088, or that of a meta server or a relay. It takes no key."`
	Alive   bool          `help:"Ask whether it lives (/healthz) instead of whether it can serve (/readyz). A meta server has nothing else."`
	Timeout time.Duration `placeholder:"DURATION" default:"5s" help:"How long to wait for the answer (default ${default})."`
}

// Validate checks the flags; what it says is a matter of usage.
func (c healthCommand) Validate() error {
	return nodeFlags{Data: c.Data, Config: c.Config, URL: c.URL}.Validate()
}

// Run implements the command.
func (c healthCommand) Run(p *program) error {
	n := &nodeClient{base: strings.TrimSuffix(c.URL, "/"), http: &http.Client{}}
	if c.URL == "" {
		var err error
		if n, err = (nodeFlags{Data: c.Data, Config: c.Config}).node(p); err != nil {
			return fmt.Errorf("health: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	path, good := "/readyz", "ready"
	if c.Alive {
		path, good = "/healthz", "alive"
	}
	if err := n.health(ctx, path); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	_, err := fmt.Fprintln(p.out, good)
	return err
}

// health returns nil when the answer at path is 200, else why it is not.
func (n *nodeClient) health(ctx context.Context, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.base+path, nil)
	if err != nil {
		return err
	}
	res, err := n.http.Do(r)
	if err != nil {
		return n.silent(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	var answer struct {
		Parts []struct {
			Name   string `json:"name"`
			Ready  bool   `json:"ready"`
			Reason string `json:"reason"`
		} `json:"parts"`
	}
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer) != nil || answer.Parts == nil {
		return fmt.Errorf("%s%s answers with %s", n.base, path, res.Status)
	}
	var reasons []string
	for _, part := range answer.Parts {
		if !part.Ready {
			reasons = append(reasons, part.Name+": "+part.Reason)
		}
	}
	return fmt.Errorf("not ready: %s", strings.Join(reasons, "; "))
}

// silent says why there is no answer. Supervisors ask in vain as long as a process is
// starting, so it is short.
func (n *nodeClient) silent(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the address in front
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, lifecycle.ErrPathTooLong):
		return fmt.Errorf("%w; use --url, or a folder with a shorter path", err)
	case n.local:
		return err
	}
	return fmt.Errorf("cannot reach %s: %w", n.base, err)
}
