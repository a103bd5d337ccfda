package api

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/registry"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Services knows the services of the product: *registry.Room.
type Services interface {
	// List returns the instances of a service, by name; of all with an empty name.
	List(service string) []registry.Instance
	// Watch calls f after each change of a service's instances. f must be quick.
	Watch(f func(service string)) (stop func())
	Register(ctx context.Context, i registry.Instance) (is registry.Instance, fresh bool, err error)
	Remove(ctx context.Context, service, name string) error
}

// ServiceHealth is how an instance of a service is, as this node's gateway sees it.
type ServiceHealth struct {
	State    string    // a word
	Since    time.Time // it is so
	Reason   string    // why; empty where there is nothing to say
	InFlight int       // requests that it has now, from this node
}

func (r Rooms) serviceCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/services", Scope: keys.ServicesRead, Here: true, Handler: Handle(r.listServices)},
		{Method: "GET", Path: "/v1/services/stream", Scope: keys.ServicesRead, Stream: true, Here: true, Handler: Serve(r.watchServices)},
		{Method: "GET", Path: "/v1/services/{name}", Scope: keys.ServicesRead, Here: true, Handler: Handle(r.getService)},
		{Method: "PUT", Path: "/v1/services/{name}/{instance}", Scope: keys.ServicesWrite, Named: true, Once: true, Handler: Handle(r.registerInstance)},
		{Method: "DELETE", Path: "/v1/services/{name}/{instance}", Scope: keys.ServicesWrite, Named: true, Once: true, Handler: Handle(r.removeInstance)},
	}
}

// instanceAnswer is an instance as the interface shows it.
type instanceAnswer struct {
	Service  string            `json:"service"`
	Instance string            `json:"instance"`
	URL      string            `json:"url"`
	Weight   int               `json:"weight"`
	Meta     map[string]string `json:"meta,omitzero"`
	TTL      int64             `json:"ttl,omitzero"`
	Since    Time              `json:"since"`
	Source   registry.Source   `json:"source"`
	Health   *healthAnswer     `json:"health,omitzero"`
	InFlight *int              `json:"inFlight,omitzero"`

	fresh bool
}

// Status implements what call.go says.
func (a instanceAnswer) Status() int {
	if a.fresh {
		return http.StatusCreated
	}
	return http.StatusOK
}

// healthAnswer is how the gateway sees an instance.
type healthAnswer struct {
	State  string `json:"state"`
	Since  Time   `json:"since"`
	Reason string `json:"reason,omitzero"`
}

// serviceAnswer is a service with its instances.
type serviceAnswer struct {
	Name      string           `json:"name"`
	Instances []instanceAnswer `json:"instances"`
}

type servicesAnswer struct {
	Services []serviceAnswer `json:"services"`
}

func (r Rooms) showInstance(i registry.Instance) instanceAnswer {
	a := instanceAnswer{
		Service: i.Service, Instance: i.Name, URL: i.URL, Weight: i.Weight, TTL: int64(i.TTL / time.Second), Since: Time(i.Since), Source: i.Source,
	}
	if len(i.Meta) > 0 {
		a.Meta = i.Meta
	}
	if r.ServiceHealth == nil {
		return a
	}
	if h, known := r.ServiceHealth(i.Service, i.Name); known {
		a.Health, a.InFlight = &healthAnswer{State: h.State, Since: Time(h.Since), Reason: h.Reason}, &h.InFlight
	}
	return a
}

func (r Rooms) showService(name string) serviceAnswer {
	list := r.Services.List(name)
	a := serviceAnswer{Name: name, Instances: make([]instanceAnswer, len(list))}
	for n, i := range list {
		a.Instances[n] = r.showInstance(i)
	}
	return a
}

func (r Rooms) showServices() servicesAnswer {
	a := servicesAnswer{Services: []serviceAnswer{}}
	for _, i := range r.Services.List("") {
		last := len(a.Services) - 1
		if last < 0 || a.Services[last].Name != i.Service {
			a.Services = append(a.Services, serviceAnswer{Name: i.Service})
			last++
		}
		a.Services[last].Instances = append(a.Services[last].Instances, r.showInstance(i))
	}
	return a
}

type listServicesRequest struct{}

func (r Rooms) listServices(context.Context, Identity, listServicesRequest) (servicesAnswer, error) {
	return r.showServices(), nil
}

