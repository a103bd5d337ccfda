package socket

import (
	"bytes"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// feature is a label of frames.
type feature int

const (
	featureNone feature = iota // neither: the server's own frames, requests
	featureReliable
	featureFast
	features
)

func (f feature) String() string { return [...]string{"", "RELIABLE", "FAST"}[f] }

// frameTypes is how many types wire has, TypeUnknown counted.
const frameTypes = wire.LastType + 1

// metrics counts. Every label's values come from our own tables, and every
// counter is looked up once, here.
type metrics struct {
	connections atomic.Int64
	sessions    atomic.Int64 // of users
	links       atomic.Int64 // of other domains
	queued      atomic.Int64 // bytes of frames that wait to be written

	in        [frameTypes][features]prometheus.Counter
	out       [frameTypes][features]prometheus.Counter
	invalidIn prometheus.Counter
	bytesIn   prometheus.Counter
	bytesOut  prometheus.Counter

	pings        prometheus.Counter
	pongsIgnored prometheus.Counter
	pingsIn      prometheus.Counter

	droppedClosed prometheus.Counter
	droppedMatch  prometheus.Counter // messages of matches that the session had no room for
	blocked       prometheus.Counter
	panics        prometheus.Counter

	closes     map[uint16]prometheus.Counter
	closeOther prometheus.Counter
	closeNames map[uint16]string
	refusals   map[[2]string]prometheus.Counter
	refusedAny prometheus.Counter
	turnedAway map[string]prometheus.Counter
}

// Why handshakes are refused.
const (
	awayMethod   = "method"
	awayProtocol = "protocol"
	awayOrigin   = "origin"
	awayFull     = "full"
	awayStopping = "stopping"
	awayCut      = "cut_off"
	awayFailed   = "failed" // the connection was lost meanwhile
)

// registry registers what it makes.
type registry struct {
	prefix string // of names
	to     prometheus.Registerer
	err    error
}

func (r *registry) add(c prometheus.Collector) {
	if r.to != nil && r.err == nil {
		r.err = r.to.Register(c)
	}
}

func (r *registry) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: r.prefix + name, Help: help})
	r.add(c)
	return c
}

func (r *registry) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: r.prefix + name, Help: help}, labels)
	r.add(c)
	return c
}

func (r *registry) gauge(name, help string, value *atomic.Int64) {
	r.add(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: r.prefix + name, Help: help},
		func() float64 { return float64(value.Load()) },
	))
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	m, r := new(metrics), &registry{to: to, prefix: "switchboard_socket_"}
	r.gauge("connections", "Open connections, signed in or not.", &m.connections)
	r.gauge("sessions", "Signed-in sessions.", &m.sessions)
	r.gauge("link_sessions", "Sessions of the links from other domains.", &m.links)
	r.gauge("queued_bytes", "Bytes of frames that wait to be written.", &m.queued)
	m.bytesIn = r.counter("bytes_in_total", "Bytes read from connections.")
	m.bytesOut = r.counter("bytes_out_total", "Bytes written to connections.")
	m.pings = r.counter("pings_total", "Numbered pings queued.")
	m.pongsIgnored = r.counter("pongs_ignored_total", "Pongs that proved nothing: late, unasked or malformed.")
	m.pingsIn = r.counter("pings_in_total", "Pings of clients.")
	m.blocked = r.counter("blocked_total", "Times that a session was not read until earlier messages of it were stored.")
	m.panics = r.counter("panics_total", "Sessions ended by a fault in this server.")
	dropped := r.counters("dropped_total", "FAST frames that were not written, by reason: closed, queued before the end of the session; match, of a match, and the session had no room.", "reason")
	m.droppedClosed, m.droppedMatch = dropped.WithLabelValues("closed"), dropped.WithLabelValues("match")
	m.frames(r)
	m.outcomes(r)
	return m, r.err
}

func (m *metrics) frames(r *registry) {
	in := r.counters("frames_in_total", "Messages of clients, by type and feature.", "type", "feature")
	out := r.counters("frames_out_total", "Messages queued for clients, by type and feature.", "type", "feature")
	m.invalidIn = in.WithLabelValues("invalid", "")
	for t := range frameTypes {
		for f := range features {
			featured := hasFeature(t)
			if t.FromClient() && featured == (f != featureNone) {
				m.in[t][f] = in.WithLabelValues(t.String(), f.String())
			}
			if t.FromServer() || t == wire.TypeUnknown {
				m.out[t][f] = out.WithLabelValues(t.String(), f.String())
			}
		}
	}
}

