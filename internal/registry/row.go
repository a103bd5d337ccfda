package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// rowVersion is the version of what is stored.
const rowVersion = 1

// row is an instance as it is stored, as JSON. Members that are unknown are passed over,
// so that a later version may add some.
type row struct {
	Version int               `json:"v"`
	Service string            `json:"service"`
	Name    string            `json:"name"`
	URL     string            `json:"url"`
	Weight  int               `json:"weight"`
	Meta    map[string]string `json:"meta,omitempty"`
	TTL     int64             `json:"ttl"` // seconds
	Since   time.Time         `json:"since"`
}

// keyOf returns the key of an instance's row: names may be longer than keys, and have
// other characters.
func keyOf(service, name string) string {
	sum := sha256.Sum256([]byte(service + "/" + name)) // which no name has
	return hex.EncodeToString(sum[:])
}

func encode(i Instance) []byte {
	b, err := json.Marshal(row{
		Version: rowVersion, Service: i.Service, Name: i.Name, URL: i.URL, Weight: i.Weight, Meta: i.Meta,
		TTL: int64(i.TTL / time.Second), Since: i.Since.UTC(),
	})
	if err != nil {
		panic(fmt.Sprintf("registry: %v", err)) // our own values marshal
	}
	return b
}

// decode reads the row of a key. What would not be taken is not read either: it goes
// into URLs and pages.
func decode(key string, b []byte) (Instance, error) {
	var r row
	if err := json.Unmarshal(b, &r); err != nil {
		return Instance{}, err
	}
	if r.Version != rowVersion {
		return Instance{}, fmt.Errorf("it has version %d, this program knows %d", r.Version, rowVersion)
	}
	if keyOf(r.Service, r.Name) != key {
		return Instance{}, errors.New("its key is another's")
	}
	if r.TTL < 0 || r.TTL > int64(MaxTTL/time.Second) {
		return Instance{}, checkTTL(-1)
	}
	i := Instance{
		Service: r.Service, Name: r.Name, URL: r.URL, Weight: r.Weight, Meta: r.Meta, TTL: time.Duration(r.TTL) * time.Second,
		Since: r.Since, Source: Registered,
	}
	if wrong := i.Check(); wrong != nil {
		return Instance{}, wrong[0]
	}
	return i, nil
}
