package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Gateway says which paths of the public listener lead to which services.
type Gateway struct {
	Routes  []Route        `yaml:"routes"`
	Health  GatewayHealth  `yaml:"health"`
	Breaker GatewayBreaker `yaml:"breaker"`
}

// Route is where requests for some paths go. Zero stands for no limit in Rate, Burst and
// Concurrency.
type Route struct {
	Path        string        `yaml:"path"`    // all below it where it ends in "/", else itself
	Service     string        `yaml:"service"` // as it is registered
	Auth        string        `yaml:"auth"`    // required, optional or none
	Apps        []string      `yaml:"apps"`    // whose users may come; empty: those of any
	StripPrefix bool          `yaml:"stripPrefix"`
	Timeout     time.Duration `yaml:"timeout"`
	Retries     int           `yaml:"retries"`
	Fallback    *Fallback     `yaml:"fallback"` // nil: none
	Rate        float64       `yaml:"rate"`
	Burst       int           `yaml:"burst"`
	Concurrency int           `yaml:"concurrency"`
	MaxBody     Bytes         `yaml:"maxBody"`
}

// Fallback is what is answered where a service gives no answer.
type Fallback struct {
	Status      int    `yaml:"status"`
	Body        string `yaml:"body"`
	ContentType string `yaml:"contentType"`
}

// GatewayHealth says how instances of services are looked at.
type GatewayHealth struct {
	Path           string        `yaml:"path"`
	Interval       time.Duration `yaml:"interval"`
	Timeout        time.Duration `yaml:"timeout"`
	UnhealthyAfter int           `yaml:"unhealthyAfter"`
	HealthyAfter   int           `yaml:"healthyAfter"`
}

// GatewayBreaker says when an instance gets no requests for a while.
type GatewayBreaker struct {
	Failures int           `yaml:"failures"`
	OpenFor  time.Duration `yaml:"openFor"`
}

const (
	gatewayRoutes = "gateway.routes"
	// maxRoutes bounds the routes: each has metrics of its own.
	maxRoutes = 500
	// maxFallback bounds the body of a fallback, in bytes.
	maxFallback = 64 << 10
)

// Kinds of values of routes.
const (
	kindPath    = "path"
	kindService = "service"
	kindApps    = "apps" // a list of names
)

