// Package load measures a server from outside, over WebSockets, as its clients
// would load it.
//
// Measure makes one measurement and returns a Run; Suite makes those that we
// hold ourselves to, against servers that it starts; ServeEcho is the bare echo
// server that is the yardstick; Report prints runs and rows, Compare two
// reports.
//
// It promises:
//   - every message carries its sender, its number and the time at which it was
//     to be sent, and the receiver's side checks them: what is lost, repeated or
//     out of order is counted, in every run;
//   - in paced mode latency counts from the time at which a message was to be
//     sent, not from when there was room for it: a server that stalls cannot
//     hide it (no coordinated omission);
//   - a connection behaves as a plain client: it answers pings at once, which
//     is what proves RELIABLE messages;
//   - a run is bounded: in time, in connections, in what it holds in memory.
//
// Its limits: one run is one goroutine and so one processor, some 3 µs for a
// message of 1 000 characters on Linux (epoll; elsewhere, and for wss://, a
// goroutine a connection, which costs several times that). To load more, start
// several with different --first-user. Nothing is compressed.
//
// A Run's Options are checked by Check, whose errors are matters of usage; all
// other errors say what failed in a sentence for people.
package load

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Who sends to whom.
const (
	PatternSelf   = "self"   // each to itself
	PatternPairs  = "pairs"  // each to its neighbour, and back
	PatternGroup  = "group"  // the first of each group to all of the group
	PatternFanin  = "fanin"  // all to the first
	PatternAbsent = "absent" // all to users who come later and fetch
)

// When messages are sent.
const (
	ModeClosed = "closed" // the next when the former has arrived
	ModePaced  = "paced"  // at a fixed rate, whatever the server does
	ModeSingle = "single" // one alone, then a pause
	ModeIdle   = "idle"   // silence, some traffic, silence
)

// What a message is promised.
const (
	FeatureReliable = "RELIABLE"
	FeatureFast     = "FAST"
)

// How messages are sent. They are received over sockets either way.
const (
	ViaSocket = "socket" // each by the connection of its sender
	ViaHTTP   = "http"   // by a backend, in batches, one request after the other
)

// Vias returns the values of Options.Via.
func Vias() []string { return []string{ViaSocket, ViaHTTP} }

// Patterns returns the values of Options.Pattern.
func Patterns() []string {
	return []string{PatternSelf, PatternPairs, PatternGroup, PatternFanin, PatternAbsent}
}

// Modes returns the values of Options.Mode.
func Modes() []string { return []string{ModeClosed, ModePaced, ModeSingle, ModeIdle} }

// Features returns the values of Options.Feature.
func Features() []string { return []string{FeatureReliable, FeatureFast} }

// maxConnections is more than one process can have descriptors for.
const maxConnections = 1_000_000

// Options says what to measure.
type Options struct {
	Name        string   // of the run in reports; empty: made of the rest
	URLs        []string // ws:// or wss://; http://…/v1/events for streams of events. Connection i goes to number i mod their count
	AppID       string
	UserPrefix  string // the app's name
	FirstUser   int64  // users are numbered from here
	Token       string
	Connections int
	Payload     int    // characters of content in a message
	Feature     string // FeatureReliable or FeatureFast
	Pattern     string
	Mode        string
	Rate        float64 // messages a second in paced mode, all connections together
	Outstanding int     // messages of one sender on the way at once, in closed mode
	Group       int     // receivers of one group message; 0: all
	Absent      int     // users that the pattern absent sends to
	Messages    int     // messages of the pattern absent in all; in mode idle each connection's between the silences
	KeepMail    bool    // pattern absent: store only, do not fetch
	Reference   bool    // with a reference: a message is done when it is confirmed
	Ack         bool    // sign in with ack, and acknowledge

	Via   string // ViaSocket or ViaHTTP: how messages are sent; empty: ViaSocket
	Batch int    // messages of one request, with ViaHTTP
	Key   string // API key, with ViaHTTP

	Warmup   time.Duration // sent before the measurement
	Duration time.Duration // of the measurement
	Ramp     time.Duration // over which connections are opened; 0: as fast as they are taken
	Drain    time.Duration // how long nothing may arrive, afterwards, before what is missing is lost
	Pause    time.Duration // after each message in mode single

	PIDs       []int     // the servers' processes, to count their CPU and memory, added up; empty: unknown
	SyncFolder string    // mode single: measure there what a sync of the disk takes
	Progress   io.Writer // a line that is written over and over; nil: none

	echo     bool              // the server echoes what it gets and knows no users
	portable bool              // use streams also where there is something cheaper
	atOnce   bool              // connections are opened without waiting for those before
	streams  bool              // a row of the suite that is about streams of events
	guests   *guests           // users of the server's own chat app
	home     func(i int) int64 // added to the number of user i, who lives elsewhere; nil: all live here
}

