package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// signatures returns what the header webhook-signature says of a body: one
// signature for each key, as Standard Webhooks 1.0 has it.
func signatures(keys [][]byte, id wire.ID, at time.Time, body []byte) string {
	head := id.String() + "." + strconv.FormatInt(at.Unix(), 10) + "."
	list := make([]string, len(keys))
	for i, key := range keys {
		h := hmac.New(sha256.New, key) // takes everything
		h.Write([]byte(head))
		h.Write(body)
		list[i] = "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	return strings.Join(list, " ")
}
