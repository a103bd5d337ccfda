// Package arch checks that the source keeps the law of the house: which
// package may import which, who may use which library, what log lines may say, and a
// few manners. It reads the source as it stands and knows nothing of what it does; it is not
// part of the program.
//
// The law is the table in law.go. A package that is not in the table is a
// violation: whoever adds one says where it stands.
package arch
