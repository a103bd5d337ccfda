// Package settings keeps a node's settings in force: those of its file, environment and
// flags, and those that a meta server serves out of a repository, which it follows.
//
// Promises: what is in force is good as a whole, and checked as at a start. What is new
// takes effect at run time as far as it can; what takes a restart is listed, and nothing
// of it applied. What is bad, gone or out of reach changes nothing. A node starts without
// its meta server, with the last good copy of what that served, which is in its data
// folder. Of a new trouble there is one line in the log for each problem, whatever the
// number of attempts that meet it.
//
// Limits: an answer of 8 MiB, twenty problems of one commit; the constants say why. A
// change is taken when the meta server tells of it; where streams do not come through it
// is asked every half minute.
package settings
