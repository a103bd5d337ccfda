package chat

import (
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// The table as people read it: for each operation what a stranger, one who is banned, a
// member, a moderator and the owner may do, in a private, a public and a one-to-one room.
// y: yes. n: no. h: not even that there is such a room may be known.
func TestWhoMayDoWhat(t *testing.T) {
	table := map[operation]string{
		//                  private public one-to-one
		opSee:             "hhyyy yyyyy hhy",
		opRead:            "hhyyy nnyyy hhy",
		opSend:            "hhyyy nnyyy hhy",
		opChange:          "hhyyy nnyyy hhy",
		opDelete:          "hhnyy nnnyy hhn",
		opJoin:            "hhyyy ynyyy hhn",
		opLeave:           "hhyyy nnyyy hhn",
		opRename:          "hhnyy nnnyy hhn",
		opPublish:         "hhnny nnnny hhn",
		opInvite:          "hhnyy nnnyy hhn",
		opRemove:          "hhnyy nnnyy hhn",
		opRemoveModerator: "hhnny nnnny hhn",
		opBan:             "hhnyy nnnyy hhn",
		opRole:            "hhnny nnnny hhn",
		opClose:           "hhnny nnnny hhn",
	}
	for op := range operations {
		rows := strings.Fields(table[op])
		if len(rows) != int(kinds) {
			t.Fatalf("operation %d is not in the table", op)
		}
		for k := range kinds {
			for s := range standings {
				if int(s) >= len(rows[k]) {
					continue // in a one-to-one room all are members
				}
				want := map[byte]verdict{'y': allowed, 'n': forbidden, 'h': hidden}[rows[k][s]]
				if got := judge(op, s, k); got != want {
					t.Errorf("operation %d, standing %d, kind %d: %d, want %d", op, s, k, got, want)
				}
			}
		}
	}
}

// Whoever is refused is told what it would take.
func TestWhoIsRefusedHearsWhy(t *testing.T) {
	for _, x := range []struct {
		op   operation
		s    standing
		k    kind
		says string
	}{
		{opSend, stranger, public, "join it first"},
		{opJoin, banned, public, "banned"},
		{opLeave, member, oneToOne, "is not left"},
		{opInvite, member, oneToOne, "nothing of a one-to-one room changes"},
		{opDelete, member, oneToOne, "by its author only"},
		{opDelete, member, private, "its author and moderators"},
		{opInvite, member, private, "only moderators"},
		{opClose, moderator, public, "only the owner"},
	} {
		e := refuse(x.op, x.s, x.k)
		if e == nil || e.Code != wire.CodeForbidden || !strings.Contains(e.Reason, x.says) {
			t.Errorf("operation %d, standing %d, kind %d: %+v does not say %q", x.op, x.s, x.k, e, x.says)
		}
	}
}
