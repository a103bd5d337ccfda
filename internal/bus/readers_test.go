package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const readersPassword = "a password of readers"

// withReaders opens a bus that lets readers in, with a journal of three batches and a
// log of one.
func withReaders(t *testing.T) (*Bus, *Events) {
	t.Helper()
	b := open(t, t.TempDir(), func(o *Options) {
		o.Readers = &Readers{Listen: "127.0.0.1:0", User: "reader", Password: readersPassword}
	})
	v, err := b.Events(t.Context(), EventLimits{Age: time.Hour, Bytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for i := range 3 {
		if last, err = v.Append(t.Context(), 0, last, "", fmt.Appendf(nil, "batch %d\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	log, err := b.Log(t.Context(), 0)
	if err == nil {
		_, err = log.Append(t.Context(), 0, []byte("secret"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, v
}

// asReader connects as a reader.
func asReader(t *testing.T, b *Bus) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	c, err := nats.Connect("nats://"+b.ReadersAt(), nats.UserInfo("reader", readersPassword), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	js, err := jetstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, js
}

func TestReadersFetchTheJournalWithConsumersOfTheirOwn(t *testing.T) {
	t.Parallel()
	b, v := withReaders(t)
	_, js := asReader(t, b)
	// Some clients look first whether there are streams at all.
	if info, err := js.AccountInfo(t.Context()); err != nil || info.Streams < 2 {
		t.Fatalf("%+v, %v", info, err)
	}
	ordered, err := js.OrderedConsumer(t.Context(), "SB_JOURNAL", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := ordered.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for i := range 3 {
		m, err := messages.Next()
		if err != nil || string(m.Data()) != fmt.Sprintf("batch %d\n", i) || m.Subject() != "sb.journal.0" {
			t.Fatalf("%v, %v", m, err)
		}
	}
	if _, err := v.Append(t.Context(), 0, 3, "", []byte("live\n")); err != nil {
		t.Fatal(err)
	}
	if m, err := messages.Next(); err != nil || string(m.Data()) != "live\n" {
		t.Fatal(m, err)
	}

	durable, err := js.CreateOrUpdateConsumer(t.Context(), "SB_JOURNAL", jetstream.ConsumerConfig{Durable: "counter", FilterSubject: "sb.journal.0", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		m, err := durable.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err == nil {
			err = m.DoubleAck(t.Context())
		}
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	_, again := asReader(t, b)
	c, err := again.Consumer(t.Context(), "SB_JOURNAL", "counter")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second)); err != nil || string(m.Data()) != "batch 2\n" {
		t.Fatalf("after it came back it gets %v, %v", m, err)
	}
	if err := again.DeleteConsumer(t.Context(), "SB_JOURNAL", "counter"); err != nil {
		t.Error(err)
	}
}

func TestReadersDoNothingButReadTheJournal(t *testing.T) {
	t.Parallel()
	b, v := withReaders(t)
	c, js := asReader(t, b)
	e, err := b.engine()
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]func(context.Context) error{
		"purge the journal": func(ctx context.Context) error {
			_, err := c.RequestWithContext(ctx, "$JS.API.STREAM.PURGE.SB_JOURNAL", nil)
			return err
		},
		"delete the journal": func(ctx context.Context) error { return js.DeleteStream(ctx, "SB_JOURNAL") },
		"see another stream": func(ctx context.Context) error { _, err := js.Stream(ctx, "SB_LOG_0"); return err },
		"read another stream": func(ctx context.Context) error {
			_, err := c.RequestWithContext(ctx, "$JS.API.DIRECT.GET.SB_LOG_0", []byte(`{"seq":1}`))
			return err
		},
		"make a consumer of another stream": func(ctx context.Context) error {
			_, err := js.CreateConsumer(ctx, "SB_LOG_0", jetstream.ConsumerConfig{})
			return err
		},
		"have another stream named in the request": func(ctx context.Context) error {
			m, err := c.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE.SB_JOURNAL.x", []byte(`{"stream_name":"SB_LOG_0","config":{"name":"x","deliver_subject":"sb.log.0"}}`))
			return answered(m, err)
		},
		"have events delivered": func(ctx context.Context) error {
			m, err := c.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE.SB_JOURNAL", []byte(`{"stream_name":"SB_JOURNAL","config":{"deliver_subject":"sb.log.0","deliver_policy":"all","ack_policy":"none"}}`))
			return answered(m, err)
		},
		"the same in other letters": func(ctx context.Context) error {
			m, err := c.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE.SB_JOURNAL", []byte(`{"stream_name":"SB_JOURNAL","config":{"Deliver_Subject":"sb.log.0","deliver_policy":"all","ack_policy":"none"}}`))
			return answered(m, err)
		},
		"the same, with the configuration twice": func(ctx context.Context) error {
			m, err := c.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE.SB_JOURNAL", []byte(`{"stream_name":"SB_JOURNAL","Config":{"deliver_subject":"sb.log.0","deliver_policy":"all"},"config":{"deliver_subject":"sb.log.0"}}`))
			return answered(m, err)
		},
		"the same of a durable one": func(ctx context.Context) error {
			m, err := c.RequestWithContext(ctx, "$JS.API.CONSUMER.DURABLE.CREATE.SB_JOURNAL.x", []byte(`{"stream_name":"SB_JOURNAL","config":{"durable_name":"x","deliver_subject":"sb.log.0"}}`))
			return answered(m, err)
		},
		"have as many wait as he likes": func(ctx context.Context) error {
			_, err := js.CreateConsumer(ctx, "SB_JOURNAL", jetstream.ConsumerConfig{MaxWaiting: 100_000_000})
			return err
		},
		"have as many under way as he likes": func(ctx context.Context) error {
			_, err := js.CreateConsumer(ctx, "SB_JOURNAL", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1})
			return err
		},
		"have everything again at once": func(ctx context.Context) error {
			_, err := js.CreateConsumer(ctx, "SB_JOURNAL", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: 1})
			return err
		},
		"have it again at once, a little later": func(ctx context.Context) error {
			_, err := js.CreateConsumer(ctx, "SB_JOURNAL", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 9, BackOff: []time.Duration{1, 2}})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err := try(ctx); err == nil {
			t.Errorf("a reader can %s", what)
		}
		cancel()
	}
	// Neither what he publishes nor answers that he has sent there get into other streams.
	for _, subject := range []string{"sb.log.0", "sb.journal.0", "sb.table.keys.x", "sb.node.x"} {
		if err := c.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		if err := c.PublishRequest("$JS.API.STREAM.INFO.SB_JOURNAL", subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.PublishRequest("$JS.API.DIRECT.GET.SB_JOURNAL", subject, []byte(`{"seq":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Stream(t.Context(), "SB_JOURNAL"); err != nil { // all before is done
		t.Fatal(err)
	}
	for stream, last := range map[string]uint64{"SB_LOG_0": 1, v.name: 3} {
		info, err := e.info(t.Context(), stream)
		if err != nil || info.State.LastSeq != last {
			t.Errorf("%s ends at %d, not %d: %v", stream, info.State.LastSeq, last, err)
		}
	}
}

// answered returns the error that an answer of the engine holds.
func answered(m *nats.Msg, err error) error {
	if err != nil {
		return err
	}
	if strings.Contains(string(m.Data), `"error"`) {
		return errors.New(string(m.Data))
	}
	return nil
}

func TestOnlyWhoKnowsThePasswordReads(t *testing.T) {
	t.Parallel()
	b, _ := withReaders(t)
	e, err := b.engine()
	if err != nil {
		t.Fatal(err)
	}
	for what, opts := range map[string][]nats.Option{
		"nobody":                  nil,
		"another password":        {nats.UserInfo("reader", "another password")},
		"another name":            {nats.UserInfo("other", readersPassword)},
		"no password":             {nats.UserInfo("reader", "")},
		"the system's user":       {nats.UserInfo(systemUser, readersPassword)},
		"the streams' user":       {nats.UserInfo(streamsUser, "")},
		"a token":                 {nats.Token(readersPassword)},
		"nobody, in this process": {nats.InProcessServer(e.srv)},
	} {
		c, err := nats.Connect("nats://"+b.ReadersAt(), opts...)
		if err == nil {
			c.Close()
			t.Errorf("%s gets in", what)
		}
	}
}

// Where readers have to show a certificate, none and a wrong one are refused, and so is who
// talks in clear.
func TestReadersTalkByTLS(t *testing.T) {
	t.Parallel()
	ca, cert := authority(t)
	_, foreign := authority(t)
	for _, mutual := range []bool{false, true} {
		shown := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		if mutual {
			shown.ClientCAs, shown.ClientAuth = ca, tls.RequireAndVerifyClientCert
		}
		b := open(t, t.TempDir(), func(o *Options) {
			o.Readers = &Readers{Listen: "127.0.0.1:0", User: "reader", Password: readersPassword, TLS: shown}
			o.Logger = slog.New(slog.DiscardHandler)
		})
		for _, c := range []struct {
			what string
			opts []nats.Option
			good bool
		}{
			{"without a certificate", []nats.Option{nats.Secure(&tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12})}, !mutual},
			{"with one", []nats.Option{nats.Secure(&tls.Config{RootCAs: ca, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})}, true},
			{"with one of another CA", []nats.Option{nats.Secure(&tls.Config{RootCAs: ca, Certificates: []tls.Certificate{foreign}, MinVersion: tls.VersionTLS12})}, !mutual},
			{"without knowing whose the server's is", []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12})}, false},
		} {
			conn, err := nats.Connect("nats://"+b.ReadersAt(), append(c.opts, nats.UserInfo("reader", readersPassword))...)
			if err == nil {
				_, err = conn.RequestWithContext(t.Context(), "$JS.API.INFO", nil)
				conn.Close()
			}
			if (err == nil) != c.good {
				t.Errorf("%s, certificates of clients looked at %v: %v", c.what, mutual, err)
			}
		}
		clear, err := net.Dial("tcp", b.ReadersAt())
		if err != nil {
			t.Fatal(err)
		}
		defer clear.Close()
		_, err = fmt.Fprintf(clear, "CONNECT {\"user\":\"reader\",\"pass\":%q}\r\nPING\r\n", readersPassword)
		if err == nil {
			err = clear.SetReadDeadline(time.Now().Add(20 * time.Second))
		}
		if said, _ := io.ReadAll(clear); err != nil || strings.Contains(string(said), "PONG") { // it may break off
			t.Errorf("who talks in clear is answered %q, %v", said, err)
		}
	}
}

// What a reader tries is not the engine's trouble, and does not fill the log.
func TestWhatAReaderMustNotDoIsAWarningNowAndThen(t *testing.T) {
	t.Parallel()
	var said lines
	b := open(t, t.TempDir(), func(o *Options) {
		o.Readers = &Readers{Listen: "127.0.0.1:0", User: "reader", Password: readersPassword}
		o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	})
	for range 3 {
		c, err := nats.Connect("nats://"+b.ReadersAt(), nats.UserInfo("reader", readersPassword))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		refused := make(chan error, 100)
		c.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
		for i := range 5 {
			_, err := c.SubscribeSync(fmt.Sprint("sb.secret.", i))
			if err == nil {
				err = c.Publish("$JS.API.STREAM.DELETE.SB_JOURNAL", nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
					t.Fatal(err)
				}
			}
		}
		if _, err := nats.Connect("nats://"+b.ReadersAt(), nats.UserInfo("reader", "another password")); err == nil {
			t.Fatal("a wrong password is good")
		}
	}
	said.comes(t, "Violation")
	said.mu.Lock()
	defer said.mu.Unlock()
	text := said.buf.String()
	if strings.Contains(text, "level=ERROR") || strings.Count(text, "level=WARN") != 1 {
		t.Errorf("the log has\n%s", text)
	}
}

func TestReadersComeBackWhenTheEngineDoes(t *testing.T) {
	t.Parallel()
	b, v := withReaders(t)
	e, err := b.engine()
	if err != nil {
		t.Fatal(err)
	}
	e.fail(errors.New("a test says so"))
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, js := asReader(t, b)
	c, err := js.OrderedConsumer(t.Context(), v.name, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second)); err != nil || string(m.Data()) != "batch 0\n" {
		t.Fatal(m, err)
	}
}
