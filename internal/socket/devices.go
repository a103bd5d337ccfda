package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/match"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// maxDeviceID is how many bytes a device's ID has at most.
	maxDeviceID = match.MaxName
	// maxPlace is how far from 0 a device may be, either way.
	maxPlace = 1e9
	// devicesPool is where they all wait, see poolOf.
	devicesPool = "devices"
	// tendEvery is how often Devices looks for connections that are silent.
	tendEvery = time.Second
)

// DevicesOptions configure Devices. Matches, Name, Limits, Admit and AllowOrigin are
// needed.
type DevicesOptions struct {
	Matches Matches
	Name    string // of this node, as devices see it
	// Limits are asked for each connection, and each frame that waits.
	Limits func() DeviceLimits
	// Admit says whether a device may connect under an ID, as its request asks, and as
	// what. The error is a *DeviceRefusal.
	Admit func(r *http.Request, id string) (DeviceGrant, error)
	// Refuse answers a request that is refused with a code; nil: in plain text.
	Refuse      func(w http.ResponseWriter, r *DeviceRefusal)
	AllowOrigin func(*http.Request) bool
	Exempt      func(address string) bool // says for whom no Rates hold; nil: for everybody
	Away        func() error              // as in Options; nil: never
	Note        func(DeviceEvent)         // likewise; nil: nobody

	Now     func() time.Time                                     // nil: time.Now
	Ticks   func(every time.Duration) (<-chan time.Time, func()) // nil: time.NewTicker; the second result stops it
	Logger  *slog.Logger                                         // nil: nothing is logged
	Metrics prometheus.Registerer                                // nil: nothing is registered
}

// DeviceLimits bound devices. All are above 0.
type DeviceLimits struct {
	Connections      int
	Queue            int // frames that wait to be written to one device; past it messages are dropped
	QueueBytes       int // likewise, in bytes
	Frame            int // bytes of a frame that a device sends
	HandshakeTimeout time.Duration
	PingInterval     time.Duration // of silence, until a device is pinged
	ProofTimeout     time.Duration // of silence after that, until it is dead
	// MaxDistance is below what distance two devices match, as plain numbers.
	MaxDistance float64
	Rates       Rates // of what a device sends; past it lines are dropped
}

// DeviceGrant is as what a device may connect.
type DeviceGrant struct {
	App   string    // whose devices it is among; empty: those of no app
	Until time.Time // zero: for ever
}

// DeviceRefusal is why a device may not connect.
type DeviceRefusal struct {
	Status int    // of HTTP
	Code   string // as that of a call; empty: the status says it all
	Field  string // of the query, that is wrong; empty: none
	Scope  string // that a key lacks; empty: none
	Reason string

	RetryAfter time.Duration // when it may try again; 0: nothing is said of it
}

// Codes of a query that is wrong, and of a page that may not connect; reasonOrigin is what
// both doors say to that.
const (
	codeInvalidRequest = "INVALID_REQUEST"
	codeOrigin         = "ORIGIN_REFUSED"

	reasonOrigin = "pages of this origin may not connect; name it in the setting origins"
)

// Error returns the reason.
func (r *DeviceRefusal) Error() string { return r.Reason }

// Devices is the simple door: connections of plain text frames, each of a device with an
// ID and a place. Two that are near enough are matched, and then each hears what the
// other says. Run must run while it serves.
//
// A device that connects under an ID that is connected takes over, on whatever node the
// older connection is: that is closed with REPLACED. Devices of different apps neither
// match nor take over: an ID is one of its app's.
type Devices struct {
	opts    DevicesOptions
	terms   readTerms
	inflate inflaters
	reads   readBuffers
	number  atomic.Uint64 // of the last connection
	start   time.Time
	work    sync.WaitGroup

	mu       sync.Mutex
	all      map[*device]struct{}
	room     int           // connections, and handshakes under way
	stopping bool          // no new connections
	empty    chan struct{} // closed when stopping and none is left

	refused map[string]prometheus.Counter
	dropped map[string]prometheus.Counter
	in, out prometheus.Counter
}

