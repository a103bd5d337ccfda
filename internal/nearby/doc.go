// Package nearby is the room of positions: users say where they are, and others see who
// is around them, now and as it changes.
package nearby
