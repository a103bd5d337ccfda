// Package demo shows the relay at work: a sensor reports the load of the machine
// every second, a gateway hands the reports on, a chart shows the last ten seconds
// of them, and an archive keeps them in a folder a day.
//
// Each of these services is a process, and so is each program of the relay between
// them: Run starts all of them, and starts again what ends. They share nothing but
// folders.
//
// Promises: whichever process is killed, and whenever, each report that the sensor
// has numbered comes to the archive, once. For that a file changes its folder by a
// rename and in no other way, and the sensor notes a number before it lets go of the
// report. Everything listens on loopback only. No process outlives the one that
// started it: each ends when its standard input does.
//
// Limits: all folders are below one, on one disk. One process runs a folder.
package demo
