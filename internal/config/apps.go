package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readApps reads the list of apps. The places of app i and of its fields are
// kept as "apps[i]" and "apps[i].appName".
func (r *fileReader) readApps(f field) {
	r.places["apps"] = f.at
	if f.value.Kind != yaml.SequenceNode {
		r.refuse(r.at(f.value), "apps", "must be a list of apps")
		return
	}
	r.apps = []App{}
	for i, n := range f.value.Content {
		r.readApp("apps["+strconv.Itoa(i)+"]", resolve(n))
	}
}

func (r *fileReader) readApp(key string, n *yaml.Node) {
	r.places[key] = r.at(n)
	var a App
	written := map[string]bool{}
	for _, f := range r.fields(n, key+".", childrenOf("apps[].")) {
		path := key + "." + f.name
		r.places[path] = r.at(f.value)
		written[f.name] = true
		switch f.name {
		case "appName":
			a.Name, _ = r.scalar(path, f.value)
		case "appId":
			a.ID, _ = r.scalar(path, f.value)
		case "masterUserId":
			a.Master, _ = r.scalar(path, f.value)
		case "authUrl":
			a.AuthURL, _ = r.scalar(path, f.value)
		case "authEnabled":
			a.AuthEnabled = r.boolean(path, f.value)
		case "allowApps":
			list, _ := r.list(path, f.value)
			a.AllowApps = textsOf(list)
		case "jwt":
			a.JWT = r.readJWT(path, f.value)
		case "webhooks":
			a.Webhooks = r.readWebhooks(path, f.value)
		}
	}
	if !written["authEnabled"] {
		a.AuthEnabled = true // only what is written lets anyone in
	}
	r.apps = append(r.apps, a)
}

func (r *fileReader) readJWT(key string, n *yaml.Node) *JWT {
	var j JWT
	for _, f := range r.fields(n, key+".", childrenOf("apps[].jwt.")) {
		path := key + "." + f.name
		r.places[path] = r.at(f.value)
		text, _ := r.scalar(path, f.value)
		switch f.name {
		case "secret":
			j.Secret = Secret(text)
		case "publicKey":
			j.PublicKey = text
		case "jwksUrl":
			j.JWKSURL = text
		case "issuer":
			j.Issuer = text
		case "audience":
			j.Audience = text
		}
	}
	return &j
}

// boolean reads a switch; one that cannot be read is true.
func (r *fileReader) boolean(key string, n *yaml.Node) bool {
	text, ok := r.scalar(key, n)
	if ok && text != "true" && text != "false" {
		r.refuse(r.at(n), key, "%q is neither true nor false", text)
	}
	return text != "false"
}

// checkApps notes what is wrong with the apps. Where there are other domains the
// network names apps, too, and chat is an app of its own.
func (c *checker) checkApps(s Settings) {
	apps := s.Apps
	if len(apps) == 0 && s.Meta == "" && s.Source.URL == "" && !s.Chat.Enabled {
		c.refuse("apps", "must name at least one app, unless chat.enabled is true")
	}
	for i, a := range apps {
		c.checkApp("apps["+strconv.Itoa(i)+"].", a, apps[:i])
		for _, other := range a.AllowApps {
			known := slices.ContainsFunc(apps, func(b App) bool { return b.Name == other })
			if !known && s.Meta == "" || other == a.Name {
				c.refuse("apps["+strconv.Itoa(i)+"].allowApps", "%q is not another app of these settings", other)
			}
		}
	}
}

func (c *checker) checkApp(key string, a App, before []App) {
	switch {
	case a.Name == "":
		c.refuse(key+"appName", "is required")
	case !validAppName(a.Name):
		c.refuse(key+"appName", "%q is not an app name: 1 to 64 letters, digits and _", a.Name)
	case slices.ContainsFunc(before, func(b App) bool { return b.Name == a.Name }):
		c.refuse(key+"appName", "%q is named twice", a.Name)
	}
	if a.ID == "" || len(a.ID) > 256 {
		c.refuse(key+"appId", "is required, with at most 256 bytes")
	}
	if a.Master != "" && validAppName(a.Name) && !validUserOf(a.Name, a.Master) {
		c.refuse(key+"masterUserId", "%q is not a user ID of this app: write %s- and a number from 0 on, without leading zeros", a.Master, a.Name)
	}
	if a.AuthURL != "" {
		if err := checkURL(a.AuthURL); err != nil {
			c.refuse(key+"authUrl", "%s", err)
		}
	}
	if a.JWT != nil {
		c.checkJWT(key+"jwt", *a.JWT)
	}
	c.checkWebhooks(key+"webhooks", a.Webhooks, WebhookEvents())
	switch {
	case a.AuthURL != "" && a.JWT != nil:
		c.refuse(key+"jwt", "an app has either authUrl or jwt, not both")
	case a.AuthEnabled && a.AuthURL == "" && a.JWT == nil && !c.single.about(key+"authUrl"):
		c.refuse(key+"authEnabled", "needs authUrl or jwt; write authEnabled: false to let anyone sign in")
	case !a.AuthEnabled && a.AuthURL != "":
		c.refuse(key+"authEnabled", "is false, yet there is authUrl: take one of them away")
	case !a.AuthEnabled && a.JWT != nil:
		c.refuse(key+"authEnabled", "is false, yet there is jwt: take one of them away")
	}
}

func (c *checker) checkJWT(key string, j JWT) {
	given := 0
	for _, text := range []string{string(j.Secret), j.PublicKey, j.JWKSURL} {
		if text != "" {
			given++
		}
	}
	if given > 1 || given == 0 && !c.single.about(key+".secret", key+".publicKey", key+".jwksUrl") {
		c.refuse(key, "needs exactly one of secret, publicKey and jwksUrl")
	}
	if j.Secret != "" && len(j.Secret) < 32 {
		c.refuse(key+".secret", "is too short: HS256 needs at least 32 bytes")
	}
	if j.PublicKey != "" {
		if err := checkPublicKey(j.PublicKey); err != nil {
			c.refuse(key+".publicKey", "%s", err)
		}
	}
	if j.JWKSURL != "" {
		if err := checkURL(j.JWKSURL); err != nil {
			c.refuse(key+".jwksUrl", "%s", err)
		}
	}
}

// checkPublicKey checks that a PEM text holds one public key that RS256, ES256
// or EdDSA can verify with.
func checkPublicKey(text string) error {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return errors.New(`is not one PEM block "PUBLIC KEY"`)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return errors.New("is a PEM block without a readable public key")
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return fmt.Errorf("is an RSA key of %d bits: at least 2048 are needed", key.N.BitLen())
		}
		return nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return errors.New("is an ECDSA key that ES256 cannot use: it must be on P-256")
		}
		return nil
	}
	return errors.New("is neither an RSA, an ECDSA nor an Ed25519 key")
}

// validAppName says whether user IDs can begin with the name.
func validAppName(name string) bool {
	if len(name) < 1 || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// validUserOf says whether id is a user ID of the app: its name, one "-", and
// a number in its one spelling.
func validUserOf(app, id string) bool {
	digits, ok := strings.CutPrefix(id, app+"-")
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && n >= 0 && strconv.FormatInt(n, 10) == digits
}