func gatewayKeys() []Key {
	const least = 100 * time.Millisecond
	key := func(name, kind, def, what string) Key {
		return Key{Name: gatewayRoutes + "[]." + name, Kind: kind, Default: def, Live: true, What: what}
	}
	bound := func(k Key, low, high int64) Key { k.Min, k.Max = low, high; return k }
	choice := func(k Key, choices ...string) Key { k.Choices = choices; return k }
	whole := func(k Key, field func(*Settings) any) Key {
		k.Name, k.field, k.Live = "gateway."+k.Name, field, true
		return k
	}
	return []Key{
		key("path", kindPath, "", "The path whose requests go to the service: all that begin with it where it ends in /, the longest first; else itself alone. Required, unique, and none of Switchboard's own."),
		key("service", kindService, "", "The service, as it is registered: 1 to 64 letters, digits, -, _ and . Required."),
		choice(key("auth", kindChoice, "required", "Whether a token is needed, may be there, or is the service's own matter: then it is handed on."), "required", "optional", "none"),
		key("apps", kindApps, "", "The apps whose users may come. Those of any if absent."),
		key("stripPrefix", kindSwitch, "false", "Whether the service sees only what follows the path, behind a /."),
		bound(key("timeout", kindDuration, "30s", "How long the service may take to begin its answer, all tries together, from when it has what the client has sent."), int64(least), int64(time.Hour)),
		bound(key("retries", kindCount, "1", "How often a request is tried at another instance that may be repeated. With 0 what could not be sent is not sent elsewhere either."), 0, 5),
		bound(key("fallback.status", kindCount, "503", "The status that is answered where the service gives no answer."), 200, 599),
		key("fallback.body", kindText, "", "The body of that answer."),
		key("fallback.contentType", kindText, "application/json", "The type of that body."),
		key("rate", kindNumber, "", "Requests a second that this node takes for the route. No limit if absent."),
		bound(key("burst", kindCount, "", "Requests that it takes at once above that. As many as in a second if absent."), 1, 1_000_000),
		bound(key("concurrency", kindCount, "", "Requests of the route that this node has in flight. No limit if absent."), 1, 1_000_000),
		bound(key("maxBody", kindSize, "1GiB", "The largest body of a request. It is handed on as it comes."), int64(KiB), int64(1024*GiB)),

		whole(Key{Name: "health.path", Kind: kindPath, optional: true, What: "What instances are asked for to see whether they are healthy, by GET; one may name its own when it registers (meta.health). Without any it is enough that a connection can be made."},
			func(s *Settings) any { return &s.Gateway.Health.Path }),
		whole(Key{Name: "health.interval", Kind: kindDuration, Default: "5s", Min: int64(least), Max: int64(10 * time.Minute), What: "How often each instance is looked at, by each node."},
			func(s *Settings) any { return &s.Gateway.Health.Interval }),
		whole(Key{Name: "health.timeout", Kind: kindDuration, Default: "2s", Min: int64(10 * time.Millisecond), Max: int64(time.Minute), What: "How long it may take to answer."},
			func(s *Settings) any { return &s.Gateway.Health.Timeout }),
		whole(Key{Name: "health.unhealthyAfter", Kind: kindCount, Default: "2", Min: 1, Max: 100, What: "Bad looks in a row after which it gets no requests."},
			func(s *Settings) any { return &s.Gateway.Health.UnhealthyAfter }),
		whole(Key{Name: "health.healthyAfter", Kind: kindCount, Default: "2", Min: 1, Max: 100, What: "Good looks in a row after which it gets them again."},
			func(s *Settings) any { return &s.Gateway.Health.HealthyAfter }),
		whole(Key{Name: "breaker.failures", Kind: kindCount, Default: "5", Min: 1, Max: 1000, What: "Requests in a row that fail at an instance after which it gets none for a while."},
			func(s *Settings) any { return &s.Gateway.Breaker.Failures }),
		whole(Key{Name: "breaker.openFor", Kind: kindDuration, Default: "10s", Min: int64(least), Max: int64(10 * time.Minute), What: "How long that is. Then one request is tried."},
			func(s *Settings) any { return &s.Gateway.Breaker.OpenFor }),
	}
}

// routeFields returns where what is set of a route is kept.
func routeFields(r *Route, f *Fallback) map[string]any {
	return map[string]any{
		"path": &r.Path, "service": &r.Service, "auth": &r.Auth, "stripPrefix": &r.StripPrefix, "timeout": &r.Timeout, "retries": &r.Retries,
		"rate": &r.Rate, "burst": &r.Burst, "concurrency": &r.Concurrency, "maxBody": &r.MaxBody,
		"fallback.status": &f.Status, "fallback.body": &f.Body, "fallback.contentType": &f.ContentType,
	}
}

// routeKey returns the key of something in a route that keeps it at p.
func routeKey(name string, p any) Key {
	for _, k := range gatewayKeys() {
		if k.Name == gatewayRoutes+"[]."+name {
			if k.Kind == kindText {
				k.Kind = kindLine // any text: what it may be is checked with the whole
			}
			k.field = func(*Settings) any { return p }
			return k
		}
	}
	panic("config: a route has no " + name) // our own table is wrong
}

// newRoute returns a route of which nothing is set.
func newRoute() (Route, Fallback) {
	var r Route
	var f Fallback
	for name, p := range routeFields(&r, &f) {
		if k := routeKey(name, p); k.Default != "" {
			if err := k.set(nil, k.Default); err != nil {
				panic("config: default of " + k.Name + ": " + err.Error()) // our own table is wrong
			}
		}
	}
	return r, f
}

// readRoutes reads the list of routes, as readApps does.
func (r *fileReader) readRoutes(n *yaml.Node) []Route {
	if n.Kind != yaml.SequenceNode {
		r.refuse(r.at(n), gatewayRoutes, "must be a list of routes")
		return nil
	}
	list := make([]Route, len(n.Content))
	for i, item := range n.Content {
		list[i] = r.readRoute(gatewayRoutes+"["+strconv.Itoa(i)+"]", resolve(item))
	}
	return list
}

