package bus

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The server reckons with two others that keep streams, at least, when it starts with
// an empty store: a cluster in which one alone keeps them would never elect a leader.
// Who is to be the only one founds it: it writes down, as the server itself does once
// it knows, that the group which leads all streams has one member. Others that come
// later are taken in.

// founded is where the server notes who belongs to that group, below its store.
var founded = filepath.Join("$SYS", "_js_", "_meta_", "peers.idx")

// found makes this server the only member of an empty store's group.
func (e *engine) found() error {
	file := filepath.Join(e.opts.Folder, founded)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err // nil: it was founded before
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("found the cluster: %w", err)
	}
	// The size of the group, how many members are known, the name of each, and two
	// bytes about domains.
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = append(b, memberName(e.opts.Cluster.Node)...)
	b = append(b, 0, 0)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return fmt.Errorf("found the cluster: %w", err)
	}
	return nil
}

// memberName is the name of a server in its groups: eight characters made of the first
// bytes of a hash.
func memberName(server string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(server))
	name := make([]byte, 8)
	for i := range name {
		name[i] = digits[int(sum[i])%len(digits)]
	}
	return string(name)
}

// members returns who belongs to that group, by the names that servers have in it, as far
// as this server's folder knows.
func (o *Options) members() (names []string) {
	b, err := os.ReadFile(filepath.Join(o.Folder, founded))
	if err != nil || len(b) < 8 {
		return nil
	}
	for n, b := binary.LittleEndian.Uint32(b[4:]), b[8:]; n > 0 && len(b) >= 8; n, b = n-1, b[8:] {
		names = append(names, string(b[:8]))
	}
	return names
}