func (m *metrics) outcomes(r *registry) {
	closes := r.counters("closes_total", "Connections ended, by close code; 1005: the client gave none, 1006: lost without a close frame.", "code")
	m.closes, m.closeNames = make(map[uint16]prometheus.Counter), make(map[uint16]string)
	for _, c := range append(wire.CloseCodes(), wire.CloseCode{Code: closeSilent}, wire.CloseCode{Code: closeLost}) {
		m.closes[c.Code] = closes.WithLabelValues(strconv.Itoa(int(c.Code)))
		m.closeNames[c.Code] = c.Name
	}
	m.closeOther = closes.WithLabelValues("other")

	refusals := r.counters("refused_total", "Errors reported to clients, by kind and code.", "kind", "code")
	m.refusals = make(map[[2]string]prometheus.Counter)
	for _, c := range wire.Codes() {
		m.refusals[[2]string{c.Kind, c.Code}] = refusals.WithLabelValues(c.Kind, c.Code)
	}
	m.refusedAny = refusals.WithLabelValues("other", "other")

	away := r.counters("handshakes_refused_total", "Handshakes refused, by reason.", "reason")
	m.turnedAway = make(map[string]prometheus.Counter)
	for _, reason := range []string{awayMethod, awayProtocol, awayOrigin, awayFull, awayStopping, awayCut, awayFailed} {
		m.turnedAway[reason] = away.WithLabelValues(reason)
	}
}

// hasFeature says whether a client's frames of a type are RELIABLE or FAST.
func hasFeature(t wire.Type) bool {
	return t == wire.TypeMessage || t == wire.TypeGroupMessage || t == wire.TypeMatchMessage
}

func (m *metrics) frameIn(f *wire.Frame) {
	feature := featureNone
	if hasFeature(f.Type) {
		feature = featureReliable
		if f.Fast || f.Type == wire.TypeMatchMessage && !f.Reliable {
			feature = featureFast
		}
	}
	m.in[f.Type][feature].Inc()
}

func (m *metrics) frameOut(frame []byte, f feature) wire.Type {
	t := serverType(frame)
	m.out[t][f].Inc()
	return t
}

// sessionsOf returns where a session is counted.
func (m *metrics) sessionsOf(i *identity) *atomic.Int64 {
	if i.options.Link {
		return &m.links
	}
	return &m.sessions
}

func (m *metrics) closed(code uint16) {
	if c, ok := m.closes[code]; ok {
		c.Inc()
		return
	}
	m.closeOther.Inc()
}

// closeName returns a close code's name; empty if it has none.
func (m *metrics) closeName(code uint16) string { return m.closeNames[code] }

func (m *metrics) refused(e *wire.Error) {
	if c, ok := m.refusals[[2]string{e.Kind, e.Code}]; ok {
		c.Inc()
		return
	}
	m.refusedAny.Inc()
}

// serverType returns the type of a frame that wire has written: its first
// member.
func serverType(frame []byte) wire.Type {
	const before = len(`{"type":"`)
	if len(frame) < before {
		return wire.TypeUnknown
	}
	end := bytes.IndexByte(frame[before:], '"')
	if end < 0 {
		return wire.TypeUnknown
	}
	switch name := frame[before : before+end]; string(name) {
	case wire.NameMessage:
		return wire.TypeMessage
	case wire.NameConfirmation:
		return wire.TypeConfirmation
	case wire.NameStored:
		return wire.TypeStored
	case wire.NameUserConnected:
		return wire.TypeUserConnected
	case wire.NameUserDisconnected:
		return wire.TypeUserDisconnected
	case wire.NameFetchComplete:
		return wire.TypeFetchComplete
	case wire.NameAuthReply:
		return wire.TypeAuthReply
	case wire.NameAuthRequired:
		return wire.TypeAuthRequired
	case wire.NameReconnect:
		return wire.TypeReconnect
	case wire.NameGeneralError:
		return wire.TypeGeneralError
	case wire.NameInvalidMessage:
		return wire.TypeInvalidMessage
	case wire.NameDeliverFailed:
		return wire.TypeDeliverFailed
	case wire.NameForward:
		return wire.TypeForward
	default:
		if t := wire.RoomType(name); t != wire.TypeUnknown {
			return t
		}
		if t := wire.MatchType(name); t != wire.TypeUnknown {
			return t
		}
		return wire.PositionType(name)
	}
}
