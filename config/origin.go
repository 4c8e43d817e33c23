package config

import (
	"fmt"
	"strconv"
)

// Source is a kind of place that a value can come from.
type Source string

// The sources, from the one that wins to the one that is asked last.
const (
	SourceFlag    Source = "flag"
	SourceEnv     Source = "env"
	SourceFile    Source = "file"
	SourceDefault Source = "default"
)

// Origin is where the value of a setting comes from.
type Origin struct {
	Source Source
	// Name is the flag with its dashes, the environment variable (that of the _FILE variant if it was used), or the
	// YAML file's path, a colon and the key; "" for a default.
	Name string
}

// String words the origin: "flag --listen", "env SLUICE_LISTEN", "file sluice.yaml:listen", "default".
func (o Origin) String() string {
	if o.Name == "" {
		return string(o.Source)
	}
	return string(o.Source) + " " + o.Name
}

// given is what a source holds for a setting.
type given struct {
	text   string
	shown  string // the text as it may be repeated in messages: the path for a _FILE variable, masked if secret
	origin Origin
	line   int    // in the YAML file
	path   string // of the YAML file
	err    error  // why there is no usable text
}

// label names the setting together with what was given for it, as its user wrote it.
func (f *field) label() string {
	quoted := "=" + strconv.Quote(f.given.shown)
	if f.given.shown == mask {
		quoted = "=" + mask
	}
	switch f.given.origin.Source {
	case SourceFlag, SourceEnv:
		return f.given.origin.Name + quoted
	case SourceFile:
		return fmt.Sprintf("%s:%d: %s%s", f.given.path, f.given.line, f.Key, quoted)
	default:
		return f.Env + quoted + " (the default)"
	}
}

// name names the setting as its user did, or by its environment variable.
func (f *field) name() string {
	switch f.given.origin.Source {
	case SourceFlag:
		return "--" + f.Flag
	case SourceFile:
		return f.Key
	default:
		return f.Env
	}
}
