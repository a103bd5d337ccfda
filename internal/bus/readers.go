package bus

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Readers lets clients of NATS in at the embedded server, to read the journal and
// nothing else.
type Readers struct {
	Listen   string // host:port; port 0 takes any free one
	User     string
	Password string
	TLS      *tls.Config // nil: they talk in clear
}

func (r *Readers) check() error {
	if r.User == "" || r.Password == "" {
		return errors.New("bus: Readers.User and Readers.Password are needed")
	}
	if _, _, err := splitHostPort(r.Listen); err != nil {
		return fmt.Errorf("bus: Readers.Listen: %w", err)
	}
	return nil
}

// Readers are in an account of their own, which has the few subjects of the engine that
// reading takes, and no other: an answer goes where the reader is, also if he names a
// subject of ours for it. Consumers are the one thing with which he could have the server
// publish in the account of the streams, by a subject of delivery. So what makes them is
// looked at first, and only those pass from which he fetches.
const (
	readersAccount = "SB_READERS"
	gateUser       = "switchboard-gate"
	// mostReaders is how many connections the server takes, its own included.
	mostReaders = 1000
	// mostConsumer is how many bytes of what makes a consumer are looked at.
	mostConsumer = 64 << 10
)

// readable are the subjects that a reader may ask, of the stream named. The first says
// how much is stored in all streams together, and nothing of what: clients that ask
// whether there are streams at all, as that for JavaScript does, fail without an answer.
func readable(stream string) []string {
	return []string{
		"$JS.API.INFO",
		"$JS.API.STREAM.INFO." + stream,
		"$JS.API.STREAM.MSG.GET." + stream,
		"$JS.API.DIRECT.GET." + stream,
		"$JS.API.CONSUMER.INFO." + stream + ".*",
		"$JS.API.CONSUMER.NAMES." + stream,
		"$JS.API.CONSUMER.LIST." + stream,
		"$JS.API.CONSUMER.DELETE." + stream + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + stream + ".*",
		"$JS.ACK." + stream + ".>",
	}
}

// making are the subjects that make consumers, which the gate looks at.
func making(stream string) []string {
	return []string{
		"$JS.API.CONSUMER.CREATE." + stream,
		"$JS.API.CONSUMER.CREATE." + stream + ".>",
		"$JS.API.CONSUMER.DURABLE.CREATE." + stream + ".*",
	}
}

// configure has the server listen.
func (r *Readers) configure(o *server.Options) {
	host, port, _ := splitHostPort(r.Listen) // checked
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o.DontListen, o.Host, o.Port, o.MaxConn = false, host, port, mostReaders
	o.MaxControlLine, o.AuthTimeout = server.MAX_CONTROL_LINE_SIZE, 5
	if r.TLS != nil {
		o.TLSConfig, o.TLS, o.TLSTimeout = r.TLS.Clone(), true, 5
	}
}

// letIn opens the account of readers, once the server has its streams: before that it
// would not make the account of the streams what it is.
func (e *engine) letIn(ctx context.Context) error {
	r := e.opts.Readers
	if r == nil || e.srv == nil {
		return nil
	}
	stream := alone.stream("SB_JOURNAL")
	account, _ := e.srv.LookupOrRegisterAccount(readersAccount)
	streams := e.srv.GlobalAccount()
	for _, subject := range readable(stream) {
		if err := streams.AddServiceExportWithResponse(subject, server.Streamed, []*server.Account{account}); err != nil {
			return fmt.Errorf("let readers ask %s: %w", subject, err)
		}
		if err := account.AddServiceImport(streams, subject, subject); err != nil {
			return fmt.Errorf("let readers ask %s: %w", subject, err)
		}
	}
	e.door.gate.Store(account)
	gate, err := e.dial(ctx, "gate of readers", nats.UserInfo(gateUser, e.door.secret))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", e.place(), err)
	}
	e.gate = gate
	for _, subject := range making(stream) {
		if _, err := gate.QueueSubscribe(subject, "gate", e.makeConsumer); err != nil {
			return fmt.Errorf("look at what readers make: %w", err)
		}
	}
	if err := gate.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("look at what readers make: %w", err)
	}
	e.door.readers.Store(account)
	return nil
}

// makeConsumer passes on what makes a consumer, or refuses it.
func (e *engine) makeConsumer(m *nats.Msg) {
	var asked struct {
		Config map[string]json.RawMessage `json:"config"`
	}
	refuse := func(code int, why string) {
		answer, err := json.Marshal(map[string]any{
			"type":  "io.nats.jetstream.api.v1.consumer_create_response",
			"error": map[string]any{"code": code, "err_code": 10003, "description": why},
		})
		if err == nil {
			_ = m.Respond(answer) // or the reader's own time-out says so
		}
	}
	if len(m.Data) > mostConsumer || json.Unmarshal(m.Data, &asked) != nil {
		refuse(400, "bad request")
		return
	}
	if extra := forbidden(asked.Config); extra != "" {
		refuse(403, "readers of the journal make consumers that they fetch from, without "+extra)
		return
	}
	if bound := excess(asked.Config); bound != "" {
		refuse(400, "of a consumer of the journal "+bound)
		return
	}
	// Passed on as it was understood, so that nothing is read another way.
	ctx, cancel := context.WithTimeout(context.Background(), e.opts.CallTimeout)
	defer cancel()
	body, err := passedOn(m.Data)
	if err != nil {
		refuse(400, "bad request")
		return
	}
	reply, err := e.reads.RequestWithContext(ctx, m.Subject, body)
	if err != nil {
		refuse(503, "the server did not answer in time")
		return
	}
	e.awaitConsumer(ctx, reply.Data)
	_ = m.Respond(reply.Data) // likewise
}

