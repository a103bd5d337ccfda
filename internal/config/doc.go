// Package config holds Switchboard's settings: their model, where they come
// from, and what is wrong with them.
//
// Settings come from a YAML file, from environment variables that begin with
// SWITCHBOARD_, and from flags; a flag wins over the environment, the
// environment over the file, the file over the defaults. [Keys] is the one
// table of all of them: documentation, template and checks are made from it or
// tested against it.
//
// Load reports every problem that it finds in one error, each with its file
// and line, its variable or its flag. What it returns without an error is
// complete and checked. The package knows nothing of what the settings are
// for and starts nothing.
package config
