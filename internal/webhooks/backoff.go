package webhooks

import "time"

const (
	// firstDelay and longestDelay bound the pause before an event is tried again:
	// it doubles from one to the other.
	firstDelay   = time.Second
	longestDelay = time.Hour
	// longestProbe is the longest pause between two attempts at a webhook that
	// fails for everybody. An attempt costs it little, and it is known to be back
	// within this time.
	longestProbe = time.Minute
	// longestAsked bounds what a receiver may ask for by Retry-After.
	longestAsked = time.Hour
)

// delay is the pause after so many failures: firstDelay doubled each time up to
// longest, less up to a quarter by chance (0 to 1), so that what failed together
// does not come together again.
func delay(failures int, longest time.Duration, chance float64) time.Duration {
	d := longest
	if shift := failures - 1; shift < 20 {
		d = min(firstDelay<<max(shift, 0), longest)
	}
	return d - time.Duration(chance*float64(d)/4)
}
