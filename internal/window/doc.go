// Package window sums up what happens by when it happened.
//
// Events are folded into panes, which are short spans of equal length; a window is
// a sum of panes. So a sliding window costs no more than the panes that it has, and
// windows of all lengths agree with each other.
//
// Promises:
//
//   - Time is milliseconds since 1970, UTC. Panes and windows begin at multiples of
//     their length (a sliding window's of its slide) and are half-open: what happens
//     at the end of one is in the next.
//   - What a pane holds depends on which events there are, not on the order in which
//     they are folded, nor on how they are divided among several that are added up
//     later: sums are of whole numbers, and a sketch counts in fixed bins.
//   - Whether an event is in time depends on the event alone: on when it happened and
//     when it was taken in (see [Rules]). So nobody's clock, and no event of another
//     source, closes a window early or keeps one open.
//   - Sessions are exact wherever the gap is no shorter than a pane, since panes know
//     their first and last moment.
//
// Limits: values are whole numbers from 0 to 2^53. Quantiles are at most one percent
// off. Sums beyond 64 bits stay at the greatest number.
package window
