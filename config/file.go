package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileValue is what the YAML file holds for one key.
type fileValue struct {
	text string
	line int
	err  error // why the value can't be taken
}

// readFile reads the settings of a YAML file: one mapping of keys to values, each value the same text that the flag
// takes. Lists may also be YAML lists, and topic_overrides a mapping. It goes on after a problem, to report them all.
func readFile(path string, content []byte, fields []*field) (map[string]fileValue, []string) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) { // nothing but comments
			return nil, nil
		}
		return nil, []string{fmt.Sprintf("%s: %s", path, syntaxText(err))}
	}
	var problems []string
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		problems = append(problems, fmt.Sprintf("%s:%d: a second document begins; want only one", path, second.Line))
	} else if !errors.Is(err, io.EOF) {
		problems = append(problems, fmt.Sprintf("%s: %s", path, syntaxText(err)))
	}
	root := document.Content[0]
	if isNull(root) {
		return nil, problems
	}
	if root.Kind != yaml.MappingNode {
		return nil, append(problems, fmt.Sprintf("%s:%d: want lines of the form key: value", path, root.Line))
	}
	values, more := readMapping(path, root, fields)
	return values, append(problems, more...)
}

func readMapping(path string, root *yaml.Node, fields []*field) (map[string]fileValue, []string) {
	byKey := make(map[string]*field)
	var keys []string
	for _, f := range fields {
		if f.Key != "" {
			byKey[f.Key] = f
			keys = append(keys, f.Key)
		}
	}
	values := make(map[string]fileValue)
	var problems []string
	// A mapping's Content holds keys and values in turn.
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		f, known := byKey[key.Value]
		switch first, twice := values[key.Value]; {
		case !known:
			problems = append(problems, unknownKey(path, key, keys))
		case twice:
			problems = append(problems, fmt.Sprintf("%s:%d: %s stands there again, after line %d", path, key.Line, key.Value, first.line))
		default:
			text, err := nodeText(value, f.value.Type())
			values[key.Value] = fileValue{text: text, line: key.Line, err: err}
		}
	}
	return values, problems
}

func unknownKey(path string, key *yaml.Node, keys []string) string {
	where := fmt.Sprintf("%s:%d: %s", path, key.Line, key.Value)
	if key.Value == "config" {
		return where + ": a file can't name another; use --config or SLUICE_CONFIG"
	}
	guess := nearest(strings.TrimPrefix(strings.ToLower(key.Value), "sluice_"), keys)
	if guess == "" {
		return where + ": no such setting; sluice config lists them all"
	}
	return fmt.Sprintf("%s: no such setting; did you mean %s?", where, guess)
}

// nodeText turns a value into the text that the flag would take.
func nodeText(node *yaml.Node, target reflect.Type) (string, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case isNull(node):
		return "", errors.New(`no value follows; remove the line, or write "" for an empty text`)
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case node.Kind == yaml.SequenceNode && target.Kind() == reflect.Slice:
		return sequenceText(node)
	case node.Kind == yaml.MappingNode && target == reflect.TypeFor[TopicOverrides]():
		return overridesText(node)
	case node.Kind == yaml.SequenceNode:
		return "", errors.New("want a single value, not a list")
	default:
		return "", errors.New("want a single value, not a mapping")
	}
}

func sequenceText(node *yaml.Node) (string, error) {
	var entries []string
	for _, entry := range node.Content {
		if entry.Kind != yaml.ScalarNode || isNull(entry) || strings.ContainsAny(entry.Value, ",\n") {
			return "", fmt.Errorf("want a list of single values without commas in them; line %d isn't one", entry.Line)
		}
		entries = append(entries, entry.Value)
	}
	return strings.Join(entries, ","), nil
}

// overridesText writes {email_sent: {partitions: 12}} as email_sent:partitions=12.
func overridesText(node *yaml.Node) (string, error) {
	var entries []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, override := node.Content[i], node.Content[i+1]
		if override.Kind != yaml.MappingNode {
			return "", fmt.Errorf("want a mapping under %s, such as {partitions: 12, retention: 168h}", name.Value)
		}
		var pairs []string
		for j := 0; j+1 < len(override.Content); j += 2 {
			key, value := override.Content[j].Value, override.Content[j+1]
			if value.Kind != yaml.ScalarNode || strings.ContainsAny(value.Value, ",;") {
				return "", fmt.Errorf("want a single value for %s of %s", key, name.Value)
			}
			pairs = append(pairs, key+"="+value.Value)
		}
		entries = append(entries, name.Value+":"+strings.Join(pairs, ","))
	}
	return strings.Join(entries, ";"), nil
}

// quotedWord matches what the YAML parser quotes from the file, but not the punctuation that it expected.
var quotedWord = regexp.MustCompile(`'[^']{4,}'`)

// syntaxText words a parser's error without words from the file: an unquoted password that begins with * is taken for
// the name of an unknown anchor, and repeated.
func syntaxText(err error) string {
	return quotedWord.ReplaceAllString(err.Error(), "'"+mask+"'")
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }
