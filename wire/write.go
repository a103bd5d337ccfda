package wire

import (
	"bytes"
	"strconv"
	"time"
)

// Functions in this file append complete frames of the server. A reference is
// the raw JSON string that came in, nil for none. They allocate only when dst
// has to grow.

// AppendMessage appends a MESSAGE from a user, with content as it came in.
func AppendMessage(dst []byte, from UserID, content, reference []byte) []byte {
	dst = append(dst, `{"type":"MESSAGE","data":{"from":"`...)
	dst = append(dst, from...)
	dst = append(dst, `","content":`...)
	dst = append(dst, content...)
	return appendEnd(dst, reference)
}

// AppendNumbered is AppendMessage with the message's number in its sender's outbox.
func AppendNumbered(dst []byte, from UserID, content, reference []byte, producer string, seq uint64) []byte {
	dst = AppendMessage(dst, from, content, reference)
	dst = append(dst[:len(dst)-1], `,"producer":"`...) // of characters that need no escape
	dst = append(dst, producer...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, '}')
}

// AppendConfirmation appends a MESSAGE_CONFIRMATION.
func AppendConfirmation(dst, reference []byte) []byte {
	return appendReceipt(dst, NameConfirmation, reference)
}

// AppendStored appends a MESSAGE_STORED.
func AppendStored(dst, reference []byte) []byte {
	return appendReceipt(dst, NameStored, reference)
}

// AppendAuthReply appends an AUTH_CLIENT_REPLY. appID and userText are what the
// client gave. code and reason are written only when ok is false.
func AppendAuthReply(dst []byte, appID, userText string, ok bool, code, reason string) []byte {
	dst = append(dst, `{"type":"AUTH_CLIENT_REPLY","data":{"appId":`...)
	dst = AppendString(dst, appID)
	dst = append(dst, `,"userId":`...)
	dst = AppendString(dst, userText)
	if ok {
		return append(dst, `,"isAuthenticated":true}}`...)
	}
	dst = append(dst, `,"isAuthenticated":false,"code":`...)
	dst = AppendString(dst, code)
	dst = append(dst, `,"reason":`...)
	dst = AppendString(dst, reason)
	return append(dst, `}}`...)
}

// AppendAuthRefusal appends an AUTH_CLIENT_REPLY that refuses for a reason.
func AppendAuthRefusal(dst []byte, appID, userText string, e *Error) []byte {
	dst = AppendAuthReply(dst, appID, userText, false, e.Code, e.Reason)
	if e.Home == "" {
		return dst
	}
	dst = append(dst[:len(dst)-len(`}}`)], `,"home":`...)
	return append(AppendString(dst, e.Home), `}}`...)
}

// AppendAuthRequired appends an AUTH_REQUIRED.
func AppendAuthRequired(dst []byte) []byte {
	return append(dst, `{"type":"AUTH_REQUIRED","data":{}}`...)
}

// AppendUserConnected appends a USER_CONNECTED.
func AppendUserConnected(dst []byte, user UserID) []byte {
	return appendPresence(dst, NameUserConnected, user)
}

// AppendUserDisconnected appends a USER_DISCONNECTED.
func AppendUserDisconnected(dst []byte, user UserID) []byte {
	return appendPresence(dst, NameUserDisconnected, user)
}

// AppendFetchComplete appends a FETCH_MISSING_MESSAGES_COMPLETE; left is how
// many messages are still in the mailbox.
func AppendFetchComplete(dst []byte, left int) []byte {
	dst = append(dst, `{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":`...)
	dst = strconv.AppendInt(dst, int64(left), 10)
	return append(dst, `}}`...)
}

// AppendReconnect appends a RECONNECT; after, cut to milliseconds, is how long
// the client is to wait before it leaves.
func AppendReconnect(dst []byte, reason string, after time.Duration) []byte {
	dst = append(dst, `{"type":"RECONNECT","data":{"reason":`...)
	dst = AppendString(dst, reason)
	dst = append(dst, `,"afterMs":`...)
	dst = strconv.AppendInt(dst, max(after, 0).Milliseconds(), 10)
	return append(dst, `}}`...)
}

// AppendFailure appends the frame that reports e: a GENERAL_ERROR, an
// INVALID_MESSAGE or a DELIVER_FAILED, as its Kind says.
func AppendFailure(dst []byte, e *Error, reference []byte) []byte {
	dst = append(dst, `{"type":`...)
	dst = AppendString(dst, e.Kind)
	dst = append(dst, `,"data":{"code":`...)
	dst = AppendString(dst, e.Code)
	dst = append(dst, `,"reason":`...)
	dst = AppendString(dst, e.Reason)
	dst = appendTo(dst, e)
	if e.MayYetArrive {
		dst = append(dst, `,"mayYetArrive":true`...)
	}
	if e.Home != "" {
		dst = AppendString(append(dst, `,"home":`...), e.Home)
	}
	return appendEnd(dst, reference)
}

// AppendWithID appends a frame, one of those above, with the message's ID as the
// last member of its envelope.
func AppendWithID(dst, frame []byte, id ID) []byte {
	end := bytes.LastIndexByte(frame, '}')
	if end < 0 {
		return append(dst, frame...) // no frame; there is nowhere to put it
	}
	dst = append(dst, frame[:end]...)
	dst = append(dst, `,"id":"`...)
	dst, _ = id.AppendText(dst)
	dst = append(dst, '"')
	return append(dst, frame[end:]...)
}

func appendReceipt(dst []byte, name string, reference []byte) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, name...)
	if len(reference) == 0 {
		return append(dst, `","data":{}}`...)
	}
	dst = append(dst, `","data":{"reference":`...)
	dst = append(dst, reference...)
	return append(dst, `}}`...)
}

func appendPresence(dst []byte, name string, user UserID) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, name...)
	dst = append(dst, `","data":{"userId":"`...)
	dst = append(dst, user...)
	return append(dst, `"}}`...)
}

func appendTo(dst []byte, e *Error) []byte {
	switch {
	case len(e.To) == 0:
		return dst
	case !e.Group && len(e.To) == 1:
		return AppendString(append(dst, `,"to":`...), string(e.To[0]))
	}
	dst = append(dst, `,"to":[`...)
	for i, to := range e.To {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, string(to))
	}
	return append(dst, ']')
}

// appendEnd closes data and the envelope.
func appendEnd(dst, reference []byte) []byte {
	if len(reference) == 0 {
		return append(dst, `}}`...)
	}
	dst = append(dst, `},"reference":`...)
	dst = append(dst, reference...)
	return append(dst, '}')
}
