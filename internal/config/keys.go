package config

import (
	"slices"
	"strings"
	"time"
)

// Key describes one setting.
type Key struct {
	// Name is the path in the file, "limits.frame". "apps[].appName" stands
	// for the appName of each app.
	Name string
	// Kind says what a value looks like: address, folder, origins, size,
	// duration, distance, count, number, choice, switch, text, names, user, url, key, secret,
	// secrets, file, peers, roles, servers, meta, network, domain, database, app, path, service, apps,
	// networks, hosts, directory, log file.
	Kind string
	// Default is the value that holds when nothing is set, as it would be
	// written; empty for none.
	Default string
	// Min and Max are the bounds of a size (bytes), duration (nanoseconds), distance
	// (metres) or count; both 0 where there are none.
	Min, Max int64
	// Choices are the values that a choice may have.
	Choices []string
	// Live says that a change takes effect at run time; otherwise it takes a
	// restart.
	Live bool
	// What says in a sentence what the setting does.
	What string

	field    func(*Settings) any // pointer to where it is kept; nil for what stands in an app
	optional bool                // it may be empty
}

// EnvName returns the environment variable that sets the key, or "" when only
// the file can.
func (k Key) EnvName() string {
	if k.field == nil {
		return ""
	}
	return envName(k.Name)
}

// Unit returns what a number of this key counts: "bytes", "time", "metres" or "number";
// empty for what is not a number.
func (k Key) Unit() string {
	return map[string]string{kindSize: "bytes", kindDuration: "time", kindDistance: "metres", kindCount: "number"}[k.Kind]
}

// Kinds of values.
const (
	kindAddress  = "address"
	kindFolder   = "folder"
	kindOrigins  = "origins"
	kindSize     = "size"
	kindDuration = "duration"
	kindDistance = "distance"
	kindCount    = "count"
	kindNumber   = "number" // above 0, maybe with a fraction
	kindChoice   = "choice"
	kindSwitch   = "switch"
	kindText     = "text"
	kindNames    = "names"
	kindUser     = "user"
	kindURL      = "url"
	kindKey      = "key"
	kindSecret   = "secret"
	kindFile     = "file"
	kindPeers    = "peers"    // a list of host:port
	kindRoles    = "roles"    // a list of roles, or all
	kindNATS     = "servers"  // URLs of NATS servers, with commas
	kindMeta     = "meta"     // the URL of a meta server, or a file
	kindSecrets  = "secrets"  // a secret for each of some domains
	kindDomain   = "domain"   // the name of one
	kindDB       = "database" // the URL of a PostgreSQL
	kindApp      = "app"      // the name of one
	kindRelay    = "network"  // of a relay: host:port, or a URL
	kindTiles    = "tiles"    // a URL with {z}, {x} and {y}
	kindLine     = "line"     // for people to read

	kindNetworks  = "networks"  // a list of addresses and networks
	kindHosts     = "hosts"     // a list of names of hosts
	kindDirectory = "directory" // of an ACME server
	kindAudit     = "log file"  // a file that is written, or -
)

// Keys returns the table of all settings, in the order of the file.
func Keys() []Key {
	return slices.Concat(placeKeys(), entranceKeys(), appKeys(), domainKeys(), sourceKeys(), clusterKeys(), natsKeys(), dbKeys(), chatKeys(), matchingKeys(), nearbyKeys(), journalKeys(), trafficKeys(), relayKeys(), registryKeys(), gatewayKeys(), limitKeys(), logKeys())
}

// keyNamed finds a key that is kept directly in Settings.
func keyNamed(name string) (Key, bool) {
	for _, k := range Keys() {
		if k.Name == name && k.field != nil {
			return k, true
		}
	}
	return Key{}, false
}

// childrenOf returns the names of the keys and groups directly below a
// prefix: "" for the top, "limits.", "apps[].", "apps[].jwt.".
func childrenOf(prefix string) []string { return childrenAmong(keyNames(), prefix) }

// keyNames returns the names of all settings.
func keyNames() []string {
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	return names
}

