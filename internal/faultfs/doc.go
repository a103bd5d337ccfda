// Package faultfs is a disk that fails on command: a file system in memory,
// mounted by FUSE, that knows of every byte whether it was synced.
//
// At a power cut it forgets what was not: writes, truncations, and the entries
// of folders. Before that it can be slow to sync, and full, with or without
// saying so. It is a tool for tests; Linux alone can mount it.
//
// What a sync makes safe depends on the Rule:
//
//   - Strict is what POSIX promises and no more: fsync of a file makes its
//     content safe, fsync of a folder its entries. A new file whose folder was
//     not synced is gone, synced content or not.
//   - Journaled is what ext4, xfs and btrfs do: fsync of a file also makes safe
//     the entries by which it is reached, as fsync of a folder does for the
//     folder.
//
// Writes to a file that was opened with O_SYNC or O_DSYNC are synced at once.
//
// Of what was not synced a real disk may hold anything between nothing and all:
// see Survival.
//
// Limits: no links, no extended attributes, no shared memory maps; modes and
// times are safe at once; owners are not kept.
package faultfs
