package meta

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// The paths under which the description is served.
const (
	pathDomains = "/domains"
	pathLinks   = "/domains/links"
	pathGraph   = "/domains/graph"
	pathApps    = "/clientApps"
)

// view is one description as it is served. It is never changed.
type view struct {
	network *domains.Network
	answers map[string]answer // by path
}

// answer is what one path says of a description.
type answer struct {
	body []byte
	etag string
}

// newView makes a view; graph is the JSON of the whole if that is known already.
func newView(network *domains.Network, graph []byte) (*view, error) {
	v := &view{network: network, answers: map[string]answer{}}
	for _, part := range []struct {
		path string
		of   any
		body []byte
	}{
		{pathDomains, network.Domains, nil},
		{pathLinks, network.Links, nil},
		{pathApps, network.Apps, nil},
		{pathGraph, network, graph},
	} {
		body := part.body
		if body == nil {
			var err error
			if body, err = plainJSON(part.of); err != nil {
				return nil, fmt.Errorf("write the description as JSON: %w", err)
			}
		}
		// Of the bytes, beside the version: a strong tag has to change with them, also
		// when another version of this program writes them otherwise.
		sum := sha256.Sum256(body)
		v.answers[part.path] = answer{body, fmt.Sprintf(`"%d-%s"`, network.Version, hex.EncodeToString(sum[:8]))}
	}
	return v, nil
}

// graph returns the JSON of the whole.
func (v *view) graph() []byte { return v.answers[pathGraph].body }

// plainJSON writes JSON for people to read: < and & stay what they are.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false)
	err := to.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
