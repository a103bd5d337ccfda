// Package relay moves files from service to service: an uploader sends what it
// finds in a folder to every collector of a cluster, a collector stacks what it
// gets in its spool, a network server says which collectors there are, and a
// maker collects records into files.
//
// Each of them is a process of its own, begun by one call that runs until its
// context ends: RunUploader, RunCollector, RunNetwork, RunMaker. They speak plain
// HTTP with each other, and with programs of another make (see docs/relay.md);
// what goes beyond that is for both ends being ours: a digest of the content,
// going on where an upload broke off, and a key by which a file that is sent again
// is known.
//
// Promises: what a collector answers with success is whole in its spool, and
// synced. An uploader removes a file only when every collector that it is owed to
// has it. Between an uploader and a collector of ours a file arrives once, whatever
// is killed when; with another make on one end, at least once.
//
// Limits: each setting says its own. Clocks are used to wait and to show, never to
// tell files apart.
package relay
