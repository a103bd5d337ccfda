package bus

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer is a NATS that exists: with a user of an account with streams, and one
// of the system account.
func natsServer(t *testing.T, dir string, port int, sync bool) (url, system string, stop func()) {
	t.Helper()
	app, sys := server.NewAccount("APP"), server.NewAccount("SYS")
	o := &server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: sync, MaxPayload: maxPayload,
		Accounts: []*server.Account{app, sys}, SystemAccount: "SYS",
		Users: []*server.User{{Username: "app", Password: "secret", Account: app}, {Username: "sys", Password: "secret", Account: sys}},
	}
	s, err := server.NewServer(o)
	must(t, err)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("it does not start")
	}
	account, err := s.LookupAccount("APP")
	must(t, err)
	must(t, account.EnableJetStream(nil, nil))
	stop = func() {
		s.Shutdown()
		s.WaitForShutdown()
	}
	t.Cleanup(stop)
	address := s.Addr().String()
	return "nats://app:secret@" + address, "nats://sys:secret@" + address, stop
}

func external(t *testing.T, x External) (*Bus, error) {
	t.Helper()
	b, err := Open(t.Context(), Options{External: &x, Logger: testLogger(t), CallTimeout: 20 * time.Second, StartTimeout: 20 * time.Second})
	if err == nil {
		t.Cleanup(func() { shut(t, b) })
	}
	return b, err
}

func TestANATSThatExistsIsUsedUnderItsPrefix(t *testing.T) {
	t.Parallel()
	url, system, _ := natsServer(t, t.TempDir(), -1, true)
	b, err := external(t, External{URL: url, SystemURL: system})
	must(t, err)
	other, err := external(t, External{URL: url, SystemURL: system, Prefix: "acme-1"})
	must(t, err)
	if known, yes := b.Synced(); !known || !yes {
		t.Errorf("known %v, synced %v", known, yes)
	}
	fill(t, shardLog(t, b, 0), 0, 20, 1000)
	fill(t, shardLog(t, other, 0), 0, 3, 500)
	wantLog(t, shardLog(t, b, 0), 1, 20, 1000)
	wantLog(t, shardLog(t, other, 0), 1, 3, 500)
	must(t, openTable(t, b).Put(t.Context(), "a", []byte("b's")))
	must(t, openTable(t, other).Put(t.Context(), "a", []byte("other's")))
	watch(t, openTable(t, b)).comes(t, map[string]string{"a": "b's"})
	must(t, b.Health())

	e, err := other.engine()
	must(t, err)
	var names []string
	for name := range e.js.StreamNames(t.Context()).Name() {
		names = append(names, name)
	}
	all := strings.Join(names, " ")
	for _, want := range []string{"SB_LOG_0", "SB_TABLE_things", "ACME-1_LOG_0", "ACME-1_TABLE_things"} {
		if !strings.Contains(all, want) {
			t.Errorf("there are %s, not %s", all, want)
		}
	}

	// Links keep to the prefix as well.
	one, two := newTalker(t, b, "a"), newTalker(t, other, "a2")
	one.Connect("a2")
	two.Connect("a")
	if one.Send("a2", []byte("x")) {
		t.Error("one prefix hears another")
	}
}

func TestANATSOfWhichNobodyKnowsWhetherItSyncsMustBeAcceptedByName(t *testing.T) {
	t.Parallel()
	url, system, _ := natsServer(t, t.TempDir(), -1, false)
	for _, c := range []struct {
		x    External
		want string
	}{
		{External{URL: url}, "it cannot be found out whether NATS at " + strings.Replace(url, "secret", "xxxxx", 1)},
		{External{URL: url, SystemURL: system}, "does not sync each message"},
		{External{URL: url, SystemURL: strings.Replace(system, "secret", "wrong", 1)}, "it cannot be found out"},
		{External{URL: strings.Replace(url, "secret", "wrong", 1)}, "Authorization Violation"},
	} {
		_, err := external(t, c.x)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	b, err := external(t, External{URL: url, AcceptUnsynced: true})
	must(t, err)
	if known, _ := b.Synced(); known {
		t.Error("it claims to know")
	}
	b, err = external(t, External{URL: url, SystemURL: system, AcceptUnsynced: true})
	must(t, err)
	if known, yes := b.Synced(); !known || yes {
		t.Errorf("known %v, synced %v", known, yes)
	}
	fill(t, shardLog(t, b, 0), 0, 1, 10)
}

func TestANATSThatGoesAndComesBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := freePort(t)
	var number int
	_, err := fmt.Sscanf(port, "127.0.0.1:%d", &number)
	must(t, err)
	url, system, stop := natsServer(t, dir, number, true)
	b, err := external(t, External{URL: url, SystemURL: system})
	must(t, err)
	l := shardLog(t, b, 0)
	fill(t, l, 0, 20, 100)
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	_, err = l.Append(ctx, 20, []byte("lost"))
	cancel()
	if err == nil {
		t.Fatal("stored by nobody")
	}
	t.Log(err)
	natsServer(t, dir, number, true)
	must(t, b.Recover(t.Context()))
	_, last, _, err := l.Bounds(t.Context())
	must(t, err)
	if last != 20 {
		t.Fatalf("it ends at %d", last)
	}
	fill(t, l, 20, 30, 100)
	wantLog(t, l, 1, 30, 100)
}

func TestOpenSaysWhatIsWrongWithANATSThatExists(t *testing.T) {
	t.Parallel()
	for _, x := range []External{{}, {URL: "nats://x", Prefix: "A.b"}, {URL: "nats://x", Replicas: 7}} {
		if _, err := external(t, x); err == nil {
			t.Errorf("%+v was taken", x)
		}
	}
	began, address := time.Now(), freePort(t)
	x := External{URL: "nats://user:secret@" + address + ",nats://secrettoken@" + address}
	_, err := Open(t.Context(), Options{External: &x, Logger: testLogger(t), StartTimeout: time.Second})
	if err == nil || strings.Contains(err.Error(), "secret") || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	t.Log(err)
}
