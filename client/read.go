package client

import (
	"encoding/json"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Functions in this file read the data of the server's frames.

// readAuthReply returns nil when the sign-in was accepted.
func readAuthReply(data []byte) error {
	var reply struct {
		IsAuthenticated bool
		Code, Reason    string
		Home            string
	}
	if json.Unmarshal(data, &reply) != nil {
		return errBadAuth
	}
	if reply.IsAuthenticated {
		return nil
	}
	return &wire.Error{Kind: wire.KindAuthReply, Code: reply.Code, Reason: reply.Reason, Home: reply.Home}
}

// readError reads a GENERAL_ERROR, an INVALID_MESSAGE or a DELIVER_FAILED.
// What of it cannot be read stays empty.
func readError(f wire.ServerFrame) (e *wire.Error, reference string) {
	var data struct {
		Code, Reason string
		To           json.RawMessage
		MayYetArrive bool
	}
	_ = json.Unmarshal(f.Data, &data)
	e = &wire.Error{Kind: f.Type.String(), Code: data.Code, Reason: data.Reason, MayYetArrive: data.MayYetArrive}
	var one wire.UserID
	switch {
	case len(data.To) == 0:
	case data.To[0] == '[':
		e.Group = json.Unmarshal(data.To, &e.To) == nil
	case json.Unmarshal(data.To, &one) == nil && one != "":
		e.To = []wire.UserID{one}
	}
	return e, readString(f.Reference)
}

// readReconnect returns how long to wait before leaving.
func readReconnect(data []byte) time.Duration {
	var reconnect struct{ AfterMs int64 }
	_ = json.Unmarshal(data, &reconnect)
	return time.Duration(min(max(reconnect.AfterMs, 0), maxLeave.Milliseconds())) * time.Millisecond
}

// readReceipt returns the reference of a confirmation or a stored receipt.
func readReceipt(data []byte) string {
	var receipt struct{ Reference string }
	_ = json.Unmarshal(data, &receipt)
	return receipt.Reference
}

func readUser(data []byte) wire.UserID {
	var presence struct{ UserID wire.UserID }
	_ = json.Unmarshal(data, &presence)
	return presence.UserID
}

func readLeft(data []byte) int {
	var complete struct{ LeftMissingCount int }
	_ = json.Unmarshal(data, &complete)
	return complete.LeftMissingCount
}

// readString returns the text of a raw JSON string, "" for none.
func readString(raw []byte) (s string) {
	if raw != nil {
		_ = json.Unmarshal(raw, &s)
	}
	return s
}
