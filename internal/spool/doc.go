// Package spool is a folder of whole files that programs hand to each other: one
// writes a file there under its name, the next takes it away.
//
// A Store is the side that receives. It writes what comes beside the folder,
// syncs it, and gives it its name last, so that whoever looks into the folder
// sees a file whole or not at all, whenever the process or the machine ends. It
// overwrites nothing: other content of the same name is kept beside it, with the
// first digits of its digest in the name; the same content is one file. A sender
// that gives its upload a key has it stored once, however often it is sent, and
// may go on where an upload broke off.
//
// An Outbox is the side that sends. It finds the files that nobody writes to any
// more, and takes them away when they were delivered, never another file that has
// come under the same name meanwhile.
//
// Both keep what they need in .switchboard in the folder, and hold a lock there
// against a second process of their kind. They reach files by descriptors of the
// folders, follow no symbolic link and take no name with a slash: nothing leaves
// the folder. Names are bytes, as the file system keeps them.
//
// Limits: one file system for the folder and what is in it. Where it can neither
// rename without overwriting nor link, two processes that store the same new name
// in the same instant are not kept apart.
package spool
