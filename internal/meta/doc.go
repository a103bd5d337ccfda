// Package meta serves the description of a network of domains: to the domains,
// which follow it, and to whoever wants to see it. It serves settings to services in
// the same way.
//
// The description is a YAML file, as internal/domains reads it, and settings are a
// folder of YAML files, in the file system or on a branch of a Git repository. They
// are looked at again and again; what is new there is checked as a whole and takes
// effect at run time. What is bad, gone or out of reach changes nothing: what was good
// last stays, and so it does over a restart, out of a copy in the data folder.
//
// Promises: what is served is good, and on disk. Its version rises with each
// change of its meaning and with nothing else. Of a new trouble there is one line
// in the log, whatever the number of looks that meet it.
//
// All settings of one answer are of one commit, which it names. What they mean is the
// matter of who asks for them, secrets too: {secret: NAME} is handed on as it is.
//
// Limits: a file of 1 MiB, 1 000 files of settings of 256 KiB, a snapshot of a repository of 64 MiB, 1 000 streams of
// events, 2 000 connections; the constants say why. One process serves one data
// folder. No git program is needed.
package meta