// Why handshakes are refused, beside what sockets refuse them for, and frames dropped.
const (
	awayRequest = "request"
	awayAccess  = "access"

	dropUnmatched = "unmatched"
	dropFull      = "full"
	dropRate      = "rate"
)

// NewDevices returns the simple door.
func NewDevices(o DevicesOptions) (*Devices, error) {
	if o.Matches == nil || o.Name == "" || o.Limits == nil || o.Admit == nil || o.AllowOrigin == nil {
		return nil, errors.New("socket: DevicesOptions.Matches, Name, Limits, Admit and AllowOrigin are needed")
	}
	d := Options{Now: o.Now, Ticks: o.Ticks, Logger: o.Logger, Note: o.Note}.withDefaults()
	o.Now, o.Ticks, o.Logger, o.Note = d.Now, d.Ticks, d.Logger, d.Note
	x := &Devices{opts: o, start: o.Now(), all: make(map[*device]struct{}), empty: make(chan struct{})}
	err := x.measure(&registry{to: o.Metrics})
	return x, err
}

func (x *Devices) measure(r *registry) error {
	r.prefix = "switchboard_devices_"
	x.in = r.counter("frames_in_total", "Text frames of devices at the simple door.")
	x.out = r.counter("frames_out_total", "Text frames queued for devices at the simple door.")
	bytes := r.counter("bytes_in_total", "Bytes read from devices at the simple door.")
	x.terms = readTerms{lend: &x.reads, inflate: &x.inflate, bytes: bytes}
	refused := r.counters("handshakes_refused_total", "Handshakes of devices refused, by reason.", "reason")
	x.refused = make(map[string]prometheus.Counter)
	for _, reason := range []string{awayMethod, awayProtocol, awayOrigin, awayFull, awayStopping, awayCut, awayFailed, awayRequest, awayAccess} {
		x.refused[reason] = refused.WithLabelValues(reason)
	}
	dropped := r.counters("dropped_total", "Frames of devices dropped, by reason: unmatched, there was nobody to hear it; full, too many waited for the receiver; rate, the device sends more than it may in a second.", "reason")
	x.dropped = make(map[string]prometheus.Counter)
	for _, reason := range []string{dropUnmatched, dropFull, dropRate} {
		x.dropped[reason] = dropped.WithLabelValues(reason)
	}
	r.add(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "switchboard_devices_connections", Help: "Devices at the simple door."}, func() float64 {
		x.mu.Lock()
		defer x.mu.Unlock()
		return float64(len(x.all))
	}))
	return r.err
}

// turnedAway is a handshake that is refused: why, as the metrics have it, and what is
// said.
type turnedAway struct {
	away string
	DeviceRefusal
}

// ServeHTTP answers an opening handshake. It returns when the connection is upgraded or
// refused; the device goes on without it.
func (x *Devices) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, bad := checkHandshake(r, w.Header())
	d := &device{door: x}
	no := x.judge(r, d, bad)
	if no != nil {
		x.turnAway(w, no)
		return
	}
	h.deflate = false
	d.bound = x.opts.Exempt != nil && !x.opts.Exempt(r.RemoteAddr)
	if err := x.accept(w, h, d); err != nil {
		x.refused[awayFailed].Inc()
		x.opts.Logger.Debug("a device's handshake failed", "err", err)
		x.leave(nil)
	}
}

