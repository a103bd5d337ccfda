// Package grid finds points on the Earth: an index of points by where they are, and a
// division of the Earth into cells.
//
// Promises:
//
//   - A [Tree] answers exactly: who is within a radius, by [Distance], and the nearest
//     first; and who is in a [Box]. There is no seam at the antimeridian, and a pole is a
//     place as any other.
//   - However dense or sparse points are, a query looks at few that are not in its
//     answer, and with a limit at few beyond that: where there are many points the tree
//     is finer, down to about a metre.
//   - To move a point within its neighbourhood costs about as much as to write it down.
//   - A [Cell] of a level is about as wide as it is high, and has about the same area,
//     wherever it is, but for those that touch a pole.
//
// Distances are metres along a sphere of the radius that Redis reckons with, so both give
// the same ones.
//
// Limits: 2^27 points in a tree. Nothing here is safe for use by several goroutines, but
// for queries of a tree that nobody changes.
package grid
