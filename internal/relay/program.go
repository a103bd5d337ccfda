package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// What the four programs have in common.

func orNowhere(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

func orDiscard(out io.Writer) io.Writer {
	if out == nil {
		return io.Discard
	}
	return out
}

func orClock(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

func orAfter(after func(time.Duration) <-chan time.Time) func(time.Duration) <-chan time.Time {
	if after == nil {
		return time.After
	}
	return after
}

// hostName is the name of the machine, for reports.
func hostName() string {
	name, _ := os.Hostname() // an empty one says as much
	return name
}

// announce writes the lines of a start: keys with their values, of which those are
// left out that are empty.
func announce(to io.Writer, version string, pairs ...string) {
	fmt.Fprintf(to, "Switchboard %s\n", version)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(to, "%-9s %s\n", pairs[i], pairs[i+1])
		}
	}
	fmt.Fprintln(to, "ready")
}

// serves says where a door is, as a URL; empty for one that is nil.
func serves(d *door) string {
	if d == nil {
		return ""
	}
	scheme := "http://"
	if d.secure() {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(d.address().IP.String(), strconv.Itoa(d.address().Port))
}

// servesAt says where doors are, as keys and values of a log line; those that are nil
// are left out.
func servesAt(main, admin *door) (pairs []any) {
	if main != nil {
		pairs = append(pairs, "listen", serves(main))
	}
	if admin != nil {
		pairs = append(pairs, "admin", serves(admin))
	}
	return pairs
}

// serveUntil waits until ctx ends, or done is closed, or a door fails. Meanwhile it has
// new settings taken over, which may change the doors.
func serveUntil(ctx context.Context, done, reload <-chan struct{}, log *slog.Logger, doors func() (main, admin *door), take func() error) error {
	for {
		main, admin := doors()
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case err := <-main.failed():
			return fmt.Errorf("serve %s: %w", main.address(), err)
		case err := <-admin.failed():
			return fmt.Errorf("serve %s: %w", admin.address(), err)
		case <-reload:
			if err := take(); err != nil && ctx.Err() == nil {
				log.Error("settings stay as they are: the new ones are not good", "err", err)
			}
		}
	}
}
