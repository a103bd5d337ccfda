package journal

// Settled returns a time of the clock, in Unix milliseconds: whatever the owner of a
// shard took in before is folded into its projections. ErrNext says that this node is
// not the owner.
func (r *Room) Settled(shard int) (int64, error) {
	o := r.owner(shard)
	if o == nil {
		return 0, ErrNext
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.storing > 0 {
		return o.storing, nil
	}
	return max(r.now(), o.core.stored), nil
}
