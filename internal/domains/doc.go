// Package domains knows the network: which domains there are, how they are
// linked, which of an app's numbers live where, and the way from one domain to
// another.
//
// A [Network] is a description of all of it, read from the YAML file of a meta
// server ([Parse]) or from what a meta server serves ([ParseJSON]). It is
// checked as a whole, so whatever holds one holds a good one: names are unique,
// every domain is reachable from every other, the ranges of an app have no hole
// and no overlap. It is never changed once it is made. Two files of the same
// meaning make the same Network, with the same [Network.Hash], whatever their
// order.
//
// [Network.Routes] gives the shortest paths from one domain. All domains that
// have the same description agree on them, hop by hop.
//
// A [Source] keeps a domain's description current.
package domains