// judge says why there is no connection; nil: there is one, and its place is taken. What
// is no handshake hears first why that would be refused: a browser does not tell its page
// how a handshake was answered, but lets it ask the same once more without one.
func (x *Devices) judge(r *http.Request, d *device, bad *refusal) (no *turnedAway) {
	switch {
	case bad != nil && bad.status != http.StatusUpgradeRequired:
		return &turnedAway{bad.away, DeviceRefusal{Status: bad.status, Reason: bad.text}}
	case !x.opts.AllowOrigin(r):
		return &turnedAway{awayOrigin, DeviceRefusal{Status: http.StatusForbidden, Code: codeOrigin, Reason: reasonOrigin}}
	}
	if d.id, d.at, no = visitorOf(r.URL.RawQuery); no == nil {
		no = x.admit(r, d)
	}
	if no == nil {
		no = x.enter()
	}
	if bad == nil {
		return no
	}
	if no == nil {
		x.leave(nil)
		no = &turnedAway{bad.away, DeviceRefusal{Status: bad.status, Reason: bad.text}}
	}
	no.away = bad.away
	return no
}

func (x *Devices) turnAway(w http.ResponseWriter, no *turnedAway) {
	x.refused[no.away].Inc()
	switch {
	case no.RetryAfter > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(no.RetryAfter.Seconds()))))
	case no.Status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	if no.Code == "" || x.opts.Refuse == nil {
		http.Error(w, no.Reason, no.Status)
		return
	}
	x.opts.Refuse(w, &no.DeviceRefusal)
}

// visitorOf reads who connects, and where that is.
func visitorOf(query string) (id string, at match.Point, no *turnedAway) {
	bad := func(field, text string) (string, match.Point, *turnedAway) {
		return "", match.Point{}, &turnedAway{awayRequest, DeviceRefusal{Status: http.StatusBadRequest, Code: codeInvalidRequest, Field: field, Reason: text}}
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return bad("", "the query of the URL cannot be read: "+err.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case !slices.Contains([]string{"id", "lat", "lon", "auth", "appId"}, name):
			return bad(name, fmt.Sprintf("%q is none of id, lat, lon, auth, appId", name))
		case len(q[name]) > 1:
			return bad(name, name+" is given twice")
		}
	}
	id = q.Get("id")
	switch {
	case id == "":
		return bad("id", fmt.Sprintf("id is needed: the device's name, 1 to %d bytes of UTF-8", maxDeviceID))
	case id == "." || id == "..": // as the journal, where no URL could name it
		return bad("id", "id must not be . or ..")
	case len(id) > maxDeviceID, !utf8.ValidString(id), strings.ContainsFunc(id, unicode.IsControl):
		return bad("id", fmt.Sprintf("id has to be 1 to %d bytes of UTF-8, none of them a control character", maxDeviceID))
	}
	for _, place := range []struct {
		name string
		to   *float64
	}{{"lat", &at.Lat}, {"lon", &at.Lon}} {
		n, ok := decimal(q.Get(place.name))
		switch {
		case q.Get(place.name) == "":
			return bad(place.name, place.name+" is needed: a number from -1e9 to 1e9")
		case !ok || math.Abs(n) > maxPlace:
			return bad(place.name, place.name+" has to be a number from -1e9 to 1e9")
		}
		*place.to = n
	}
	return id, at, nil
}

