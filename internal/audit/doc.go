// Package audit writes down who signed in and out, who was refused, and who changed what:
// one JSON object a line, in a file that grows or on standard output.
//
// # Promises
//
//   - Noting something never waits: lines are written by a goroutine of their own, in the
//     order in which they came. What does not fit into its queue is counted, and the next
//     line says how many are missing.
//   - Refusals are noted so many a second at most, so that a flood of them neither fills the
//     disk nor pushes anything else out; those left out are counted likewise.
//   - Texts of strangers are cut to 128 bytes. Secrets, tokens and bodies are never noted.
//   - Reopen has the file opened anew under its name, for those who move it away.
//
// It knows nothing of the product.
package audit
