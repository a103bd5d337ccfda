package config

import (
	"regexp"
	"strings"
	"unicode"
)

// envPrefix begins every environment variable that is ours.
const envPrefix = "SWITCHBOARD_"

// EnvFile is the environment variable that names the settings file when no
// flag does.
const EnvFile = envPrefix + "CONFIG"

// envName returns the variable of a key: "limits.signInDeadline" becomes
// SWITCHBOARD_LIMITS_SIGN_IN_DEADLINE.
func envName(key string) string {
	var b strings.Builder
	b.WriteString(envPrefix)
	for i, c := range key {
		switch {
		case c == '.':
			b.WriteByte('_')
		case unicode.IsUpper(c) && i > 0:
			b.WriteByte('_')
			b.WriteRune(c)
		default:
			b.WriteRune(unicode.ToUpper(c))
		}
	}
	return b.String()
}

// ofCommand says whether a variable belongs to a command that has no settings:
// doctor, bench, keys and meta take their tokens and keys from the environment.
func ofCommand(name string) bool {
	switch strings.TrimPrefix(name, envPrefix) {
	case "DOCTOR_TOKEN", "BENCH_TOKEN", "KEY", "GIT_USERNAME", "GIT_PASSWORD", "GIT_SSH_KEY", "GIT_SSH_PASSPHRASE":
		return true
	}
	return false
}

// readEnviron reads the layer of the environment. An empty variable is as good
// as none.
func readEnviron(environ []string) layer {
	l := newLayer()
	known := map[string]Key{}
	names := []string{EnvFile, EnvSecrets}
	for _, k := range Keys() {
		if name := k.EnvName(); name != "" {
			known[name] = k
			names = append(names, name)
		}
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || name == EnvFile || name == EnvSecrets || value == "" || serviceLink(name) || ofCommand(name) {
			continue
		}
		at := Place{Env: name}
		k, ok := known[name]
		switch {
		case ok:
			l.put(k, at, value)
		case strings.HasPrefix(name, envPrefix+"APPS"):
			l.refuse(at, "", "apps can only be set in the file")
		default:
			l.refuse(at, "", "unknown setting%s", DidYouMean(name, names))
		}
	}
	return l
}

// serviceLink says whether Kubernetes or Docker made the variable for a
// service that happens to be called switchboard.
func serviceLink(name string) bool {
	return regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`).MatchString(name)
}

// fileFromEnviron returns what EnvFile names, or "".
func fileFromEnviron(environ []string) string {
	for _, entry := range environ {
		if path, ok := strings.CutPrefix(entry, EnvFile+"="); ok {
			return path
		}
	}
	return ""
}

// readFlags reads the layer of the command line.
func readFlags(flags []Flag) layer {
	l := newLayer()
	var names []string
	for _, k := range Keys() {
		if k.field != nil {
			names = append(names, k.Name)
		}
	}
	for _, f := range flags {
		k, ok := keyNamed(f.Key)
		switch {
		case f.Wrong != "":
			l.refuse(Place{Flag: f.Name}, "", "%s", f.Wrong)
		case ok:
			l.put(k, Place{Flag: f.Name}, f.Value)
		case f.Key == "apps" || strings.HasPrefix(f.Key, "apps[") || strings.HasPrefix(f.Key, "apps."):
			l.refuse(Place{Flag: f.Name}, f.Key, "apps can only be set in the file")
		default:
			l.refuse(Place{Flag: f.Name}, f.Key, "unknown key%s", suggestKey(f.Key, names, keyNames()))
		}
	}
	return l
}
