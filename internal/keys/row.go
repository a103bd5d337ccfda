package keys

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// rowVersion is the version of what is stored.
const rowVersion = 1

// row is a key as it is stored, as JSON.
type row struct {
	Version int       `json:"v"`
	Name    string    `json:"name,omitempty"`
	App     string    `json:"app,omitempty"`
	Admin   bool      `json:"admin,omitempty"`
	Scopes  []Scope   `json:"scopes,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Hash    string    `json:"sha256"` // of the secret, in hexadecimal
}

func encodeRow(k Key, hash digest) ([]byte, error) {
	r := row{
		Version: rowVersion, Name: k.Name, App: k.App, Admin: k.Admin, Scopes: k.Scopes,
		Created: k.Created.UTC(), Expires: k.Expires, Hash: hex.EncodeToString(hash[:]),
	}
	if k.Admin {
		r.Scopes = nil // all, also those of later versions
	}
	return json.Marshal(r)
}

func decodeRow(id string, b []byte) (Key, digest, error) {
	var r row
	var hash digest
	if err := json.Unmarshal(b, &r); err != nil {
		return Key{}, hash, err
	}
	if r.Version != rowVersion {
		return Key{}, hash, fmt.Errorf("it has version %d, this program knows %d", r.Version, rowVersion)
	}
	if n, err := hex.Decode(hash[:], []byte(r.Hash)); err != nil || n != len(hash) {
		return Key{}, hash, errors.New("its hash is none")
	}
	if r.Admin == (r.App != "") {
		return Key{}, hash, errors.New("it is neither of one app nor of all")
	}
	k := Key{ID: id, Name: r.Name, App: r.App, Admin: r.Admin, Scopes: r.Scopes, Created: r.Created, Expires: r.Expires}
	if k.Admin {
		k.Scopes = Scopes()
	}
	return k, hash, nil
}
