package chat_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// listener is a session that counts what it is told.
type listener struct {
	id    wire.ID
	user  wire.UserID
	heard *atomic.Int64
}

func (l *listener) ID() wire.ID                { return l.id }
func (l *listener) User() wire.UserID          { return l.user }
func (l *listener) Answer([]byte)              {}
func (l *listener) Failed(*wire.Error, []byte) {}
func (l *listener) Write()                     {}
func (l *listener) Queue([]byte, func()) bool  { l.heard.Add(1); return true }

// One message to a room whose members are connected here: stored once, and handed to each.
// What a session does with it is not counted, nor is what the file costs with one sender
// alone a measure of many.
func BenchmarkSendToManyMembers(b *testing.B) {
	for _, members := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			w := newWorld(b, db.Options{Path: filepath.Join(b.TempDir(), "switchboard.db")})
			n := w.run()
			ann := n.client(1)
			room := ann.ask("ROOM_CREATE", `{"name":"all","public":true}`).in.ID
			var heard atomic.Int64
			for i := range members {
				l := &listener{user: wire.UserID(fmt.Sprint("chat-", i+2)), heard: &heard}
				l.id[0], l.id[14], l.id[15] = 2, byte(i>>8), byte(i)
				id, _ := wire.ParseID(room)
				if _, err := n.Do(b.Context(), l.user, &wire.RoomAsk{Type: wire.TypeRoomJoin, Room: id}); err != nil {
					b.Fatal(err)
				}
				n.Attach(b.Context(), l)
			}
			frame, _ := wire.ParseFrame(fmt.Appendf(nil, `{"type":"ROOM_SEND","data":{"room":%q,"content":{"text":"a few words of an ordinary length"}}}`, room))
			ask, err := wire.ParseRoom(&frame)
			if err != nil {
				b.Fatal(err)
			}
			heard.Store(0)
			b.ReportAllocs()
			b.ResetTimer()
			b.SetParallelism(50)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := n.Do(b.Context(), "chat-1", &ask); err != nil {
						b.Error(err)
						return
					}
				}
			})
			eventually(b, "all have heard", func() bool { return heard.Load() >= int64(members*b.N) })
			b.ReportMetric(float64(heard.Load())/float64(b.N), "news/op")
		})
	}
}
