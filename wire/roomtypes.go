package wire

// The names of the frames about rooms.
const (
	NameRoomSend    = "ROOM_SEND"
	NameRoomEdit    = "ROOM_EDIT"
	NameRoomDelete  = "ROOM_DELETE"
	NameRoomHistory = "ROOM_HISTORY"
	NameRoomSearch  = "ROOM_SEARCH"
	NameRoomRead    = "ROOM_READ"
	NameRoomCreate  = "ROOM_CREATE"
	NameRoomList    = "ROOM_LIST"
	NameRoomUpdate  = "ROOM_UPDATE"
	NameRoomJoin    = "ROOM_JOIN"
	NameRoomLeave   = "ROOM_LEAVE"
	NameRoomInvite  = "ROOM_INVITE"
	NameRoomRemove  = "ROOM_REMOVE"
	NameRoomBan     = "ROOM_BAN"
	NameRoomUnban   = "ROOM_UNBAN"
	NameRoomRole    = "ROOM_ROLE"
	NameRoomMembers = "ROOM_MEMBERS"
	NameRoomClose   = "ROOM_CLOSE"
	NameRoomTyping  = "ROOM_TYPING"

	NameRoomSent           = "ROOM_SENT"
	NameRoomMessage        = "ROOM_MESSAGE"
	NameRoomMessageChanged = "ROOM_MESSAGE_CHANGED"
	NameRoomMessages       = "ROOM_MESSAGES"
	NameRoomReadBy         = "ROOM_READ_BY"
	NameRoomChanged        = "ROOM_CHANGED"
	NameRooms              = "ROOMS"
	NameRoomMemberJoined   = "ROOM_MEMBER_JOINED"
	NameRoomMemberLeft     = "ROOM_MEMBER_LEFT"
	NameRoomMemberChanged  = "ROOM_MEMBER_CHANGED"
	NameRoomMemberList     = "ROOM_MEMBER_LIST"
)

// roomTypes returns the names of the types from TypeRoomSend on, in their order.
func roomTypes() [TypeRoomMemberList - TypeRoomSend + 1]string {
	return [...]string{
		NameRoomSend, NameRoomEdit, NameRoomDelete, NameRoomHistory, NameRoomSearch, NameRoomRead, NameRoomCreate,
		NameRoomList, NameRoomUpdate, NameRoomJoin, NameRoomLeave, NameRoomInvite, NameRoomRemove, NameRoomBan,
		NameRoomUnban, NameRoomRole, NameRoomMembers, NameRoomClose, NameRoomTyping,
		NameRoomSent, NameRoomMessage, NameRoomMessageChanged, NameRoomMessages, NameRoomReadBy, NameRoomChanged,
		NameRooms, NameRoomMemberJoined, NameRoomMemberLeft, NameRoomMemberChanged, NameRoomMemberList,
	}
}

// OfRooms says whether frames of this type are about rooms.
func (t Type) OfRooms() bool { return t >= TypeRoomSend && t <= TypeRoomMemberList }

// RoomType returns the type of a frame about rooms, TypeUnknown for other names.
func RoomType(name []byte) Type {
	switch string(name) { // the frequent ones
	case NameRoomSend:
		return TypeRoomSend
	case NameRoomMessage:
		return TypeRoomMessage
	}
	for i, known := range roomTypes() {
		if string(name) == known {
			return TypeRoomSend + Type(i)
		}
	}
	return TypeUnknown
}
