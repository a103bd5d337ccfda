package wire

import (
	"strconv"
	"time"
)

// RoomData is what a frame about rooms carries, and the body of the HTTP call that
// does the same.
type RoomData interface {
	// AppendData appends it as a JSON object.
	AppendData(dst []byte) []byte
}

// AppendRoomFrame appends a frame about rooms. A reference is the raw JSON string
// that came in, nil for none.
func AppendRoomFrame(dst []byte, t Type, data RoomData, reference []byte) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, t.String()...)
	dst = append(dst, `","data":`...)
	dst = data.AppendData(dst)
	if len(reference) > 0 {
		dst = append(dst, `,"reference":`...)
		dst = append(dst, reference...)
	}
	return append(dst, '}')
}

// RoomInfo is a room.
type RoomInfo struct {
	ID        ID
	Name      string
	Banner    string
	Public    bool
	OneToOne  bool
	Creator   UserID
	CreatedAt time.Time
	Members   int64
	LastSeq   uint64
	LastAt    time.Time // zero: nothing was sent yet
	Deleted   bool

	Mine *RoomMine // how the one who asks is in it; nil: is not, or not said
}

// RoomMine is how a member is in a room.
type RoomMine struct {
	Role    string
	ReadSeq uint64
	Unread  uint64
	With    UserID // of a one-to-one room: the other
}