type getServiceRequest struct {
	Name string `path:"name"`
}

func (r Rooms) getService(_ context.Context, _ Identity, q getServiceRequest) (serviceAnswer, error) {
	a := r.showService(q.Name)
	if len(a.Instances) == 0 {
		return a, NotFound("no instance of the service %q is registered", clip(q.Name))
	}
	return a, nil
}

type registerInstanceRequest struct {
	Name     string `path:"name"`
	Instance string `path:"instance"`
	Body     struct {
		URL    string            `json:"url"`
		Weight *int              `json:"weight,omitzero"`
		Meta   map[string]string `json:"meta,omitzero"`
		TTL    *int64            `json:"ttl,omitzero"` // seconds
	} `body:"json"`
}

// registerInstance registers or renews an instance. Services are the product's, and no
// app's: what a key may register is a matter of its scopes alone.
func (r Rooms) registerInstance(ctx context.Context, who Identity, q registerInstanceRequest) (instanceAnswer, error) {
	b := &q.Body
	i := registry.Instance{Service: q.Name, Name: q.Instance, URL: b.URL, Weight: 1, Meta: b.Meta, TTL: registry.DefaultTTL}
	if b.Weight != nil {
		i.Weight = *b.Weight
	}
	if b.TTL != nil { // not so many that they are none in nanoseconds; what is past the bounds is refused
		i.TTL = time.Duration(min(max(*b.TTL, -1), math.MaxInt32)) * time.Second
	}
	if wrong := i.Check(); wrong != nil { // also a weight or a TTL of 0, which would be none
		return instanceAnswer{}, invalidInstance(wrong[0])
	}
	is, fresh, err := r.Services.Register(ctx, i)
	if err != nil {
		return instanceAnswer{}, registryRefusal(err, q.Name, q.Instance)
	}
	if fresh { // else it says that it is still there
		r.note(who, "instanceRegistered", "", "", q.Name+"/"+q.Instance)
	}
	a := r.showInstance(is)
	a.fresh = fresh
	return a, nil
}

// invalidInstance names the field as the call has it.
func invalidInstance(refused *registry.Refusal) *Refusal {
	field := refused.Field
	if field == "service" {
		field = "name"
	}
	return Invalid(field, "%s", refused.Reason)
}

// registryRefusal returns why the registry did not do something; other errors as they are.
func registryRefusal(err error, service, instance string) error {
	var wrong *registry.Refusal
	switch {
	case errors.As(err, &wrong):
		return invalidInstance(wrong)
	case errors.Is(err, registry.ErrTooMany):
		return Refuse(http.StatusConflict, CodeTooManyInstances, "%s", err)
	case errors.Is(err, registry.ErrFixed):
		return Refuse(http.StatusConflict, wire.CodeConflict, "the instance %s of %s is one of the file of static instances (registry.file)", clip(instance), clip(service))
	case errors.Is(err, registry.ErrUnknown):
		return NotFound("there is no instance %q of the service %q: it never was, has left, or was not renewed in time", clip(instance), clip(service))
	}
	return err
}

type removeInstanceRequest struct {
	Name     string `path:"name"`
	Instance string `path:"instance"`
}

type removedInstanceAnswer struct {
	Removed string `json:"removed"`
}

func (r Rooms) removeInstance(ctx context.Context, who Identity, q removeInstanceRequest) (removedInstanceAnswer, error) {
	if q.Name == registry.Nodes {
		return removedInstanceAnswer{}, Refuse(http.StatusConflict, wire.CodeConflict, "the instances of %s are the nodes themselves", registry.Nodes)
	}
	if err := r.Services.Remove(ctx, q.Name, q.Instance); err != nil {
		return removedInstanceAnswer{}, registryRefusal(err, q.Name, q.Instance)
	}
	r.note(who, "instanceRemoved", "", "", q.Name+"/"+q.Instance)
	return removedInstanceAnswer{Removed: q.Instance}, nil
}

type watchServicesRequest struct{}

// servicesSilence is how long the stream may be silent before a comment shows that it
// lives.
const servicesSilence = 15 * time.Second

