package config

import (
	"reflect"
	"slices"
	"strings"
)

// envPrefix begins every environment variable of Sluice.
const envPrefix = "SLUICE_"

// Env is the environment variable of the setting with that flag.
func Env(flag string) string { return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

// Setting is one setting as its users meet it, derived from a field of [Config] and its tags.
type Setting struct {
	Key     string   // key in the YAML file; "" for config itself, which no file can set
	Flag    string   // without the leading dashes
	Env     string   // environment variable
	FileEnv string   // environment variable that names a file holding the value; "" unless the value may be secret
	Group   string   // heading in help texts; "" for config
	Default string   // as text; "" may mean none
	OneOf   []string // the only values allowed, in order; nil if others are

	help, shown     string
	min, max, why   string
	placeholder     string
	negatable, bool bool
}

// field is a setting together with the place where its value is kept.
type field struct {
	Setting
	value  reflect.Value // addressable
	given  given
	refuse bool
}

// pointer identifies the field: it equals &c.Listen for the field of c.Listen.
func (f *field) pointer() any { return f.value.Addr().Interface() }

// fieldsOf lists the settings of c in the order of their declaration.
func fieldsOf(c *Config) []*field {
	return collect(reflect.ValueOf(c).Elem(), "", nil)
}

func collect(group reflect.Value, title string, into []*field) []*field {
	for i := range group.NumField() {
		declared := group.Type().Field(i)
		if declared.Anonymous {
			into = collect(group.Field(i), declared.Tag.Get("group"), into)
			continue
		}
		into = append(into, &field{Setting: describe(declared, title), value: group.Field(i)})
	}
	return into
}

func describe(declared reflect.StructField, group string) Setting {
	tag := declared.Tag
	name := tag.Get("name")
	s := Setting{
		Key:         strings.ReplaceAll(name, "-", "_"),
		Flag:        name,
		Env:         Env(name),
		Group:       group,
		Default:     tag.Get("default"),
		help:        tag.Get("help"),
		shown:       tag.Get("shown"),
		min:         tag.Get("min"),
		max:         tag.Get("max"),
		why:         tag.Get("why"),
		placeholder: tag.Get("placeholder"),
		bool:        declared.Type.Kind() == reflect.Bool,
	}
	_, s.negatable = tag.Lookup("negatable")
	if list, found := tag.Lookup("oneof"); found {
		s.OneOf = strings.Split(list, ",")
	}
	if name == "config" {
		s.Key = ""
	}
	switch reflect.New(declared.Type).Interface().(type) {
	case *Secret, *SigningKeys, *URL:
		s.FileEnv = s.Env + "_FILE"
	}
	return s
}

// in reports whether the setting belongs to one of the groups; nil stands for all. config belongs to every command.
func (s Setting) in(groups []string) bool {
	return groups == nil || s.Group == "" || slices.Contains(groups, s.Group)
}

// Name is the key, or "config" for the setting that has none.
func (s Setting) Name() string {
	return strings.ReplaceAll(s.Flag, "-", "_")
}

// Description is the help text with the bounds.
func (s Setting) Description() string {
	bounds := s.bounds()
	if bounds == "" {
		return s.help
	}
	return s.help + " " + strings.ToUpper(bounds[:1]) + bounds[1:] + "."
}

// DefaultText is the default as help texts show it.
func (s Setting) DefaultText() string {
	if s.shown != "" {
		return s.shown
	}
	return s.Default
}

// bounds words min, max and why: "at least 75s: proxies …".
func (s Setting) bounds() string {
	var text string
	switch {
	case s.min != "" && s.max != "":
		text = "between " + s.min + " and " + s.max
	case s.min != "":
		text = "at least " + s.min
	case s.max != "":
		text = "at most " + s.max
	default:
		return ""
	}
	if s.why != "" {
		text += ": " + s.why
	}
	return text
}