func (r *fileReader) readRoute(key string, n *yaml.Node) Route {
	r.places[key] = r.at(n)
	route, fallback := newRoute()
	fields := routeFields(&route, &fallback)
	for _, f := range r.fields(n, key+".", childrenOf(gatewayRoutes+"[].")) {
		path := key + "." + f.name
		r.places[path] = r.at(f.value)
		switch f.name {
		case "apps":
			list, _ := r.list(path, f.value)
			route.Apps = textsOf(list)
		case "fallback":
			for _, g := range r.fields(f.value, path+".", childrenOf(gatewayRoutes+"[].fallback.")) {
				r.readOfRoute(path+"."+g.name, "fallback."+g.name, fields, g.value)
			}
			route.Fallback = &fallback
		default:
			r.readOfRoute(path, f.name, fields, f.value)
		}
	}
	return route
}

// readOfRoute reads a single value of a route.
func (r *fileReader) readOfRoute(path, name string, fields map[string]any, n *yaml.Node) {
	r.places[path] = r.at(n)
	text, ok := r.scalar(path, n)
	if !ok {
		return
	}
	if p, isText := fields[name].(*string); isText && strings.HasPrefix(name, "fallback.") {
		*p = text // as long as it is, with line breaks
		return
	}
	if err := routeKey(name, fields[name]).set(nil, text); err != nil {
		r.refuse(r.at(n), path, "%s", err)
	}
}

// checkGateway notes what is wrong with the routes.
func (c *checker) checkGateway(s Settings) {
	routes := s.Gateway.Routes
	if len(routes) > maxRoutes {
		c.refuse(gatewayRoutes, "has %d routes: the most is %d", len(routes), maxRoutes)
	}
	for i, r := range routes {
		key := gatewayRoutes + "[" + strconv.Itoa(i) + "]."
		c.checkRoute(key, r)
		if r.Path != "" && slices.ContainsFunc(routes[:i], func(b Route) bool { return b.Path == r.Path }) {
			c.refuse(key+"path", "%q is the path of two routes", r.Path)
		}
		for _, name := range r.Apps {
			known := slices.ContainsFunc(s.Apps, func(a App) bool { return a.Name == name }) || s.Chat.Enabled && name == s.Chat.AppName
			if !known && s.Meta == "" {
				c.refuse(key+"apps", "%q is no app of these settings", name)
			}
		}
		if len(r.Apps) > 0 && r.Auth == "none" {
			c.refuse(key+"apps", "says who may come, yet auth is none, which lets anybody in")
		}
	}
}

// checkRoute notes what is wrong with one route alone.
func (c *checker) checkRoute(key string, r Route) {
	fallback := Fallback{}
	if r.Fallback != nil {
		fallback = *r.Fallback
	}
	switch {
	case r.Path == "":
		c.refuse(key+"path", "is required")
	case OwnPath(r.Path):
		c.refuse(key+"path", "%q is one of Switchboard's own paths, which go before routes: the service would never be asked", r.Path)
	}
	if r.Service == "" {
		c.refuse(key+"service", "is required")
	}
	for name, p := range routeFields(&r, &fallback) { // of settings made by hand
		k := routeKey(name, p)
		text := k.text(nil)
		optional := k.Default == "" && (text == "" || text == "0") || strings.HasPrefix(name, "fallback.") && r.Fallback == nil
		if err := k.set(nil, text); err != nil && !optional && !strings.HasSuffix(name, "body") {
			c.refuse(key+name, "%s", err)
		}
	}
	if len(fallback.Body) > maxFallback {
		c.refuse(key+"fallback.body", "has %d bytes: the most is %d", len(fallback.Body), maxFallback)
	}
	if err := checkContentType(fallback.ContentType); err != nil && r.Fallback != nil {
		c.refuse(key+"fallback.contentType", "%s", err)
	}
	if r.Burst > 0 && r.Rate == 0 {
		c.refuse(key+"burst", "is of no use without rate")
	}
}

// ownPaths are those that Switchboard serves itself at its public listener, and those
// that it may need there.
func ownPaths() []string {
	return []string{
		"/ws", "/v1", "/v1/", "/device/", "/healthz", "/readyz", "/metrics", "/cluster", "/docs/", "/assets/", "/.well-known/acme-challenge/",
		"/console.json", "/openapi.json", "/openapi.yaml", "/operator", "/chat", "/devices", "/map", "/favicon.svg", "/licenses.txt",
	}
}

