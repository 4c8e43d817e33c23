package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// Grammar is the kong option that makes the flags of every command that embeds [Config] ours. A command that uses only
// some of the settings names their groups in a tag, groups:"Kafka,Topics", and has only those flags. Kong takes their text
// without reading it, so that Load can read it as it reads the other sources', and says all that is wrong at once.
//
// Kong's own env tag and resolvers aren't used, because their order is another: a resolver is asked for every flag that
// isn't on the command line, and what it finds replaces what came from the environment (Context.Resolve after Reset).
func Grammar() kong.Option {
	return kong.PostBuild(func(k *kong.Kong) error {
		return kong.Visit(k.Model, func(visited kong.Visitable, next kong.Next) error {
			if node, ok := visited.(*kong.Node); ok {
				node.Flags = takeOver(node.Target, node.Flags)
			}
			if app, ok := visited.(*kong.Application); ok {
				app.Flags = takeOver(app.Target, app.Flags)
			}
			return next(nil)
		})
	})
}

// takeOver finds the Config embedded in a command and gives each of its flags a mapper that keeps the text. It returns
// the flags without those of the groups that the command doesn't name.
func takeOver(command reflect.Value, flags []*kong.Flag) []*kong.Flag {
	embedded, groups := embeddedIn(command)
	if embedded == nil {
		return flags
	}
	settings := make(map[any]Setting)
	for _, f := range fieldsOf(embedded) {
		settings[f.pointer()] = f.Setting
	}
	var kept []*kong.Flag
	for _, flag := range flags {
		setting, ours := settings[flag.Target.Addr().Interface()]
		if !ours || setting.in(groups) {
			kept = append(kept, flag)
		}
		if !ours {
			continue
		}
		flag.Mapper = &flagText{Setting: setting}
		flag.HasDefault = false // Load applies defaults; kong would hand the default's text to the mapper
		if flag.Group != nil {
			flag.Group.Title = flag.Group.Key + ":"
		}
	}
	return kept
}

// embeddedIn finds the Config embedded in a command, and the groups in its tag, nil for all:
//
//	config.Config `groups:"Kafka,Topics"`
func embeddedIn(command reflect.Value) (*Config, []string) {
	if command.Kind() != reflect.Struct {
		return nil, nil
	}
	for i := range command.NumField() {
		declared := command.Type().Field(i)
		if !declared.Anonymous || declared.Type != reflect.TypeFor[Config]() {
			continue
		}
		var groups []string
		if names := declared.Tag.Get("groups"); names != "" {
			groups = strings.Split(names, ",")
		}
		return command.Field(i).Addr().Interface().(*Config), groups
	}
	return nil, nil
}

// flagText is the mapper of a setting's flag. It keeps the text that was given last.
type flagText struct {
	Setting
	text string
}

// Decode takes the flag's text from the command line. A flag of a bool may stand alone.
func (t *flagText) Decode(ctx *kong.DecodeContext, _ reflect.Value) error {
	if t.IsBool() && ctx.Scan.Peek().Type != kong.FlagValueToken {
		t.text = "true"
		return nil
	}
	token, err := ctx.Scan.PopValue("value")
	if err != nil {
		return fmt.Errorf("reading the value: %w", err)
	}
	t.text = fmt.Sprint(token.Value)
	return nil
}

// IsBool tells kong that the flag needs no value.
func (t *flagText) IsBool() bool { return t.bool }

// PlaceHolder is what stands for the value in the help.
func (t *flagText) PlaceHolder(flag *kong.Flag) string {
	if t.placeholder != "" {
		return t.placeholder
	}
	if t.OneOf != nil {
		return strings.Trim(strings.Join(t.OneOf, "|"), "|")
	}
	switch flag.Target.Interface().(type) {
	case int:
		return "N"
	case Size:
		return "SIZE"
	default:
		return "DURATION"
	}
}

// SourcesOf is the command line together with the environment, for the groups of settings that the command uses.
func SourcesOf(parsed *kong.Context, environ []string) Sources {
	src := Sources{Flags: FlagsOf(parsed), Environ: environ}
	if command := parsed.Selected(); command != nil {
		_, src.Groups = embeddedIn(command.Target)
	}
	return src
}

// FlagsOf collects the flags of the embedded [Config] that were on the command line, for [Sources].
func FlagsOf(parsed *kong.Context) map[string]string {
	flags := make(map[string]string)
	for _, step := range parsed.Path {
		if step.Flag == nil {
			continue
		}
		if given, ours := step.Flag.Mapper.(*flagText); ours {
			flags[given.Flag] = given.text
		}
	}
	return flags
}

// FlagHelp words the help of a flag: for settings with bounds, default and environment variable, for other flags as
// kong does. It is meant for kong.ValueFormatter.
func FlagHelp(value *kong.Value) string {
	t, ours := value.Mapper.(*flagText)
	if !ours {
		return kong.DefaultHelpValueFormatter(value)
	}
	names := t.Env
	if t.FileEnv != "" {
		names += " or " + t.FileEnv
	}
	return fmt.Sprintf("%s (default %s; %s)", t.Description(), t.DefaultText(), names)
}
