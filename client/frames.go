package client

import (
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Functions in this file append the frames of a client.

func appendAuth(dst []byte, o *Options, token string) []byte {
	dst = append(dst, `{"type":"AUTH_CLIENT","data":{"appId":`...)
	dst = wire.AppendString(dst, o.AppID)
	dst = append(dst, `,"userId":`...)
	dst = wire.AppendString(dst, string(o.UserID))
	dst = append(dst, `,"token":`...)
	dst = wire.AppendString(dst, token)
	dst = appendOptions(dst, o)
	return append(dst, `}}`...)
}

// appendOptions appends nothing when nothing is asked for.
func appendOptions(dst []byte, o *Options) []byte {
	separator := `,"options":{`
	for _, flag := range []struct {
		name string
		set  bool
	}{{"ack", o.Ack || o.Link}, {"receipts", o.Receipts}, {"push", o.Push || o.Link}, {"link", o.Link}} {
		if flag.set {
			dst = append(dst, separator...)
			dst = append(wire.AppendString(dst, flag.name), `:true`...)
			separator = ","
		}
	}
	if len(o.Presence) > 0 {
		dst = append(dst, separator...)
		dst = append(dst, `"presence":`...)
		dst = appendUsers(dst, o.Presence)
		separator = ","
	}
	if o.Producer != "" {
		dst = append(dst, separator...)
		dst = append(dst, `"producer":`...)
		dst = wire.AppendString(dst, o.Producer)
		separator = ","
	}
	if separator == "," {
		dst = append(dst, '}')
	}
	return dst
}

func appendUsers(dst []byte, users []wire.UserID) []byte {
	dst = append(dst, '[')
	for i, u := range users {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = wire.AppendString(dst, string(u))
	}
	return append(dst, ']')
}

// appendSend appends a MESSAGE to one user, or a GROUP_MESSAGE.
func appendSend(dst []byte, to []wire.UserID, group bool, content []byte, o *sendOptions) []byte {
	if group {
		dst = append(dst, `{"type":"GROUP_MESSAGE","data":{"to":`...)
		dst = appendUsers(dst, to)
	} else {
		dst = append(dst, `{"type":"MESSAGE","data":{"to":`...)
		dst = wire.AppendString(dst, string(to[0]))
	}
	dst = append(dst, `,"content":`...)
	dst = append(append(dst, content...), '}')
	if o.fast {
		dst = append(dst, `,"feature":"FAST"`...)
	}
	if o.reference != "" {
		dst = wire.AppendString(append(dst, `,"reference":`...), o.reference)
	}
	if o.silent {
		dst = append(dst, `,"confirmationEnabled":false`...)
	}
	if o.ttl > 0 {
		dst = append(dst, `,"ttl":`...)
		dst = strconv.AppendInt(dst, int64((o.ttl+time.Second-1)/time.Second), 10)
	}
	if o.seq > 0 && !o.fast {
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, o.seq, 10)
	}
	return append(dst, '}')
}

func appendAck(dst []byte, id wire.ID) []byte {
	dst = append(dst, `{"type":"MESSAGE_ACK","data":{"id":"`...)
	dst, _ = id.AppendText(dst)
	return append(dst, `"}}`...)
}

func appendFetch(dst []byte, count int, reference string) []byte {
	dst = append(dst, `{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":`...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	dst = append(dst, `},"reference":`...)
	dst = wire.AppendString(dst, reference)
	return append(dst, '}')
}

func appendClose(dst []byte, user wire.UserID) []byte {
	dst = append(dst, `{"type":"CLOSE_CONNECTION","data":{"userId":`...)
	dst = wire.AppendString(dst, string(user))
	return append(dst, `}}`...)
}