const (
	// consumerWait is how long a consumer that is made may take to be reached, and
	// consumerLook how long one look takes.
	consumerWait = 2 * time.Second
	consumerLook = 50 * time.Millisecond
)

// awaitConsumer waits until a consumer that was made can be asked here. In a cluster it
// is on one of the servers, and that it is there spreads beside the answer that says so:
// whoever fetched at once would hear that there is nobody.
func (e *engine) awaitConsumer(ctx context.Context, answer []byte) {
	var made struct {
		Name string `json:"name"`
	}
	if !e.opts.shared() || json.Unmarshal(answer, &made) != nil || made.Name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, consumerWait)
	defer cancel()
	for ctx.Err() == nil {
		look, done := context.WithTimeout(ctx, consumerLook)
		// What it cannot read it refuses, and nothing is fetched.
		_, err := e.reads.RequestWithContext(look, "$JS.API.CONSUMER.MSG.NEXT."+alone.stream("SB_JOURNAL")+"."+made.Name, []byte("{"))
		if err != nil {
			<-look.Done()
		}
		done()
		if err == nil {
			return
		}
	}
}

// allowed are the settings of a consumer that a reader may give.
func allowed(name string) bool {
	switch name {
	case "name", "durable_name", "description", "deliver_policy", "opt_start_seq", "opt_start_time", "ack_policy", "ack_wait", "max_deliver", "backoff",
		"filter_subject", "filter_subjects", "replay_policy", "max_waiting", "max_ack_pending", "headers_only", "max_batch", "max_expires", "max_bytes",
		"inactive_threshold", "num_replicas", "mem_storage", "metadata":
		return true
	}
	return false
}

// forbidden names a setting that a reader may not give; empty for none.
func forbidden(config map[string]json.RawMessage) string {
	for name, value := range config {
		empty := string(value) == `""` || string(value) == "null" || string(value) == "0" || string(value) == "false"
		if !allowed(name) && !empty {
			return short(name, 60)
		}
	}
	return ""
}

// bounds are those of settings by which a consumer costs memory or work: 0, or none,
// stands for the server's own.
var bounds = []struct {
	name        string
	least, most int64
}{
	{"max_waiting", 0, 512},
	{"max_ack_pending", 0, 10_000},
	{"max_batch", 0, 10_000},
	{"ack_wait", int64(time.Second), math.MaxInt64},
}

// excess says which setting is out of its bounds; empty for none.
func excess(config map[string]json.RawMessage) string {
	for _, b := range bounds {
		value, given := config[b.name]
		var n int64
		if given && (json.Unmarshal(value, &n) != nil || n != 0 && (n < b.least || n < 0 || n > b.most)) {
			return fmt.Sprintf("%s must be from %d to %d, or absent", b.name, max(b.least, 1), b.most)
		}
	}
	var pauses []int64
	if given, ok := config["backoff"]; ok && json.Unmarshal(given, &pauses) != nil || slices.ContainsFunc(pauses, func(n int64) bool { return n < int64(time.Second) }) {
		return "each backoff must be at least a second"
	}
	return ""
}

// passedOn writes what makes a consumer anew, with what is allowed alone.
func passedOn(data []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(all["config"], &config); err != nil {
		return nil, err
	}
	clean := make(map[string]json.RawMessage)
	for name, value := range config {
		if allowed(name) {
			clean[name] = value
		}
	}
	ask := map[string]any{"stream_name": alone.stream("SB_JOURNAL"), "config": clean}
	if action, ok := all["action"]; ok {
		ask["action"] = action
	}
	return json.Marshal(ask)
}

// reader returns whom a connection that signs in as a reader is; nil when it may not
// come in.
func (d *door) reader(user, password string) *server.User {
	r, account := d.given, d.readers.Load()
	if r == nil || account == nil {
		return nil
	}
	name, secret := subtle.ConstantTimeCompare([]byte(user), []byte(r.User)), subtle.ConstantTimeCompare([]byte(password), []byte(r.Password))
	if name&secret != 1 {
		return nil
	}
	stream := alone.stream("SB_JOURNAL")
	return &server.User{Username: r.User, Account: account, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: append(readable(stream), making(stream)...)},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}}
}

// ReadersAt returns where readers connect; empty: nowhere.
func (b *Bus) ReadersAt() string {
	e := b.current.Load()
	if e == nil || e.srv == nil || b.opts.Readers == nil {
		return ""
	}
	at, ok := e.srv.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	host, _, _ := splitHostPort(b.opts.Readers.Listen) // checked
	return net.JoinHostPort(host, strconv.Itoa(at.Port))
}
