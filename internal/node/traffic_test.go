package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/shards"
)

// A question that was lost with the node that was asked is put to the next one; one that
// nobody was there to hear has waited long enough.
func TestAQuestionAboutTrafficIsAskedAgainWhenItsKeeperIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		errs  []error
		after error // of all further ones
		tries int
		want  error
	}{
		"a keeper that was lost, then another":  {errs: []error{shards.ErrUnknown, shards.ErrUnknown}, tries: 3},
		"nobody keeps it":                       {after: shards.ErrNobody, tries: 1, want: shards.ErrNobody},
		"nobody knows as long as it may take":   {after: shards.ErrUnknown, tries: 10, want: shards.ErrUnknown},
		"an answer is an answer":                {tries: 1},
		"what went wrong there is not repeated": {errs: []error{errors.ErrUnsupported}, tries: 1, want: errors.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*trafficAgain-time.Millisecond)
				defer cancel()
				tries := 0
				_, err := askUntilKnown(ctx, func() ([]byte, error) {
					tries++
					if tries <= len(c.errs) {
						return nil, c.errs[tries-1]
					}
					return nil, c.after
				})
				if tries != c.tries || !errors.Is(err, c.want) {
					t.Errorf("%d tries, %v; not %d, %v", tries, err, c.tries, c.want)
				}
			})
		})
	}
}
