package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Delete removes the holder's account.
func (r *Room) Delete(ctx context.Context, address string, h Holder, password string) error {
	if _, err := r.confirm(ctx, address, h, password); err != nil {
		return err
	}
	err := r.remove(ctx, h.User)
	if errors.Is(err, notThere()) { // by another request, at once
		err = refuseEnded()
	}
	return err
}

// DeleteAccount removes somebody's account for the operator.
func (r *Room) DeleteAccount(ctx context.Context, user wire.UserID) error {
	if user.App() != r.opts.App {
		return notThere()
	}
	return r.remove(ctx, user)
}

// finishTime is how long whoever deletes an account waits for what comes after it is gone.
const finishTime = 10 * time.Second

// remove deletes an account. It is gone for everybody with the first step; what may be cut
// off behind that is done later: so others cannot keep anybody from it, and nor can a
// database that goes meanwhile.
func (r *Room) remove(ctx context.Context, user wire.UserID) error {
	err := r.opts.Store.Leave(ctx, user.Number())
	if errors.Is(err, ErrUnknown) {
		return notThere()
	}
	if err != nil {
		return fmt.Errorf("delete an account: %w", err)
	}
	r.metrics.deleted.Inc()
	r.endedAll(user.Number())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	r.signedOut(ctx, user.Number(), true)
	if err := r.finish(ctx, user); err != nil {
		r.opts.Log.Info("what is left of a deleted account is cleared away later", "user", user, "err", err)
	}
	return nil
}

// finish takes an account that is gone out of all rooms, empties its mailbox, and removes
// what is left of it. It may be done again, and on several nodes at once.
func (r *Room) finish(ctx context.Context, user wire.UserID) error {
	if r.opts.Chat != nil {
		if err := r.opts.Chat.Forget(ctx, user); err != nil {
			return fmt.Errorf("leave all rooms: %w", err)
		}
	}
	if r.opts.Empty != nil {
		if err := r.opts.Empty(ctx, user); err != nil {
			return fmt.Errorf("empty the mailbox: %w", err)
		}
	}
	if err := r.opts.Store.Delete(ctx, user.Number()); err != nil {
		return fmt.Errorf("remove what is left: %w", err)
	}
	return nil
}

// leavingAtOnce is of how many accounts at once it is read that they are not cleared away.
const leavingAtOnce = 100

// finishAll does so with all accounts with which it was cut off.
func (r *Room) finishAll(ctx context.Context) error {
	var failed error
	for after := int64(-1); ctx.Err() == nil; {
		list, err := r.opts.Store.Leaving(ctx, after, leavingAtOnce)
		if err != nil || len(list) == 0 {
			return errors.Join(failed, err)
		}
		for _, n := range list {
			after = n
			if err := r.finish(ctx, r.user(n)); err != nil {
				failed = err // of one; the others are not to wait for it
			}
		}
	}
	return failed
}
