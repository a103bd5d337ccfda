package wire

// The names of all frames, as they stand in "type".
const (
	NameAuthClient       = "AUTH_CLIENT"
	NameMessage          = "MESSAGE"
	NameGroupMessage     = "GROUP_MESSAGE"
	NameFetch            = "FETCH_MISSING_MESSAGES_REQUEST"
	NameCloseConnection  = "CLOSE_CONNECTION"
	NameMessageAck       = "MESSAGE_ACK"
	NameAuthReply        = "AUTH_CLIENT_REPLY"
	NameAuthRequired     = "AUTH_REQUIRED"
	NameConfirmation     = "MESSAGE_CONFIRMATION"
	NameStored           = "MESSAGE_STORED"
	NameFetchComplete    = "FETCH_MISSING_MESSAGES_COMPLETE"
	NameUserConnected    = "USER_CONNECTED"
	NameUserDisconnected = "USER_DISCONNECTED"
	NameReconnect        = "RECONNECT"
	NameGeneralError     = "GENERAL_ERROR"
	NameInvalidMessage   = "INVALID_MESSAGE"
	NameDeliverFailed    = "DELIVER_FAILED"
	NameForward          = "FORWARD"
)

// Type says what a frame is.
type Type uint8

// The types of frames. MESSAGE, ROOM_TYPING and MATCH_MESSAGE are sent by clients and
// by the server; of the others, those up to TypeMessageAck, from TypeRoomSend to
// TypeRoomTyping, from TypeMatchRequest to TypeMatchMessage and from TypePosition to
// TypeNearbyUnwatch come from clients, the rest from the server.
const (
	TypeUnknown Type = iota
	TypeAuthClient
	TypeMessage
	TypeGroupMessage
	TypeFetch
	TypeCloseConnection
	TypeMessageAck
	TypeAuthReply
	TypeAuthRequired
	TypeConfirmation
	TypeStored
	TypeFetchComplete
	TypeUserConnected
	TypeUserDisconnected
	TypeReconnect
	TypeGeneralError
	TypeInvalidMessage
	TypeDeliverFailed
	TypeForward

	TypeRoomSend
	TypeRoomEdit
	TypeRoomDelete
	TypeRoomHistory
	TypeRoomSearch
	TypeRoomRead
	TypeRoomCreate
	TypeRoomList
	TypeRoomUpdate
	TypeRoomJoin
	TypeRoomLeave
	TypeRoomInvite
	TypeRoomRemove
	TypeRoomBan
	TypeRoomUnban
	TypeRoomRole
	TypeRoomMembers
	TypeRoomClose
	TypeRoomTyping
	TypeRoomSent
	TypeRoomMessage
	TypeRoomMessageChanged
	TypeRoomMessages
	TypeRoomReadBy
	TypeRoomChanged
	TypeRooms
	TypeRoomMemberJoined
	TypeRoomMemberLeft
	TypeRoomMemberChanged
	TypeRoomMemberList

	TypeMatchRequest
	TypeMatchCancel
	TypeMatchLeave
	TypeMatchMessage
	TypeMatchWaiting
	TypeMatched
	TypeMatchTimeout
	TypeMatchCanceled
	TypeMatchPeerLeft
	TypeMatchLeft

	TypePosition
	TypePositionHide
	TypeNearbyWatch
	TypeNearbyUnwatch
	TypePositionHidden
	TypeNearby
	TypeNearbyEnter
	TypeNearbyMove
	TypeNearbyLeave
)

// LastType is the highest type.
const LastType = TypeNearbyLeave

// String returns the type's name on the wire, and "UNKNOWN" for TypeUnknown and
// for values that are no type.
func (t Type) String() string {
	switch t {
	case TypeAuthClient:
		return NameAuthClient
	case TypeMessage:
		return NameMessage
	case TypeGroupMessage:
		return NameGroupMessage
	case TypeFetch:
		return NameFetch
	case TypeCloseConnection:
		return NameCloseConnection
	case TypeMessageAck:
		return NameMessageAck
	case TypeAuthReply:
		return NameAuthReply
	case TypeAuthRequired:
		return NameAuthRequired
	case TypeConfirmation:
		return NameConfirmation
	case TypeStored:
		return NameStored
	case TypeFetchComplete:
		return NameFetchComplete
	case TypeUserConnected:
		return NameUserConnected
	case TypeUserDisconnected:
		return NameUserDisconnected
	case TypeReconnect:
		return NameReconnect
	case TypeGeneralError:
		return NameGeneralError
	case TypeInvalidMessage:
		return NameInvalidMessage
	case TypeDeliverFailed:
		return NameDeliverFailed
	case TypeForward:
		return NameForward
	}
	switch {
	case t.OfRooms():
		return roomTypes()[t-TypeRoomSend]
	case t.OfMatches():
		return matchTypes()[t-TypeMatchRequest]
	case t.OfPositions():
		return nearTypes()[t-TypePosition]
	}
	return "UNKNOWN"
}

// FromClient says whether clients send frames of this type.
func (t Type) FromClient() bool {
	return t >= TypeAuthClient && t <= TypeMessageAck || t >= TypeRoomSend && t <= TypeRoomTyping ||
		t >= TypeMatchRequest && t <= TypeMatchMessage || t >= TypePosition && t <= TypeNearbyUnwatch
}

// FromServer says whether the server sends frames of this type.
func (t Type) FromServer() bool {
	return t == TypeMessage || t >= TypeAuthReply && t <= TypeForward || t >= TypeRoomTyping && t <= TypeRoomMemberList ||
		t >= TypeMatchMessage && t <= TypeMatchLeft || t >= TypePositionHidden && t <= TypeNearbyLeave
}

// Types returns all types, in the order of their constants.
func Types() []Type {
	types := make([]Type, 0, LastType)
	for t := TypeAuthClient; t <= LastType; t++ {
		types = append(types, t)
	}
	return types
}

// typeOf returns the type of this name, TypeUnknown if there is none.
func typeOf(name []byte) Type {
	switch string(name) {
	case NameMessage:
		return TypeMessage
	case NameMessageAck:
		return TypeMessageAck
	case NameGroupMessage:
		return TypeGroupMessage
	case NameFetch:
		return TypeFetch
	case NameAuthClient:
		return TypeAuthClient
	case NameCloseConnection:
		return TypeCloseConnection
	case NameAuthReply:
		return TypeAuthReply
	case NameAuthRequired:
		return TypeAuthRequired
	case NameConfirmation:
		return TypeConfirmation
	case NameStored:
		return TypeStored
	case NameFetchComplete:
		return TypeFetchComplete
	case NameUserConnected:
		return TypeUserConnected
	case NameUserDisconnected:
		return TypeUserDisconnected
	case NameReconnect:
		return TypeReconnect
	case NameGeneralError:
		return TypeGeneralError
	case NameInvalidMessage:
		return TypeInvalidMessage
	case NameDeliverFailed:
		return TypeDeliverFailed
	case NameForward:
		return TypeForward
	}
	if t := RoomType(name); t != TypeUnknown {
		return t
	}
	if t := MatchType(name); t != TypeUnknown {
		return t
	}
	return PositionType(name)
}