// AppendData implements RoomData.
func (r *RoomInfo) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"id":`...), r.ID)
	dst = AppendString(append(dst, `,"name":`...), r.Name)
	dst = AppendString(append(dst, `,"banner":`...), r.Banner)
	dst = strconv.AppendBool(append(dst, `,"public":`...), r.Public)
	dst = strconv.AppendBool(append(dst, `,"oneToOne":`...), r.OneToOne)
	dst = appendUser(append(dst, `,"creator":`...), r.Creator)
	dst = appendTime(append(dst, `,"createdAt":`...), r.CreatedAt)
	dst = strconv.AppendInt(append(dst, `,"members":`...), r.Members, 10)
	dst = strconv.AppendUint(append(dst, `,"lastSeq":`...), r.LastSeq, 10)
	if !r.LastAt.IsZero() {
		dst = appendTime(append(dst, `,"lastAt":`...), r.LastAt)
	}
	if m := r.Mine; m != nil {
		dst = AppendString(append(dst, `,"role":`...), m.Role)
		dst = strconv.AppendUint(append(dst, `,"readSeq":`...), m.ReadSeq, 10)
		dst = strconv.AppendUint(append(dst, `,"unread":`...), m.Unread, 10)
		if m.With != "" {
			dst = appendUser(append(dst, `,"with":`...), m.With)
		}
	}
	if r.Deleted {
		dst = append(dst, `,"deleted":true`...)
	}
	return append(dst, '}')
}

// RoomList is a page of rooms.
type RoomList struct {
	Rooms []RoomInfo
	Next  string // empty: there are no more
}

// AppendData implements RoomData.
func (l *RoomList) AppendData(dst []byte) []byte {
	dst = append(dst, `{"rooms":[`...)
	for i := range l.Rooms {
		dst = l.Rooms[i].AppendData(comma(dst, i))
	}
	return appendNext(append(dst, ']'), l.Next)
}

// RoomSent is the answer to what was sent.
type RoomSent struct {
	Room     ID
	ID       ID
	Seq      uint64
	At       time.Time
	ClientID string // empty for none
}

// AppendData implements RoomData.
func (s *RoomSent) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), s.Room)
	dst = appendPlaceOf(dst, s.ID, s.Seq)
	dst = appendTime(append(dst, `,"at":`...), s.At)
	if s.ClientID != "" {
		dst = AppendString(append(dst, `,"clientId":`...), s.ClientID)
	}
	return append(dst, '}')
}

// RoomMessage is a message as news.
type RoomMessage struct {
	Room    ID
	ID      ID
	Seq     uint64
	From    UserID
	Content []byte
	At      time.Time
}

// AppendData implements RoomData.
func (m *RoomMessage) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), m.Room)
	dst = appendPlaceOf(dst, m.ID, m.Seq)
	dst = appendUser(append(dst, `,"from":`...), m.From)
	dst = append(append(dst, `,"content":`...), m.Content...)
	dst = appendTime(append(dst, `,"at":`...), m.At)
	return append(dst, '}')
}

// RoomChange says that a message was edited or deleted.
type RoomChange struct {
	Room    ID
	ID      ID
	Seq     uint64
	By      UserID
	At      time.Time
	Content []byte // nil: it was deleted
}

// AppendData implements RoomData.
func (c *RoomChange) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), c.Room)
	dst = appendPlaceOf(dst, c.ID, c.Seq)
	dst = appendUser(append(dst, `,"by":`...), c.By)
	dst = appendTime(append(dst, `,"at":`...), c.At)
	if c.Content == nil {
		return append(dst, `,"deleted":true}`...)
	}
	return append(append(append(dst, `,"content":`...), c.Content...), '}')
}

// RoomEntry is a message in the history.
type RoomEntry struct {
	ID      ID
	Seq     uint64
	From    UserID
	Content []byte // nil: it was deleted
	At      time.Time

	EditedAt  time.Time // zero: never
	EditedBy  UserID
	DeletedAt time.Time // zero: never
	DeletedBy UserID
}

func (e *RoomEntry) append(dst []byte) []byte {
	dst = appendID(append(dst, `{"id":`...), e.ID)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), e.Seq, 10)
	dst = appendUser(append(dst, `,"from":`...), e.From)
	if e.Content != nil {
		dst = append(append(dst, `,"content":`...), e.Content...)
	}
	dst = appendTime(append(dst, `,"at":`...), e.At)
	if !e.EditedAt.IsZero() {
		dst = appendTime(append(dst, `,"editedAt":`...), e.EditedAt)
		dst = appendUser(append(dst, `,"editedBy":`...), e.EditedBy)
	}
	if !e.DeletedAt.IsZero() {
		dst = appendTime(append(dst, `,"deleted":true,"deletedAt":`...), e.DeletedAt)
		dst = appendUser(append(dst, `,"deletedBy":`...), e.DeletedBy)
	}
	return append(dst, '}')
}

// RoomPage is a page of a room's history, or of what was found in it.
type RoomPage struct {
	Room     ID
	Words    string // that were looked for; empty: it is a page of the history
	Messages []RoomEntry
	// More says that there are more in the direction in which the page was asked for.
	More bool
	// Before is where a search goes on that has more; 0 for none.
	Before uint64
}

// AppendData implements RoomData.
func (p *RoomPage) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), p.Room)
	if p.Words != "" {
		dst = AppendString(append(dst, `,"words":`...), p.Words)
	}
	dst = append(dst, `,"messages":[`...)
	for i := range p.Messages {
		dst = p.Messages[i].append(comma(dst, i))
	}
	dst = strconv.AppendBool(append(dst, `],"more":`...), p.More)
	if p.Before > 0 {
		dst = strconv.AppendUint(append(dst, `,"before":`...), p.Before, 10)
	}
	return append(dst, '}')
}

// RoomMark says how far a member has read.
type RoomMark struct {
	Room ID
	User UserID
	Seq  uint64
	At   time.Time
}

// AppendData implements RoomData.
func (m *RoomMark) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), m.Room)
	dst = appendUser(append(dst, `,"user":`...), m.User)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), m.Seq, 10)
	return append(appendTime(append(dst, `,"at":`...), m.At), '}')
}

// RoomTyping says that a member is writing.
type RoomTyping struct {
	Room ID
	User UserID
}

// AppendData implements RoomData.
func (t *RoomTyping) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), t.Room)
	return append(appendUser(append(dst, `,"user":`...), t.User), '}')
}

// Why somebody is a member no longer, or may be one again.
const (
	ReasonLeft     = "left"
	ReasonRemoved  = "removed"
	ReasonBanned   = "banned"
	ReasonDeleted  = "deleted"  // the account is gone
	ReasonUnbanned = "unbanned" // of ROOM_MEMBER_CHANGED: may become a member again
)

// RoomMembership says that somebody has become a member, is one no longer, or has
// another role.
type RoomMembership struct {
	Room   ID
	User   UserID
	Role   string // that the member has now; empty for none
	By     UserID
	Reason string // empty for none
}

// AppendData implements RoomData.
func (m *RoomMembership) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), m.Room)
	dst = appendUser(append(dst, `,"user":`...), m.User)
	if m.Role != "" {
		dst = AppendString(append(dst, `,"role":`...), m.Role)
	}
	dst = appendUser(append(dst, `,"by":`...), m.By)
	if m.Reason != "" {
		dst = AppendString(append(dst, `,"reason":`...), m.Reason)
	}
	return append(dst, '}')
}

// RoomMember is one member of a room.
type RoomMember struct {
	User    UserID
	Role    string
	Since   time.Time
	ReadSeq uint64
}

// RoomMembers is a page of a room's members.
type RoomMembers struct {
	Room    ID
	Members []RoomMember
	Next    string // empty: there are no more
}

// AppendData implements RoomData.
func (l *RoomMembers) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), l.Room)
	dst = append(dst, `,"members":[`...)
	for i := range l.Members {
		m := &l.Members[i]
		dst = appendUser(append(comma(dst, i), `{"user":`...), m.User)
		dst = AppendString(append(dst, `,"role":`...), m.Role)
		dst = appendTime(append(dst, `,"since":`...), m.Since)
		dst = strconv.AppendUint(append(dst, `,"readSeq":`...), m.ReadSeq, 10)
		dst = append(dst, '}')
	}
	return appendNext(append(dst, ']'), l.Next)
}

// RoomBan is one who may not become a member.
type RoomBan struct {
	User, By UserID
	At       time.Time
}

// RoomBans is a page of those who are banned from a room.
type RoomBans struct {
	Room ID
	Bans []RoomBan
	Next string // empty: there are no more
}

// AppendData implements RoomData.
func (l *RoomBans) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), l.Room)
	dst = append(dst, `,"bans":[`...)
	for i := range l.Bans {
		dst = appendUser(append(comma(dst, i), `{"user":`...), l.Bans[i].User)
		dst = appendUser(append(dst, `,"by":`...), l.Bans[i].By)
		dst = append(appendTime(append(dst, `,"at":`...), l.Bans[i].At), '}')
	}
	return appendNext(append(dst, ']'), l.Next)
}

// RoomVersion is a message as it was before it was edited or deleted.
type RoomVersion struct {
	Content []byte // nil: the message was deleted, and all that it had been with it
	By      UserID // who changed it
	At      time.Time
	Deleted bool // by being deleted
}

// RoomVersions are all that a message has been, the oldest first.
type RoomVersions struct {
	Room     ID
	ID       ID
	Seq      uint64
	Versions []RoomVersion
}

// AppendData implements RoomData.
func (l *RoomVersions) AppendData(dst []byte) []byte {
	dst = appendID(append(dst, `{"room":`...), l.Room)
	dst = append(appendPlaceOf(dst, l.ID, l.Seq), `,"versions":[`...)
	for i := range l.Versions {
		v := &l.Versions[i]
		dst = append(comma(dst, i), '{')
		if v.Content != nil {
			dst = append(append(append(dst, `"content":`...), v.Content...), ',')
		}
		dst = appendUser(append(dst, `"by":`...), v.By)
		dst = appendTime(append(dst, `,"at":`...), v.At)
		if v.Deleted {
			dst = append(dst, `,"deleted":true`...)
		}
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendNext ends the object of a list.
func appendNext(dst []byte, next string) []byte {
	if next != "" {
		dst = AppendString(append(dst, `,"next":`...), next)
	}
	return append(dst, '}')
}

func appendID(dst []byte, id ID) []byte {
	dst, _ = id.AppendText(append(dst, '"'))
	return append(dst, '"')
}

// appendUser appends a user ID, in which nothing needs an escape.
func appendUser(dst []byte, u UserID) []byte {
	return append(append(append(dst, '"'), u...), '"')
}

func appendPlaceOf(dst []byte, id ID, seq uint64) []byte {
	dst = appendID(append(dst, `,"id":`...), id)
	return strconv.AppendUint(append(dst, `,"seq":`...), seq, 10)
}
