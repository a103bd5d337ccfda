package nodetest

// faultSeeds are seeds that always run. One that made a fault test fail is added
// here, with what it found. Seeds draw faults, sizes and receivers; what the
// machine does meanwhile they do not, so one run may pass where another failed.
func faultSeeds() []uint64 {
	return []uint64{
		1,
	}
}