// Check says what is wrong with the options as somebody may give them.
func (o *Options) Check() error {
	for _, choice := range []struct {
		flag, value string
		of          []string
	}{{"--pattern", o.Pattern, Patterns()}, {"--mode", o.Mode, Modes()}, {"--feature", o.Feature, Features()}, {"--via", o.via(), Vias()}} {
		if !slices.Contains(choice.of, choice.value) {
			return fmt.Errorf("%s %s: choose one of %s", choice.flag, choice.value, strings.Join(choice.of, ", "))
		}
	}
	return firstOf(checkURLs(o.URLs), o.checkNumbers(), checkPIDs(o.PIDs), o.checkUsers(), o.checkTogether())
}

// firstOf returns the first error: one sentence at a time.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// maxEndpoints is more nodes than a cluster shows.
const maxEndpoints = 1000

func checkURLs(urls []string) error {
	if len(urls) == 0 || len(urls) > maxEndpoints {
		return fmt.Errorf("--url: give from 1 to %d addresses such as ws://127.0.0.1:8088/ws", maxEndpoints)
	}
	for i, text := range urls {
		if err := checkURL(text); err != nil {
			return err
		}
		if scheme, _, _ := strings.Cut(text, ":"); !strings.HasPrefix(urls[0], scheme+":") {
			return fmt.Errorf("--url %s: give addresses of one kind; the first is %s", urls[i], urls[0])
		}
	}
	return nil
}

func checkPIDs(pids []int) error {
	for i, pid := range pids {
		if pid < 1 || pid > 1<<30 {
			return fmt.Errorf("--pid %d: give a number from 1 to %d", pid, 1<<30)
		}
		if slices.Contains(pids[:i], pid) {
			return fmt.Errorf("--pid %d stands there twice", pid)
		}
	}
	return nil
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("--url %s: give an address such as ws://127.0.0.1:8088/ws", text)
	case u.Scheme != "ws" && u.Scheme != "wss" && (u.Scheme != "http" || u.Path != "/v1/events"):
		return fmt.Errorf("--url %s: write ws:// or wss:// instead of %s://", text, u.Scheme)
	}
	return nil
}

func (o *Options) checkNumbers() error {
	for _, number := range []struct {
		flag            string
		value, min, max int
	}{
		{"--connections", o.Connections, 1, maxConnections},
		{"--payload", o.Payload, markSize, 1 << 20},
		{"--outstanding", o.Outstanding, 1, 10_000},
		{"--group", o.Group, 0, maxConnections},
		{"--absent", o.Absent, 1, maxConnections},
		{"--messages", o.Messages, 1, 100_000_000},
	} {
		if number.value < number.min || number.value > number.max {
			return fmt.Errorf("%s %d: give a number from %d to %d", number.flag, number.value, number.min, number.max)
		}
	}
	for _, span := range []struct {
		flag string
		time time.Duration
	}{{"--warmup", o.Warmup}, {"--ramp", o.Ramp}, {"--pause", o.Pause}, {"--drain", o.Drain}} {
		if span.time < 0 || span.time > time.Hour {
			return fmt.Errorf("%s %s: give a time from 0s to 1h", span.flag, span.time)
		}
	}
	return checkDuration(o.Duration, 1, 24*time.Hour)
}

// checkDuration checks --duration, which is positive for everybody and has
// bounds that differ.
func checkDuration(d, least, most time.Duration) error {
	switch {
	case d <= 0:
		return fmt.Errorf("--duration must be positive: %s is not", d)
	case d < least || d > most:
		return fmt.Errorf("--duration %s: give a time from %s to %s", d, least, most)
	}
	return nil
}

func (o *Options) checkUsers() error {
	if o.FirstUser < 0 || o.FirstUser > 1<<62 {
		return fmt.Errorf("--first-user %d: give a number from 0 to %d", o.FirstUser, int64(1)<<62)
	}
	if _, err := wire.ParseUserID(o.user(0)); err != nil {
		return fmt.Errorf("--user-prefix %s: %w", o.UserPrefix, err)
	}
	return nil
}

