package wire

import (
	"slices"
	"strconv"
	"strings"
)

// Limits on what one frame about rooms may ask for.
const (
	DefaultRoomPage = 50  // entries of a page when the client does not say
	MaxRoomPage     = 200 // and at most
	MaxClientID     = 64  // bytes in the client's own ID of a message
)

// RoomAsk is what a client's frame about rooms asks for: only what its type has is
// set. It has been checked to be of the right form. Content points into the frame,
// the rest is copied.
type RoomAsk struct {
	Type Type

	Room   ID
	Domain string // that was written behind the room's ID; empty for none
	ID     ID     // of a message; zero when absent
	User   UserID
	Role   string

	Content  []byte // raw JSON value
	ClientID string // empty when absent
	Words    string

	Before, After, Seq uint64 // 0 when absent
	FromStart          bool   // "after" was given, maybe as 0
	Limit              int    // DefaultRoomPage when absent
	Place              string // "after" of a list: the "next" of the page before

	Name, Banner *string // nil when absent
	Public       *bool   // nil when absent
	With         UserID
}

// roomFields returns the members of "data" that a type has: first those that it
// needs.
func roomFields(t Type) (names []string, needed int) {
	switch t {
	case TypeRoomSend:
		return []string{"room", "content", "clientId"}, 2
	case TypeRoomEdit:
		return []string{"room", "id", "content"}, 3
	case TypeRoomDelete:
		return []string{"room", "id"}, 2
	case TypeRoomHistory:
		return []string{"room", "before", "after", "limit"}, 1
	case TypeRoomSearch:
		return []string{"room", "words", "before", "limit"}, 2
	case TypeRoomRead:
		return []string{"room", "id", "seq"}, 1
	case TypeRoomCreate:
		return []string{"name", "public", "banner", "with"}, 0
	case TypeRoomList:
		return []string{"public", "after", "limit"}, 0
	case TypeRoomUpdate:
		return []string{"room", "name", "banner", "public"}, 1
	case TypeRoomInvite, TypeRoomRemove, TypeRoomBan, TypeRoomUnban:
		return []string{"room", "user"}, 2
	case TypeRoomRole:
		return []string{"room", "user", "role"}, 3
	case TypeRoomMembers:
		return []string{"room", "after", "limit"}, 1
	}
	return []string{"room"}, 1
}

// ParseRoom reads the data of a client's frame about rooms.
func ParseRoom(f *Frame) (RoomAsk, *Error) {
	ask := RoomAsk{Type: f.Type, Limit: DefaultRoomPage}
	names, needed := roomFields(f.Type)
	var v [4][]byte
	if f.Data == nil && needed > 0 {
		return ask, missing("data")
	}
	if err := fields("data", f.Data, names, v[:]); err != nil {
		return ask, err
	}
	for i, name := range names {
		if v[i] == nil && i < needed {
			return ask, missing("data." + name)
		}
		if v[i] == nil {
			continue
		}
		if rule := ask.set(name, v[i]); rule != "" {
			return ask, badField("data."+name, rule)
		}
	}
	if f.Type == TypeRoomRead && ask.ID.IsZero() && v[2] == nil {
		e := missing("data.id")
		e.Reason += ", or data.seq"
		return ask, e
	}
	if f.Type == TypeRoomHistory && ask.Before > 0 && ask.FromStart {
		return ask, badField("data.after", " and data.before are not for one and the same page")
	}
	return ask, nil
}

// set takes a member of data. It returns the rule that the value breaks, empty for
// none.
func (a *RoomAsk) set(name string, raw []byte) (rule string) {
	switch name {
	case "content":
		a.Content = raw
		return ""
	case "public":
		value, ok := boolean(raw)
		a.Public = &value
		return broken(ok, " has to be true or false")
	case "before", "seq", "limit":
		return a.number(name, raw)
	case "after":
		if a.Type == TypeRoomHistory {
			a.FromStart = true
			return a.number(name, raw)
		}
	}
	if raw[0] != '"' {
		return " has to be a string"
	}
	return a.text(name, raw)
}