// OwnPath says whether Switchboard itself serves a path, or all below it where that ends
// in "/", so that no route of the gateway can have it.
func OwnPath(path string) bool {
	return slices.ContainsFunc(ownPaths(), func(own string) bool {
		return path == own || strings.HasSuffix(own, "/") && strings.HasPrefix(path, own)
	})
}

// checkPath checks the path of a route, or of a health check.
func checkPath(text string) error {
	u, err := url.Parse(text)
	clean := path.Clean(text)
	if strings.HasSuffix(text, "/") && clean != "/" {
		clean += "/"
	}
	switch {
	case !strings.HasPrefix(text, "/"):
		return fmt.Errorf("%q is no path: it begins with /", text)
	case err != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != "" || strings.ContainsAny(text, "%;\\?#") || clean != text || len(text) > 256:
		return fmt.Errorf("%q is no path that can be compared: write it without escapes, dots as steps, //, ; ? and #", text)
	}
	for _, c := range text {
		if c <= ' ' || c == 0x7f || c == 0xfffd {
			return errors.New("must have no white space and no control characters")
		}
	}
	return nil
}

// checkService checks the name of a service. That of the nodes is none: what a node hands on
// to a node would come back.
func checkService(text string) error {
	if text == "switchboard" {
		return errors.New("is the nodes themselves: name a service of yours")
	}
	for _, c := range []byte(text) {
		if c != '-' && c != '.' && !validAppName(string(c)) {
			return fmt.Errorf("%q is not a service's name: 1 to 64 letters, digits, '.', '-' and '_'", text)
		}
	}
	if len(text) < 1 || len(text) > 64 {
		return fmt.Errorf("%q is not a service's name: 1 to 64 letters, digits, '.', '-' and '_'", text)
	}
	return nil
}

func routesNode(list []Route) *yaml.Node {
	nodes := &yaml.Node{Kind: yaml.SequenceNode}
	for _, r := range list {
		n := mapping()
		var fallback Fallback
		if r.Fallback != nil {
			fallback = *r.Fallback
		}
		fields, inner := routeFields(&r, &fallback), mapping()
		for _, name := range childrenOf(gatewayRoutes + "[].") {
			switch {
			case name == "apps" && len(r.Apps) > 0:
				add(n, name, listNode(r.Apps))
			case name == "fallback" && r.Fallback != nil:
				for _, name := range childrenOf(gatewayRoutes + "[].fallback.") {
					add(inner, name, routeKey("fallback."+name, fields["fallback."+name]).node(&Settings{}))
				}
				add(n, name, inner)
			case fields[name] != nil:
				k := routeKey(name, fields[name])
				if text := k.text(nil); k.Default != "" || text != "" && text != "0" {
					add(n, name, k.node(&Settings{}))
				}
			}
		}
		nodes.Content = append(nodes.Content, n)
	}
	return nodes
}

// routesTemplate returns a commented-out route with everything that it may have,
// explained before.
func routesTemplate() string {
	var b strings.Builder
	b.WriteString(commentLines("", "Your own HTTP services behind this listener, as docs/gateway.md has it."))
	b.WriteString("gateway:\n" + commentLines("  ", "Which paths lead to which service. Of a route:"))
	for _, k := range gatewayKeys() {
		if name, ok := strings.CutPrefix(k.Name, gatewayRoutes+"[]."); ok {
			b.WriteString(k.commentNamed("  ", name))
		}
	}
	for _, line := range []string{
		"#routes:", "#  - path: /orders/", "#    service: orders", "#    auth: required", "#    apps: [ANZ]", "#    stripPrefix: true", "#    timeout: 5s", "#    retries: 1",
		"#    fallback:", "#      status: 503", `#      body: '{"code":"UNAVAILABLE"}'`, "#      contentType: application/json",
		"#    rate: 1000", "#    burst: 2000", "#    concurrency: 500", "#    maxBody: 1MiB",
	} {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

// commentNamed is comment with a name before it.
func (k Key) commentNamed(indent, name string) string {
	k.What = name + ": " + k.What
	return k.comment(indent)
}

// checkContentType checks the type of a fallback's body.
func checkContentType(text string) error {
	if text == "" || len(text) > 256 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("must be a type such as application/json")
	}
	return nil
}