// checkTogether finds what does not go together.
func (o *Options) checkTogether() error {
	fast, posted := o.Feature == FeatureFast, o.via() == ViaHTTP
	rules := []struct {
		wrong bool
		say   string
	}{
		{o.Mode == ModePaced && !(o.Rate > 0 && o.Rate <= 1e8), "--mode paced needs --rate: messages a second, all connections together"},
		{o.Mode != ModePaced && o.Rate != 0, "--rate goes with --mode paced only: in the others the server sets the pace"},
		{o.Mode == ModeSingle && (o.Connections != 1 || o.Pattern != PatternSelf), "--mode single is one connection to itself: give --connections 1 and --pattern self"},
		{o.Mode == ModeIdle && o.Pattern != PatternSelf, "--mode idle goes with --pattern self only"},
		{o.events() && o.Mode != ModeIdle, "streams of events only listen: give --mode idle, or a ws:// URL"},
		{o.Mode == ModeIdle && len(o.PIDs) == 0 && !o.echo, "--mode idle measures the server's process: give --pid"},
		{o.Pattern == PatternAbsent && o.Mode != ModeClosed, "--pattern absent goes with --mode closed only"},
		{o.Pattern == PatternAbsent && fast, "--pattern absent needs --feature RELIABLE: nobody keeps a FAST message"},
		{o.Pattern == PatternAbsent && o.Absent < o.Connections, fmt.Sprintf("--absent %d is less than --connections %d: each connection sends to absent users of its own; give fewer --connections", o.Absent, o.Connections)},
		{o.Pattern == PatternAbsent && (o.Reference || o.Ack), "--pattern absent goes without --reference and --ack: nothing is delivered while it sends"},
		{o.Pattern == PatternPairs && o.Connections%2 != 0, "--pattern pairs needs an even number of --connections"},
		{o.Pattern == PatternFanin && o.Connections < 2, "--pattern fanin needs at least 2 --connections"},
		{o.Pattern == PatternGroup && o.Group > o.Connections, "--group is larger than --connections: a group is made of connections"},
		{o.Pattern == PatternGroup && o.Group > 0 && o.Connections%o.Group != 0, "--connections must be a multiple of --group: all groups are of one size"},
		{o.Pattern != PatternGroup && o.Group != 0, "--group goes with --pattern group only"},
		{o.Pattern == PatternGroup && o.Reference, "--pattern group goes without --reference: group messages are not confirmed"},
		{o.KeepMail && o.Pattern != PatternAbsent, "--keep-mail goes with --pattern absent only"},
		{posted && o.Mode != ModeClosed && o.Mode != ModePaced, "--via http goes with --mode closed and --mode paced only"},
		{posted && o.Pattern == PatternAbsent, "--via http goes without --pattern absent"},
		{posted && o.Key == "", "--via http needs an API key with messages:send: put it into the variable SWITCHBOARD_KEY, or give --key; the demo prints one when it starts"},
		{posted && (o.Batch < 1 || o.Batch > 10_000), fmt.Sprintf("--batch %d: give a number from 1 to 10000", o.Batch)},
		{o.SyncFolder != "" && o.Mode != ModeSingle, "--sync-folder goes with --mode single only"},
	}
	for _, r := range rules {
		if r.wrong {
			return errors.New(r.say)
		}
	}
	return nil
}

func (o *Options) via() string {
	if o.Via == "" {
		return ViaSocket
	}
	return o.Via
}

// user returns the i-th user.
func (o *Options) user(i int) string {
	number := o.FirstUser + int64(i)
	if o.home != nil {
		number += o.home(i)
	}
	return fmt.Sprintf("%s-%d", o.UserPrefix, number)
}

// plural writes a number of things.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// across tells of several endpoints in a run's name.
func (o *Options) across() string {
	if len(o.URLs) < 2 {
		return ""
	}
	return ", " + plural(len(o.URLs), "node")
}

// url returns where a connection goes.
func (o *Options) url(connection int) string { return o.URLs[connection%len(o.URLs)] }

// name returns what a run is called in reports.
func (o *Options) name() string {
	if o.Name != "" {
		return o.Name
	}
	feature := o.Feature
	if o.echo {
		feature = "echo"
	}
	if o.events() {
		return "streams of events, idle, " + plural(o.Connections, "connection") + o.across()
	}
	name := fmt.Sprintf("%s %s %s, %s, %s", feature, o.Pattern, o.Mode, plural(o.Connections, "connection"), plural(o.Payload, "character")) + o.across()
	if o.Mode == ModePaced {
		name += fmt.Sprintf(", %.0f/s", o.Rate)
	}
	if o.Reference {
		name += ", with reference"
	}
	if o.Ack {
		name += ", ack"
	}
	if o.via() == ViaHTTP {
		name += fmt.Sprintf(", over HTTP in batches of %d", o.Batch)
	}
	return name
}