// number takes a member that is a number.
func (a *RoomAsk) number(name string, raw []byte) (rule string) {
	n, ok := int64(0), false
	if raw[0] != '"' && raw[0] != '{' && raw[0] != '[' {
		n, ok = integer(raw)
	}
	lowest := int64(1)
	switch name {
	case "after", "seq":
		lowest = 0
	case "limit":
		ok = ok && n <= MaxRoomPage
		rule = " to " + strconv.Itoa(MaxRoomPage)
	}
	if !ok || n < lowest || n > MaxSeq {
		return " has to be a whole number from " + strconv.FormatInt(lowest, 10) + rule
	}
	switch name {
	case "before":
		a.Before = uint64(n)
	case "after":
		a.After = uint64(n)
	case "seq":
		a.Seq = uint64(n)
	case "limit":
		a.Limit = int(n)
	}
	return ""
}

// text takes a member that is a string.
func (a *RoomAsk) text(name string, raw []byte) (rule string) {
	s := str(raw)
	switch name {
	case "room":
		room, domain, err := ParseRoomRef(s)
		a.Room, a.Domain = room, domain
		return broken(err == nil, " has to be the ID of a room")
	case "id":
		id, err := ParseID(s)
		a.ID = id
		return broken(err == nil, " has to be the ID of a message")
	case "user", "with":
		user, err := ParseUserID(s)
		if err != nil {
			return ": " + err.Error()
		}
		if name == "user" {
			a.User = user
		} else {
			a.With = user
		}
	case "clientId":
		a.ClientID = s
		return broken(GoodClientID(s), " has to have 1 to "+strconv.Itoa(MaxClientID)+" bytes, none of them a control character")
	case "words":
		a.Words = s
	case "after":
		a.Place = s
		return broken(s != "", ` has to be the "next" of an answer`)
	case "name":
		a.Name = &s
	case "banner":
		a.Banner = &s
	case "role":
		a.Role = s
	}
	return ""
}

// RoomContentDepth is how deeply arrays and objects may be nested in the content of a
// message of a room, which has to fit into every frame that it is told in.
const RoomContentDepth = MaxDepth - 4 // of ROOM_MESSAGES: the frame, data, messages, a message

// CheckRoomContent says what keeps a JSON value from being such a content; nil for
// nothing.
func CheckRoomContent(content []byte) *Error {
	s := scanner{b: content, depth: MaxDepth - RoomContentDepth}
	if s.value(); s.fault == faultNone {
		return nil
	}
	code, reason := CodeBadField, "data.content is not JSON"
	if s.fault == faultDepth {
		code, reason = CodeTooDeep, "arrays and objects in data.content are nested more than "+strconv.Itoa(RoomContentDepth)+" deep"
	}
	return &Error{Kind: KindInvalidMessage, Code: code, Reason: reason, Field: "data.content"}
}

// GoodClientID says whether a client may call a message so.
func GoodClientID(s string) bool {
	return s != "" && len(s) <= MaxClientID && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// ParseRoomRef reads how a room is named: by its ID, maybe with "@" and its domain
// behind it.
func ParseRoomRef(s string) (room ID, domain string, err error) {
	id, domain, given := strings.Cut(s, "@")
	if room, err = ParseID(id); err == nil && given && domain == "" {
		err = errID
	}
	return room, domain, err
}

// Roles returns the roles of members, the highest first.
func Roles() []string { return []string{RoleOwner, RoleModerator, RoleMember} }

// The roles of members.
const (
	RoleOwner     = "owner"
	RoleModerator = "moderator"
	RoleMember    = "member"
)

// KnownRole says whether there is such a role.
func KnownRole(role string) bool { return slices.Contains(Roles(), role) }

func broken(ok bool, rule string) string {
	if ok {
		return ""
	}
	return rule
}
