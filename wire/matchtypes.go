package wire

// The names of the frames about matches.
const (
	NameMatchRequest  = "MATCH_REQUEST"
	NameMatchCancel   = "MATCH_CANCEL"
	NameMatchLeave    = "MATCH_LEAVE"
	NameMatchMessage  = "MATCH_MESSAGE"
	NameMatchWaiting  = "MATCH_WAITING"
	NameMatched       = "MATCHED"
	NameMatchTimeout  = "MATCH_TIMEOUT"
	NameMatchCanceled = "MATCH_CANCELED"
	NameMatchPeerLeft = "MATCH_PEER_LEFT"
	NameMatchLeft     = "MATCH_LEFT"
)

// matchTypes returns the names of the types from TypeMatchRequest on, in their order.
func matchTypes() [TypeMatchLeft - TypeMatchRequest + 1]string {
	return [...]string{
		NameMatchRequest, NameMatchCancel, NameMatchLeave, NameMatchMessage,
		NameMatchWaiting, NameMatched, NameMatchTimeout, NameMatchCanceled, NameMatchPeerLeft, NameMatchLeft,
	}
}

// OfMatches says whether frames of this type are about matches.
func (t Type) OfMatches() bool { return t >= TypeMatchRequest && t <= TypeMatchLeft }

// MatchType returns the type of a frame about matches, TypeUnknown for other names.
func MatchType(name []byte) Type {
	switch string(name) { // the frequent one
	case NameMatchMessage:
		return TypeMatchMessage
	}
	for i, known := range matchTypes() {
		if string(name) == known {
			return TypeMatchRequest + Type(i)
		}
	}
	return TypeUnknown
}
