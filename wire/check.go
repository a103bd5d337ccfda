package wire

// Check says what is wrong with a frame that ParseFrame took, as far as the frame
// itself shows it: what its type needs, and that user IDs are such. receivers is
// how many a group message may have. For a group message of which only some
// receivers are no user IDs it returns nil: the others get it.
//
// It is for those who can refuse a frame before its session handles it.
func (f *Frame) Check(receivers int) (err *Error) {
	switch f.Type {
	case TypeMessage:
		_, _, err = ParseMessage(f)
	case TypeGroupMessage:
		var to []UserID
		if to, _, _, err = ParseGroup(f.Data, receivers); err == nil && len(to) == 0 {
			err = &Error{Kind: KindDeliverFailed, Code: CodeBadReceiver, Reason: "data.to: none of these receivers is a user ID", Field: "data.to", Group: true}
		}
	case TypeFetch:
		_, err = ParseFetch(f.Data)
	case TypeCloseConnection:
		_, err = ParseClose(f.Data)
	case TypeMessageAck:
		_, err = ParseAck(f.Data)
	case TypeAuthClient:
		// A user ID that is none is a refused sign-in, which is the session's to say.
		if _, err = ParseAuth(f.Data); err != nil && err.Kind == KindAuthReply {
			err = nil
		}
	}
	return err
}
