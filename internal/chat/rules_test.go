package chat

import (
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// The table as people read it: for each operation what a stranger, one who is banned, a
// member, a moderator and the owner may do, in a private, a public and a one-to-one room,
// and in one whose other one is gone.
// y: yes. n: no. h: not even that there is such a room may be known.
func TestWhoMayDoWhat(t *testing.T) {
	table := map[operation]string{
		//                  private public one-to-one deserted
		opSee:             "hhyyy yyyyy hhy hhy",
		opRead:            "hhyyy nnyyy hhy hhy",
		opSend:            "hhyyy nnyyy hhy hhy",
		opChange:          "hhyyy nnyyy hhy hhy",
		opDelete:          "hhnyy nnnyy hhn hhn",
		opJoin:            "hhyyy ynyyy hhn hhn",
		opLeave:           "hhyyy nnyyy hhn hhy",
		opRename:          "hhnyy nnnyy hhn hhn",
		opPublish:         "hhnny nnnny hhn hhn",
		opInvite:          "hhnyy nnnyy hhn hhn",
		opRemove:          "hhnyy nnnyy hhn hhn",
		opRemoveModerator: "hhnny nnnny hhn hhn",
		opBan:             "hhnyy nnnyy hhn hhn",
		opRole:            "hhnny nnnny hhn hhn",
		opClose:           "hhnny nnnny hhn hhn",
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
		{opInvite, member, deserted, "nothing of a one-to-one room changes"},
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
