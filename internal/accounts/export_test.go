package accounts

import "context"

// FinishAll does at once what is done every now and then.
func (r *Room) FinishAll(ctx context.Context) error { return r.finishAll(ctx) }