// decimal reads a number as JSON has them, which may have a plus sign, too.
func decimal(text string) (n float64, ok bool) {
	digits := strings.TrimLeft(text, "+-")
	if len(text)-len(digits) > 1 || digits == "" || digits[0] < '0' || digits[0] > '9' || !json.Valid([]byte(digits)) {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// admit lets the device in, or says why not.
func (x *Devices) admit(r *http.Request, d *device) *turnedAway {
	grant, err := x.opts.Admit(r, d.id)
	var no *DeviceRefusal
	switch {
	case err == nil:
		d.app, d.until = grant.App, grant.Until
		return nil
	case errors.As(err, &no):
		return &turnedAway{awayAccess, *no}
	}
	return &turnedAway{awayAccess, DeviceRefusal{Status: http.StatusServiceUnavailable, Code: wire.CodeBusy, Reason: err.Error()}}
}

// enter takes a place for a connection.
func (x *Devices) enter() *turnedAway {
	busy := func(away, text string) *turnedAway {
		return &turnedAway{away, DeviceRefusal{Status: http.StatusServiceUnavailable, Code: wire.CodeBusy, Reason: text}}
	}
	if x.opts.Away != nil {
		if err := x.opts.Away(); err != nil {
			return busy(awayCut, err.Error())
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.stopping:
		return busy(awayStopping, "the server is stopping")
	case x.room >= x.opts.Limits().Connections:
		return busy(awayFull, "the server has as many connections as it may")
	}
	x.room++
	return nil
}

// leave gives a connection's place back; d is nil when it has not become a device.
func (x *Devices) leave(d *device) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, d)
	x.room--
	x.checkEmpty()
}

func (x *Devices) checkEmpty() {
	if !x.stopping || x.room > 0 {
		return
	}
	select {
	case <-x.empty:
	default:
		close(x.empty)
	}
}

// accept upgrades the connection and starts the device.
func (x *Devices) accept(w http.ResponseWriter, h handshake, d *device) error {
	conn, early, err := takeOver(w)
	if err != nil {
		return err
	}
	l := x.opts.Limits()
	if err := h.answer(conn, l.HandshakeTimeout); err != nil {
		conn.Close()
		return fmt.Errorf("answer the handshake: %w", err)
	}
	d.conn = conn
	terms := x.terms
	terms.limit, terms.first = l.Frame, l.Frame
	r := &d.reader
	r.readTerms, r.conn, r.raw, r.in, r.early = &terms, conn, rawConn(conn), d, early
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stopping {
		conn.Close()
		return errors.New("the server is stopping")
	}
	x.all[d] = struct{}{}
	x.work.Add(1)
	go d.run(fmt.Sprintf("%s_%d", x.opts.Name, x.number.Add(1)))
	return nil
}

// takeOver takes a connection from the HTTP server, with what has been read of it.
func takeOver(w http.ResponseWriter) (conn net.Conn, early []byte, err error) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "this connection cannot be upgraded", http.StatusInternalServerError)
		return nil, nil, errors.New("the HTTP server cannot hand over its connection")
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		if _, err := io.ReadFull(buffered.Reader, early); err != nil {
			conn.Close()
			return nil, nil, fmt.Errorf("read what came with the handshake: %w", err)
		}
	}
	return conn, early, nil
}

// Run looks for devices that are silent, until ctx ends. Then it cuts off those that are
// left, and returns when nothing of them is left behind.
func (x *Devices) Run(ctx context.Context) error {
	ticks, stop := x.opts.Ticks(tendEvery)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			for _, d := range x.stop() {
				d.kill()
			}
			<-x.empty
			x.work.Wait()
			return nil
		case <-ticks:
		}
		now, l := x.opts.Now(), x.opts.Limits()
		for _, d := range x.list() {
			d.tend(now, &l)
		}
	}
}

func (x *Devices) list() []*device {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]*device, 0, len(x.all))
	for d := range x.all {
		list = append(list, d)
	}
	return list
}

// stop refuses connections from now on and returns those that there are.
func (x *Devices) stop() []*device {
	x.mu.Lock()
	x.stopping = true
	x.checkEmpty()
	x.mu.Unlock()
	return x.list()
}

// CloseAll closes all devices with a code and a reason.
func (x *Devices) CloseAll(code uint16, reason string) {
	for _, d := range x.list() {
		d.close(code, reason)
	}
}

// Drain closes all devices, what waits for them written first, and returns when the last
// connection is gone, or ctx ends: then those that are left are cut off. Run must be
// running.
func (x *Devices) Drain(ctx context.Context, reason string) error {
	for _, d := range x.stop() {
		d.close(wire.CloseRestart, reason)
	}
	select {
	case <-x.empty:
		return nil
	case <-ctx.Done():
	}
	list := x.list()
	for _, d := range list {
		d.kill()
	}
	<-x.empty
	return fmt.Errorf("cut off %d devices that did not close: %w", len(list), ctx.Err())
}
