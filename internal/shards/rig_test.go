package shards

import (
	"fmt"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func wireUser(n int) wire.UserID { return wireUserOf(fmt.Sprintf("ANZ-%d", n)) }

func wireUserOf(s string) wire.UserID { return wire.UserID(s) }
