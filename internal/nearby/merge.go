package nearby

import (
	"cmp"
	"slices"
	"strings"
)

// nearest compares two users of one app by how far they are, and then by their numbers.
func nearest(a, b *User) int {
	return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(len(a.User), len(b.User)), strings.Compare(a.User, b.User))
}

// mergeAnswers puts what several shards have answered in order, and leaves at most
// limit users.
func mergeAnswers(out *Answer, limit int) {
	slices.SortFunc(out.Users, func(a, b User) int { return nearest(&a, &b) })
	if len(out.Users) > limit {
		clear(out.Users[limit:])
		out.Users = out.Users[:limit]
	}
}