// watchServices streams all services, and then each that changes, until the client
// leaves, its key is not good any more, or the node stops. The samples of the stats, one
// a second, are the clock by which keys, and what the gateway says, are looked at.
func (r Rooms) watchServices(w http.ResponseWriter, q *http.Request, who Identity, _ watchServicesRequest) error {
	leave, ok := r.Stats.Watch()
	if !ok {
		refused := Refuse(http.StatusServiceUnavailable, wire.CodeBusy, "as many watch the stats, the cluster or services as limits.statsStreams allows")
		refused.RetryAfter = soon
		return refused
	}
	defer leave()
	s := &servicesStream{rooms: r, w: w, sink: http.NewResponseController(w), seed: maphash.MakeSeed(), sent: make(map[string]uint64), changed: changes{bell: make(chan struct{}, 1)}}
	eventsHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	_ = s.sink.SetReadDeadline(time.Time{}) // what has no deadlines, as in tests, does without: here and below
	defer r.Services.Watch(s.changed.add)()
	latest := r.Stats.Latest()
	if !r.stillGood(who, latest.At) || s.all() != nil {
		return nil
	}
	spoke := latest.Uptime
	for {
		samples, more := r.Stats.After(latest.Number, 1)
		if len(samples) > 0 {
			latest = samples[0]
		}
		if !r.stillGood(who, latest.At) || more == nil {
			return nil
		}
		text := ""
		select {
		case <-q.Context().Done():
			return nil
		case <-s.changed.bell:
			text = s.news(s.changed.take())
		case <-more:
			if r.ServiceHealth != nil {
				text = s.news(s.names())
			}
			if text == "" && latest.Uptime-spoke >= servicesSilence {
				text = ":\n\n"
			}
		}
		if text == "" {
			continue
		}
		spoke = latest.Uptime
		if s.write(text) != nil {
			return nil // it is gone
		}
	}
}

// servicesStream is one stream that is under way.
type servicesStream struct {
	rooms   Rooms
	w       http.ResponseWriter
	sink    *http.ResponseController
	seed    maphash.Seed
	sent    map[string]uint64 // what was sent last of each service that has instances
	changed changes
}

// namesEvent names all services that there are when a stream begins.
type namesEvent struct {
	Names []string `json:"names"`
}

// all sends each service that there is, and then their names: so whoever comes back
// knows which have gone meanwhile.
func (s *servicesStream) all() error {
	a := namesEvent{Names: []string{}}
	for _, one := range s.rooms.showServices().Services {
		body := servicesJSON(one)
		s.sent[one.Name] = maphash.Bytes(s.seed, body)
		a.Names = append(a.Names, one.Name)
		if err := s.write(fmt.Sprintf("event: service\ndata: %s\n\n", body)); err != nil {
			return err
		}
	}
	return s.write(fmt.Sprintf("event: services\ndata: %s\n\n", servicesJSON(a)))
}

// names are the services that were sent.
func (s *servicesStream) names() []string {
	list := make([]string, 0, len(s.sent))
	for name := range s.sent {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// news returns the events of those services that are other ones than they were sent.
func (s *servicesStream) news(services []string) (text string) {
	var b []byte
	for _, name := range services {
		a := s.rooms.showService(name)
		body := servicesJSON(a)
		sum, was := maphash.Bytes(s.seed, body), s.sent[name]
		_, known := s.sent[name]
		switch {
		case known && sum == was, !known && len(a.Instances) == 0:
			continue
		case len(a.Instances) == 0:
			delete(s.sent, name)
		default:
			s.sent[name] = sum
		}
		b = fmt.Appendf(b, "event: service\ndata: %s\n\n", body)
	}
	return string(b)
}

func (s *servicesStream) write(text string) error {
	_ = s.sink.SetWriteDeadline(time.Now().Add(statsWriteTime)) // see watchStats
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.sink.Flush()
}

func servicesJSON(v any) []byte {
	body, err := json.Marshal(v, jsonOptions())
	if err != nil {
		panic(fmt.Sprintf("services: %v", err)) // our own values marshal
	}
	return body
}

// changes are the services that have changed since somebody looked.
type changes struct {
	bell chan struct{} // of one

	mu  sync.Mutex
	set map[string]struct{}
}

func (c *changes) add(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set == nil {
		c.set = make(map[string]struct{})
	}
	c.set[service] = struct{}{}
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// take returns them in order, and forgets them.
func (c *changes) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]string, 0, len(c.set))
	for service := range c.set {
		list = append(list, service)
	}
	c.set = nil
	slices.Sort(list)
	return list
}
