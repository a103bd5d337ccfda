package chat

import "github.com/seed-3d8c1042/switchboard/wire"

// standing is how somebody stands to a room.
type standing uint8

const (
	stranger standing = iota
	banned
	member
	moderator
	owner
	standings
)

// kind is what sort of room it is.
type kind uint8

const (
	private kind = iota
	public
	oneToOne
	deserted // one-to-one, and one of the two is gone
	kinds
)

// operation is what somebody may want to do in a room that exists.
type operation uint8

const (
	opSee    operation = iota // the room itself: its name, how many its members are
	opRead                    // history, search, members
	opSend                    // and read marks, typing
	opChange                  // a message of one's own
	opDelete                  // or edit, a message of somebody else
	opJoin
	opLeave
	opRename // and the banner
	opPublish
	opInvite
	opRemove          // a member
	opRemoveModerator // or ban one
	opBan             // and unban, and list who is banned
	opRole
	opClose
	operations
)

// verdict is whether it may be done.
type verdict uint8

const (
	allowed   verdict = iota
	forbidden         // the room may be known, this may not be done
	hidden            // not even that there is such a room may be known
)

// judge is the table of who may do what.
func judge(op operation, s standing, k kind) verdict {
	if s < member {
		return judgeOutsider(op, s, k)
	}
	if k >= oneToOne {
		if op <= opChange || op == opLeave && k == deserted {
			return allowed
		}
		return forbidden
	}
	least := owner
	switch op {
	case opSee, opRead, opSend, opChange, opLeave, opJoin: // who is in joins again: nothing happens
		least = member
	case opDelete, opRename, opInvite, opRemove, opBan:
		least = moderator
	}
	if s < least {
		return forbidden
	}
	return allowed
}

// judgeOutsider is judge for who is no member.
func judgeOutsider(op operation, s standing, k kind) verdict {
	switch {
	case k != public:
		return hidden
	case op == opSee, op == opJoin && s == stranger:
		return allowed
	}
	return forbidden
}

// standingOf returns how a member stands.
func standingOf(m *Member) standing {
	if m == nil {
		return stranger
	}
	switch m.Role {
	case wire.RoleOwner:
		return owner
	case wire.RoleModerator:
		return moderator
	}
	return member
}

func kindOf(r *Room) kind {
	switch {
	case r.left():
		return deserted
	case r.OneToOne:
		return oneToOne
	case r.Public:
		return public
	}
	return private
}

// refuse returns the error that an operation is refused with; nil where it is allowed.
func refuse(op operation, s standing, k kind) *wire.Error {
	switch judge(op, s, k) {
	case allowed:
		return nil
	case hidden:
		return noRoom()
	}
	return general(wire.CodeForbidden, why(op, s, k))
}

// why says what an operation would take that is forbidden.
func why(op operation, s standing, k kind) string {
	switch {
	case s == banned:
		return "the user is banned from this room"
	case s == stranger:
		return "the user is not a member of this room, and has to join it first"
	case k >= oneToOne && op == opDelete:
		return "in a one-to-one room a message is edited and deleted by its author only"
	case k == oneToOne && op == opLeave:
		return "a one-to-one room is not left while both are there"
	case k >= oneToOne:
		return "nothing of a one-to-one room changes: neither who is in it, nor what it is called"
	case op == opDelete:
		return "only its author and moderators of this room may edit or delete a message"
	case judge(op, moderator, k) == allowed:
		return "only moderators of this room and its owner may do this"
	}
	return "only the owner of this room may do this"
}

func noRoom() *wire.Error {
	return general(wire.CodeNotFound, "there is no such room, or none that the user may know of")
}

func otherIsGone() *wire.Error {
	return general(wire.CodeForbidden, "the other one of this room is gone")
}

func general(code, reason string) *wire.Error {
	return &wire.Error{Kind: wire.KindGeneralError, Code: code, Reason: reason}
}

func badField(field, rule string) *wire.Error {
	return &wire.Error{Kind: wire.KindInvalidMessage, Code: wire.CodeBadField, Reason: field + rule, Field: field}
}
