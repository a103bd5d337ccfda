package relay

import "fmt"

type sliceName struct{ day, slot int64 }

func (n sliceName) file(prefix, suffix string) string {
	return fmt.Sprintf("%s%d.%d%s", prefix, n.day, n.slot, suffix)
}

func checkName(string) error { return nil }
