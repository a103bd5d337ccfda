package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// callTime bounds one request to a node.
const callTime = 30 * time.Second

// keyVariable is the environment variable of the key for --url.
const keyVariable = "SWITCHBOARD_KEY"

// nodeFlags say which node a command talks to: the one that runs on a data folder
// of this machine, through its control socket, or any other by its address.
type nodeFlags struct {
	Data   string `placeholder:"FOLDER" help:"The data folder of a node that runs on this machine (default: as serve has it, ./data)."`
	Config string `placeholder:"FILE" help:"The settings file that names the data folder. Else the variable SWITCHBOARD_CONFIG names it."`
	URL    string `placeholder:"URL" help:"Another node instead, such as https://chat.example; takes a key."`
	Key    string `placeholder:"KEY" help:"An API key for --url, ${key}; better in the environment (SWITCHBOARD_KEY)."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Validate checks the flags; what it says is a matter of usage.
func (f nodeFlags) Validate() error {
	switch {
	case f.URL == "" && f.Key != "":
		return errors.New("--key goes with --url: the node on a data folder of this machine needs none")
	case f.URL == "":
		return nil
	case f.Data != "" || f.Config != "":
		return errors.New("--url is another node than that of --data or --config: give one of them")
	}
	u, err := url.Parse(f.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--url %s: give an address such as http://127.0.0.1:8088", f.URL)
	}
	if strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v1") {
		return fmt.Errorf("--url %s: leave the path out, as in %s://%s", f.URL, u.Scheme, u.Host)
	}
	return nil
}

// node returns how to talk to the node that the flags name.
func (f nodeFlags) node(p *program) (*nodeClient, error) {
	if f.URL != "" {
		key := f.Key
		for _, v := range p.environ {
			if value, ok := strings.CutPrefix(v, keyVariable+"="); ok && key == "" {
				key = value
			}
		}
		if key == "" {
			return nil, usageError{errors.New("--url needs an API key: put it into the variable " + keyVariable + ", or give --key")}
		}
		return &nodeClient{base: strings.TrimSuffix(f.URL, "/"), key: key, http: &http.Client{Timeout: callTime}}, nil
	}
	from := config.Sources{File: f.Config, Environ: p.environ}
	if f.Data != "" {
		from.Flags = []config.Flag{{Name: "--data", Key: "data", Value: f.Data}}
	}
	folder, err := config.Folder(from)
	if err != nil {
		return nil, err
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return lifecycle.DialControl(folder) }
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &nodeClient{base: "http://switchboard", local: true, http: &http.Client{Timeout: callTime, Transport: transport}}, nil
}

// usageError is an error of the command line that shows when a command runs.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

// nodeClient makes calls of a node's HTTP interface.
type nodeClient struct {
	base  string
	key   string
	local bool // through the control socket
	// option is the flag that names another node; empty: --url.
	option string
	http   *http.Client
}

// call makes one call and decodes its answer into answer, which may be nil. It
// returns the answer's body as it came.
func (n *nodeClient) call(ctx context.Context, method, path string, body, answer any) ([]byte, error) {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, n.base+path, &text)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if n.key != "" {
		r.Header.Set("Authorization", "Bearer "+n.key)
	}
	res, err := n.http.Do(r)
	if err != nil {
		return nil, n.unreachable(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read the node's answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return nil, n.refused(res, raw)
	}
	if answer != nil {
		if err := json.Unmarshal(raw, answer); err != nil {
			return nil, fmt.Errorf("what answers at %s is no Switchboard: %w", n.base, err)
		}
	}
	return raw, nil
}

// unreachable says what to do when the node does not answer.
func (n *nodeClient) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the address in front
	}
	option := cmp.Or(n.option, "--url")
	switch {
	case errors.Is(err, lifecycle.ErrPathTooLong):
		return fmt.Errorf("%w; use %s and an admin key, or a folder with a shorter path", err, option)
	case n.local:
		return fmt.Errorf("%w; start it (switchboard serve), or say with --data where a node runs, or with %s which", err, option)
	}
	return fmt.Errorf("cannot reach %s: %w", n.base, err)
}

// refused makes an error of a node's problem details.
func (n *nodeClient) refused(res *http.Response, raw []byte) error {
	var problem problemError
	if err := json.Unmarshal(raw, &problem); err != nil || problem.Code == "" {
		return fmt.Errorf("what answers at %s is no Switchboard with an HTTP interface: it says %s", n.base, res.Status)
	}
	return &problem
}

// problemError is a node's refusal: its problem details.
type problemError struct{ Code, Detail, Field string }

// Error returns detail and code.
func (e *problemError) Error() string { return fmt.Sprintf("%s (%s)", e.Detail, e.Code) }

func writeJSON(to io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = to.Write(append(text, '\n'))
	return err
}
