package webhooks

import "time"

// view is what others see of a hook, on this node or on another: it is what nodes
// say to each other.
type view struct {
	Attempts    uint64    `json:",omitzero"`
	Delivered   uint64    `json:",omitzero"`
	Failed      uint64    `json:",omitzero"`
	Stuck       int       `json:",omitzero"`
	Failing     bool      `json:",omitzero"`
	LastSuccess time.Time `json:",omitzero"`
	LastFailure time.Time `json:",omitzero"`
	LastReason  string    `json:",omitzero"`
}

func (v *view) state() string {
	switch {
	case v.Failing:
		return StateFailing
	case v.Attempts == 0:
		return StateIdle
	}
	return StateOK
}

// add adds what another node sees: sums, what was last, and the worse state.
func (v *view) add(o view) {
	v.Attempts += o.Attempts
	v.Delivered += o.Delivered
	v.Failed += o.Failed
	v.Stuck += o.Stuck
	v.Failing = v.Failing || o.Failing
	if o.LastSuccess.After(v.LastSuccess) {
		v.LastSuccess = o.LastSuccess
	}
	if o.LastFailure.After(v.LastFailure) {
		v.LastFailure, v.LastReason = o.LastFailure, o.LastReason
	}
}

// look returns what this node sees of a hook.
func (h *hook) look() view {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view
}