// childrenAmong returns the names directly below a prefix among these keys.
func childrenAmong(keys []string, prefix string) []string {
	var names []string
	for _, k := range keys {
		rest, ok := strings.CutPrefix(k, prefix)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		name = strings.TrimSuffix(name, "[]")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func placeKeys() []Key {
	return []Key{
		{Name: "listen", Kind: kindAddress, Default: "127.0.0.1:8088",
			What:  "Where clients connect: the WebSocket endpoint /ws and the console. Port 0 takes any free port. Anything but loopback needs apps, or chat.",
			field: func(s *Settings) any { return &s.Listen }},
		{Name: "admin", Kind: kindAddress, Default: "127.0.0.1:9088",
			What:  "Where operators connect: health and metrics. Keep it off the public network.",
			field: func(s *Settings) any { return &s.Admin }},
		{Name: "data", Kind: kindFolder, Default: "./data",
			What:  "The folder of everything that is kept. It is made when it is missing; one process at a time uses it.",
			field: func(s *Settings) any { return &s.Data }},
		{Name: "roles", Kind: kindRoles, Default: "all", Choices: append([]string{"all"}, Roles()...),
			What:  "What this node does: connector (sockets and HTTP, for clients), processor (keeps what is stored), or both. One alone takes others, by cluster or nats; a processor alone opens no port for clients.",
			field: func(s *Settings) any { return &s.Roles }},
		{Name: "origins", Kind: kindOrigins, Live: true,
			What:  "Web pages that may connect besides the console's own, as https://host or https://host:port. The demo also admits any loopback origin.",
			field: func(s *Settings) any { return &s.Origins }},
	}
}

func appKeys() []Key {
	key := func(name, kind, what string) Key {
		return Key{Name: "apps[]." + name, Kind: kind, Live: true, What: what}
	}
	return []Key{
		key("appName", kindText, "The name that its user IDs begin with: 1 to 64 letters, digits and _. Required, unique."),
		key("appId", kindText, "What its clients send as appId. Required."),
		key("masterUserId", kindUser, "The app's own user, as appName-number: is told who comes and goes, and may close connections. None if absent."),
		key("authEnabled", kindSwitch, "Whether sign-ins are verified. They are when authUrl or jwt is there; without both it must be written as false, which lets anyone sign in as any of the app's users."),
		key("authUrl", kindURL, "The app's auth hook, which is asked by HTTP POST for every sign-in."),
		key("jwt.secret", kindSecret, "Verify tokens as HS256 with this secret, at least 32 bytes, instead of asking a hook."),
		key("jwt.publicKey", kindKey, "Verify tokens as RS256, ES256 or EdDSA, as the key has it: a public key in PEM."),
		key("jwt.jwksUrl", kindURL, "Verify tokens with the key set at this URL."),
		key("jwt.issuer", kindText, "The issuer (iss) that tokens must name. Any if absent."),
		key("jwt.audience", kindText, "The audience (aud) that tokens must name. Any if absent."),
		key("allowApps", kindNames, "Other apps that this app's users may reach."),
		key("webhooks[].name", kindText, "The name of a webhook: 1 to 64 letters, digits, _ and -. Required, unique in the app. What waits for a webhook belongs to its name."),
		key("webhooks[].url", kindURL, "Where the app's events are posted to. Required."),
		key("webhooks[].secret", kindSecret, "Signs what is posted: whsec_ and 24 to 64 bytes in base64, or at least 32 bytes of text. Required."),
		key("webhooks[].secondSecret", kindSecret, "Signs it too, so that a secret can be changed without a gap. None if absent."),
		key("webhooks[].events", kindNames, "What is posted: "+strings.Join(WebhookEvents(), ", ")+". At least one."),
		key("webhooks[].allowPrivate", kindSwitch, "Whether the webhook may be at a private, loopback or otherwise special address. It may not if absent."),
	}
}

func logKeys() []Key {
	return []Key{
		{Name: "log.level", Kind: kindChoice, Default: "info", Choices: []string{"debug", "info", "warn", "error"}, Live: true,
			What:  "The least that is logged.",
			field: func(s *Settings) any { return &s.Log.Level }},
		{Name: "log.format", Kind: kindChoice, Default: "text", Choices: []string{"text", "json"},
			What:  "How log lines are written.",
			field: func(s *Settings) any { return &s.Log.Format }},
	}
}

func limitKeys() []Key {
	return slices.Concat(sessionLimits(), strangerLimits(), eventLimits(), mailboxLimits(), nodeLimits(), apiLimits(), webhookLimits(), chatLimits())
}

func sessionLimits() []Key {
	const least = 100 * time.Millisecond
	return []Key{
		size("frame", "64KiB", KiB, MiB, "The largest frame that a client may send; a larger one closes its session. A connection keeps the limit that it began with.",
			func(l *Limits) any { return &l.Frame }),
		size("signInFrame", "16KiB", KiB, MiB, "The largest frame of a client that has not signed in, which memory is kept for before anybody knows who it is. At most the frame limit counts. A connection keeps the limit that it began with.",
			func(l *Limits) any { return &l.SignInFrame }),
		duration("signInDeadline", "15s", least, 10*time.Minute, "How long a connection may stay without having signed in.",
			func(l *Limits) any { return &l.SignInDeadline }),
		duration("handshakeTimeout", "5s", least, time.Minute, "How long a connection may take for its HTTP request and WebSocket handshake.",
			func(l *Limits) any { return &l.HandshakeTimeout }),
		duration("pingInterval", "25s", least, 10*time.Minute, "How long a session may be idle before it is pinged.",
			func(l *Limits) any { return &l.PingInterval }),
		duration("proofTimeout", "10s", least, 5*time.Minute, "How long a session may go without a pong that makes progress before it is dead.",
			func(l *Limits) any { return &l.ProofTimeout }),
		duration("ackTimeout", "30s", least, time.Hour, "How long a session with the option ack may go without acknowledging before it is closed.",
			func(l *Limits) any { return &l.AckTimeout }),
		count("sessionsPerUser", "16", 1, 10_000, "Sessions that one user may have at once, on all nodes together. One more ends the stream of events whose client has been away for longest; without one it is refused.",
			func(l *Limits) any { return &l.SessionsPerUser }),
		count("groupReceivers", "10000", 1, 100_000, "Receivers of one group message.",
			func(l *Limits) any { return &l.GroupReceivers }),
		size("queueBytes", "1MiB", 256*KiB, GiB, "Bytes that wait to be written to one session. At least the frame limit and 128KiB.",
			func(l *Limits) any { return &l.QueueBytes }),
		count("queueFrames", "1000", 16, 1_000_000, "Frames that wait to be written to one session.",
			func(l *Limits) any { return &l.QueueFrames }),
		count("presenceWatch", "100", 1, 10_000, "Users that one session may watch come and go.",
			func(l *Limits) any { return &l.PresenceWatch }),
		size("compressAbove", "1KiB", 256, MiB, "Frames above this size are compressed for clients that offer it. As large as the frame limit: never.",
			func(l *Limits) any { return &l.CompressAbove }),
	}
}

func eventLimits() []Key {
	const least = 100 * time.Millisecond
	return []Key{
		duration("eventHeartbeat", "15s", least, 10*time.Minute, "How long a stream of server-sent events may be silent before a comment is written, to see whether its client is there and to show proxies that it lives. The shorter of this and pingInterval counts.",
			func(l *Limits) any { return &l.EventHeartbeat }),
		duration("resumeTimeout", "30s", least, time.Hour, "How long the session of a stream of server-sent events waits for its client to come back. Meanwhile its user is online.",
			func(l *Limits) any { return &l.ResumeTimeout }),
		count("framesWaiting", "16", 1, 10_000, "Frames that the client of such a session has sent and that wait to be taken; one more is refused.",
			func(l *Limits) any { return &l.FramesWaiting }),
		duration("frameTimeout", "10s", least, 5*time.Minute, "How long one of them waits before it is refused.",
			func(l *Limits) any { return &l.FrameTimeout }),
	}
}

func mailboxLimits() []Key {
	return []Key{
		duration("mailboxAge", "720h", time.Second, 10*365*24*time.Hour, "How long a message waits in a mailbox before it expires.",
			func(l *Limits) any { return &l.MailboxAge }),
		count("mailboxMessages", "10000", 1, 10_000_000, "Messages in one mailbox; to a full one they are refused.",
			func(l *Limits) any { return &l.MailboxMessages }),
		size("mailboxBytes", "64MiB", 64*KiB, 64*GiB, "Bytes in one mailbox; to a full one messages are refused. At least the frame limit.",
			func(l *Limits) any { return &l.MailboxBytes }),
		count("waitingMessages", "10000000", 1, 1_000_000_000, "Messages in all mailboxes that this node keeps, together; past it RELIABLE messages of users are refused. What comes over links between domains may go past it by an eighth, at least 64, and then waits. Where it keeps several shards each has an equal part. Each takes some 50 bytes of memory, a mailbox some 300.",
			func(l *Limits) any { return &l.WaitingMessages }),
		size("linkBytes", "8GiB", MiB, 1024*GiB, "Bytes that wait for a linked domain; past it messages for it, or through it, are refused.",
			func(l *Limits) any { return &l.LinkBytes }),
		duration("linkAge", "720h", time.Minute, 10*365*24*time.Hour, "How long a message waits for a linked domain before it expires.",
			func(l *Limits) any { return &l.LinkAge }),
		size("linkWindow", "1MiB", 128*KiB, 64*MiB, "Bytes that are on their way to a linked domain at once: what a link carries in the time that a message takes to it and its acknowledgement back. A link keeps the limit that it began with.",
			func(l *Limits) any { return &l.LinkWindow }),
		duration("idempotencyAge", "24h", time.Minute, 30*24*time.Hour, "For how long it is remembered, on disk, which RELIABLE messages of a request with an Idempotency-Key were accepted.",
			func(l *Limits) any { return &l.IdempotencyAge }),
		count("idempotencyRequests", "1000000", 1, 100_000_000, "Requests of which that is remembered; past it the oldest are forgotten, and counted. Each takes some 200 bytes of memory.",
			func(l *Limits) any { return &l.IdempotencyRequests }),
		count("producers", "1000000", 1, 100_000_000, "Outboxes of clients (option producer) of which it is remembered, on disk and without a time limit, what was accepted; past it those that were used longest ago are forgotten, and counted. In a cluster, for each shard. Each takes some 300 bytes of memory.",
			func(l *Limits) any { return &l.Producers }),
		size("minDiskFree", "512MiB", MiB, 1024*GiB, "With less free disk than this, what would have to be kept is refused.",
			func(l *Limits) any { return &l.MinDiskFree }),
	}
}

func nodeLimits() []Key {
	const least = 100 * time.Millisecond
	return []Key{
		size("httpBody", "1MiB", KiB, 64*MiB, "The largest body of an HTTP request.",
			func(l *Limits) any { return &l.HTTPBody }),
		count("connections", "100000", 1, 10_000_000, "Connections that the node accepts at once.",
			func(l *Limits) any { return &l.Connections }),
		duration("drainTimeout", "15s", least, 10*time.Minute, "How long stopping may take before what is left is cut off.",
			func(l *Limits) any { return &l.DrainTimeout }),
		duration("hookTimeout", "5s", least, time.Minute, "How long an auth hook may take; later is a refusal.",
			func(l *Limits) any { return &l.HookTimeout }),
		count("hookConcurrency", "64", 1, 10_000, "Calls of auth hooks in flight; more sign-ins wait their turn.",
			func(l *Limits) any { return &l.HookConcurrency }),
		count("statsStreams", "16", 1, 1000, "Streams that may be open at once of /v1/stats/stream, one for each console that shows the overview, /v1/traffic/stream, /v1/cluster/stream and /v1/services/stream.",
			func(l *Limits) any { return &l.StatsStreams }),
	}
}

func apiLimits() []Key {
	return []Key{
		count("apiKeys", "10000", 1, 1_000_000, "API keys that there may be, expired ones included; those make room when it is needed.",
			func(l *Limits) any { return &l.APIKeys }),
		count("apiKeysPerApp", "1000", 1, 1_000_000, "API keys that an app may have when one of its own keys makes another. All apps together make at most nine tenths of `limits.apiKeys` so; the operator and admin keys are bound by that alone.",
			func(l *Limits) any { return &l.APIKeysPerApp }),
		count("apiRate", "1000", 1, 1_000_000, "Requests a second with one API key, and as many at once; past it they are refused.",
			func(l *Limits) any { return &l.APIRate }),
		count("apiPage", "1000", 1, 10_000, "Entries that one page of a list may hold. When nothing is asked for it holds 100, or as many as this.",
			func(l *Limits) any { return &l.APIPage }),
		count("apiBatch", "1000", 1, 10_000, "Messages of one batch.",
			func(l *Limits) any { return &l.APIBatch }),
		duration("apiTimeout", "30s", time.Second, 2*time.Minute, "How long a call waits for the message store; then it is answered with TIMEOUT.",
			func(l *Limits) any { return &l.APITimeout }),
		duration("replayTime", "10m", time.Second, 24*time.Hour, "For how long the answer to a request with an Idempotency-Key is kept in memory, to be given again to a repeat.",
			func(l *Limits) any { return &l.ReplayTime }),
		count("replayAnswers", "100000", 1, 10_000_000, "Answers that are kept so, and as many again of users of chat; past it the oldest go, and are counted.",
			func(l *Limits) any { return &l.ReplayAnswers }),
		size("replayBytes", "64MiB", 64*KiB, 64*GiB, "Bytes of those answers, some 400 for each besides its own, and as many again of users of chat; past it the oldest go, and are counted.",
			func(l *Limits) any { return &l.ReplayBytes }),
	}
}

func webhookLimits() []Key {
	const day = 24 * time.Hour
	return []Key{
		duration("undeliveredAfter", "10m", time.Second, 30*day, "How long a message waits for proof before webhooks are told that it is undelivered.",
			func(l *Limits) any { return &l.UndeliveredAfter }),
		duration("webhookTimeout", "10s", 100*time.Millisecond, 5*time.Minute, "How long a webhook may take for one event, from dialling to the end of its answer; longer is a failure.",
			func(l *Limits) any { return &l.WebhookTimeout }),
		duration("webhookRetry", "72h", time.Second, 30*day, "How long after it happened an event is tried again; then it is given up.",
			func(l *Limits) any { return &l.WebhookRetry }),
		count("webhookConcurrency", "32", 1, 1000, "Events that are posted to one webhook at once, each about another user.",
			func(l *Limits) any { return &l.WebhookConcurrency }),
		count("webhookQueue", "1000000", 1, 100_000_000, "Events that wait for one webhook; past it further ones are dropped and counted.",
			func(l *Limits) any { return &l.WebhookQueue }),
		size("webhookQueueBytes", "1GiB", MiB, 64*GiB, "Bytes of the events that wait for one webhook; past it further ones are dropped and counted.",
			func(l *Limits) any { return &l.WebhookQueueBytes }),
		duration("webhookHistory", "72h", time.Minute, 365*day, "How long the history shows what was posted or given up.",
			func(l *Limits) any { return &l.WebhookHistory }),
		size("webhookHistoryBytes", "1GiB", MiB, 1024*GiB, "Bytes of the history of all webhooks together; past it the oldest goes.",
			func(l *Limits) any { return &l.WebhookHistoryBytes }),
	}
}

func size(name, def string, low, high Bytes, what string, field func(*Limits) any) Key {
	return limit(kindSize, name, def, int64(low), int64(high), what, field)
}

func duration(name, def string, low, high time.Duration, what string, field func(*Limits) any) Key {
	return limit(kindDuration, name, def, int64(low), int64(high), what, field)
}

func count(name, def string, low, high int64, what string, field func(*Limits) any) Key {
	return limit(kindCount, name, def, low, high, what, field)
}

func limit(kind, name, def string, low, high int64, what string, field func(*Limits) any) Key {
	return Key{
		Name: "limits." + name, Kind: kind, Default: def, Min: low, Max: high, Live: true, What: what,
		field: func(s *Settings) any { return field(&s.Limits) },
	}
}
