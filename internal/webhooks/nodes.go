package webhooks

import (
	"encoding/json"
	"time"
)

// Nodes are the ways to other nodes, on which nothing overtakes anything: *bus.Links.
type Nodes interface {
	// Send sends one message, the parts joined. False: it does not go.
	Send(node string, parts ...[]byte) bool
}

const (
	// tellEvery is how often other nodes hear what has changed.
	tellEvery = time.Second
	// tellBytes is from how many bytes on what they hear is cut into messages.
	tellBytes = 32 << 10
)

// others is what a node knows of webhooks on other nodes, and what these know of
// it. It is pure.
type others struct {
	told  map[string]map[Name]view // by node that hears what this one says: what it has heard
	heard map[string]map[Name]view // by node: what it said
}

// said is what a node says of one webhook. Who reads it passes over what it does
// not know.
type said struct {
	Of Name
	view
}

// up begins to tell a node: it knows nothing yet.
func (o *others) up(node string) {
	if o.told == nil {
		o.told = make(map[string]map[Name]view)
	}
	o.told[node] = make(map[Name]view)
}

// down ends that; what the node said stands until it is gone.
func (o *others) down(node string) { delete(o.told, node) }

func (o *others) gone(node string) {
	o.down(node)
	delete(o.heard, node)
}

// news returns what a node has not been told of these views, which are all that
// there are.
func (o *others) news(node string, views map[Name]view) (list []said) {
	told := o.told[node]
	for of, v := range views {
		if v != told[of] {
			list = append(list, said{of, v})
		}
	}
	for of := range told {
		if _, is := views[of]; !is {
			list = append(list, said{Of: of})
		}
	}
	return list
}

// tell notes that a node has been told.
func (o *others) tell(node string, list []said) {
	told := o.told[node]
	for _, s := range list {
		if s.view == (view{}) {
			delete(told, s.Of)
		} else {
			told[s.Of] = s.view
		}
	}
}

// hear takes what a node says.
func (o *others) hear(node string, list []said) {
	if o.heard == nil {
		o.heard = make(map[string]map[Name]view)
	}
	heard := o.heard[node]
	if heard == nil {
		heard = make(map[Name]view)
		o.heard[node] = heard
	}
	for _, s := range list {
		if s.view == (view{}) {
			delete(heard, s.Of)
		} else {
			heard[s.Of] = s.view
		}
	}
}

// add adds to a view what other nodes see of the same webhook.
func (o *others) add(v *view, of Name) {
	for _, heard := range o.heard {
		v.add(heard[of])
	}
}

// appendSaid writes what is said, as one message or several.
func appendSaid(list []said) (messages [][]byte, of [][]said) {
	var body []byte
	from := 0
	for i, s := range list {
		one, err := json.Marshal(s)
		if err != nil {
			panic("webhooks: " + err.Error()) // of texts, numbers and times of our own
		}
		if body == nil {
			body = append(body, '[')
		} else {
			body = append(body, ',')
		}
		body = append(body, one...)
		if len(body) >= tellBytes || i == len(list)-1 {
			messages, of = append(messages, append(body, ']')), append(of, list[from:i+1])
			body, from = nil, i+1
		}
	}
	return messages, of
}

// telling returns what comes when other nodes are to be told; never, if there are none.
func (r *Room) telling() (tick <-chan time.Time, stop func()) {
	if r.opts.Nodes == nil {
		return nil, func() {}
	}
	t := time.NewTicker(tellEvery)
	return t.C, t.Stop
}

// tell tells all nodes what each has not heard.
func (r *Room) tell() {
	r.sharing.Lock()
	defer r.sharing.Unlock()
	views := r.views()
	for node := range r.others.told {
		r.say(node, views)
	}
}

// say tells one node. What does not go is tried again in a second, or in the next
// conversation. r.sharing is held.
func (r *Room) say(node string, views map[Name]view) {
	messages, of := appendSaid(r.others.news(node, views))
	for i, m := range messages {
		if !r.opts.Nodes.Send(node, m) {
			return
		}
		r.others.tell(node, of[i])
	}
}

func (r *Room) views() map[Name]view {
	views := make(map[Name]view)
	for _, h := range r.list() {
		views[h.of] = h.look()
	}
	return views
}

// together returns what all nodes see of a hook.
func (r *Room) together(h *hook) view {
	v := h.look()
	r.sharing.Lock()
	defer r.sharing.Unlock()
	r.others.add(&v, h.of)
	return v
}

// PeerUp begins to tell a node, at once.
func (r *Room) PeerUp(node string) {
	r.sharing.Lock()
	defer r.sharing.Unlock()
	r.others.up(node)
	r.say(node, r.views())
}

// PeerDown ends that: the node hears nothing until the next PeerUp.
func (r *Room) PeerDown(node string) {
	r.sharing.Lock()
	defer r.sharing.Unlock()
	r.others.down(node)
}

// PeerGone is told of a node that has left, or is dead. What it counted counts no
// more.
func (r *Room) PeerGone(node string) {
	r.sharing.Lock()
	defer r.sharing.Unlock()
	r.others.gone(node)
}

// PeerReceive takes what a node says. What cannot be read is passed over: a later
// version may say it in another way.
func (r *Room) PeerReceive(node string, body []byte) {
	var list []said
	if err := json.Unmarshal(body, &list); err != nil {
		r.metrics.unread.Inc()
		return
	}
	r.sharing.Lock()
	defer r.sharing.Unlock()
	r.others.hear(node, list)
}
