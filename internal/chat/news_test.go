package chat

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestNewsCrossALinkAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := &news{
			kind: newsKind(rapid.IntRange(1, int(newsClosed)).Draw(t, "kind")),
			n:    rapid.Int64().Draw(t, "n"), seq: rapid.Int64().Draw(t, "seq"), change: rapid.Int64().Draw(t, "change"),
			user:  wire.UserID(rapid.SampledFrom([]string{"", "chat-1", "chat-9223372036854775807"}).Draw(t, "user")),
			frame: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "frame"),
		}
		copy(n.room[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "room"))
		copy(n.origin[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "origin"))
		b := append(appendNews(nil, n), n.frame...)
		got, ok := parseNews(b)
		if !ok || !reflect.DeepEqual(got, n) {
			t.Fatalf("%+v became %+v", n, got)
		}
		for cut := range len(b) - len(n.frame) {
			if _, ok := parseNews(b[:cut]); ok {
				t.Fatalf("%d of %d bytes are news", cut, len(b))
			}
		}
	})
}
