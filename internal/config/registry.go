package config

// Registry says which services there are.
type Registry struct {
	File      string `yaml:"file"`      // of static instances, in YAML; empty: there are none
	Instances int    `yaml:"instances"` // that there may be
}

func registryKeys() []Key {
	return []Key{
		{Name: "registry.file", Kind: kindFile, optional: true, Live: true,
			What:  "File with static instances of services, in YAML: [gateway.md](gateway.md#static-instances). It is read again with the settings (SIGHUP).",
			field: func(s *Settings) any { return &s.Registry.File }},
		{Name: "registry.instances", Kind: kindCount, Default: "10000", Min: 1, Max: 100_000, Live: true,
			What:  "Instances of services that may be registered at once, and as many again in the file; one more is refused. The same on all nodes.",
			field: func(s *Settings) any { return &s.Registry.Instances }},
	}
}

// checkRegistry notes a file of static instances that cannot be read; what is in it is
// checked by whoever knows what an instance is.
func (c *checker) checkRegistry(r Registry) {
	if r.File == "" {
		return
	}
	if _, err := readRegular(r.File); err != nil {
		c.refuse("registry.file", "%s", err)
	}
}
