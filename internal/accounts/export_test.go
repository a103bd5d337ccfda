package accounts

import "context"

// TidyUp does at once what is done every now and then.
func (r *Room) TidyUp(ctx context.Context) error { return r.tidyUp(ctx) }
