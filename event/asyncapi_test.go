package event

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// node is a mapping of the document; its methods fail the test on a wrong path.
type node map[string]any

func document(t *testing.T) node {
	t.Helper()
	var doc node
	if err := yaml.Unmarshal(AsyncAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at walks down a path whose steps are separated by slashes.
func (n node) at(t *testing.T, path string) node {
	t.Helper()
	for step := range strings.SplitSeq(path, "/") {
		next, ok := n[step].(node)
		if !ok {
			t.Fatalf("asyncapi.yaml: no mapping %q on the way to %s", step, path)
		}
		n = next
	}
	return n
}

// ref returns the target of the reference under key, or "".
func (n node) ref(key string) string {
	target, _ := n[key].(node)
	ref, _ := target["$ref"].(string)
	return ref
}

// walk calls visit for every mapping of a document.
func walk(value any, visit func(node)) {
	switch value := value.(type) {
	case node:
		visit(value)
		for _, v := range value {
			walk(v, visit)
		}
	case []any:
		for _, v := range value {
			walk(v, visit)
		}
	}
}

func TestAsyncAPIReferences(t *testing.T) {
	doc := document(t)
	if doc["asyncapi"] != "3.0.0" {
		t.Errorf("asyncapi = %v", doc["asyncapi"])
	}
	used := make(map[string]bool)
	walk(doc, func(n node) {
		ref, ok := n["$ref"].(string)
		if !ok {
			return
		}
		if len(n) != 1 {
			t.Errorf("what stands beside the $ref to %s is ignored", ref)
		}
		path, local := strings.CutPrefix(ref, "#/")
		if !local {
			t.Fatalf("$ref %s leaves the document", ref)
		}
		doc.at(t, path)
		used[ref] = true
	})
	for kind := range doc.at(t, "components") {
		for name := range doc.at(t, "components/"+kind) {
			if ref := "#/components/" + kind + "/" + name; !used[ref] {
				t.Errorf("nothing refers to %s", ref)
			}
		}
	}
}

// TestAsyncAPIChannels holds the Kafka channels to the table of types: one for
// each described type, three for the rest, none besides.
func TestAsyncAPIChannels(t *testing.T) {
	doc := document(t)
	want := map[string]string{
		"other": "customerio_other", "dead_letter": "customerio_dead_letter", "group_dead_letter": "customerio_dead_letter_{group}",
	}
	for _, typ := range Described() {
		want[typ.Name] = "customerio_" + typ.Name
	}
	got := make(map[string]string)
	senders := make(map[string]int)
	for name := range doc.at(t, "channels") {
		channel := doc.at(t, "channels/"+name)
		servers, _ := channel["servers"].([]any)
		if len(servers) != 1 {
			t.Fatalf("channel %s has %d servers", name, len(servers))
		}
		if servers[0].(node)["$ref"] != "#/servers/kafka" {
			continue
		}
		address, _ := channel["address"].(string)
		got[name] = address
		messages := channel.at(t, "messages")
		if ref := messages.ref(name); len(messages) != 1 || ref != "#/components/messages/"+name {
			t.Errorf("channel %s has %d messages, its own is %q", name, len(messages), ref)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("channels and addresses %v,\nwant %v", got, want)
	}
	for name := range doc.at(t, "operations") {
		if operation := doc.at(t, "operations/"+name); operation["action"] == "send" {
			senders[strings.TrimPrefix(operation.ref("channel"), "#/channels/")]++
		}
	}
	for name := range want {
		if senders[name] != 1 {
			t.Errorf("channel %s has %d send operations", name, senders[name])
		}
	}
	if len(senders) != len(want) {
		t.Errorf("send operations for %v", senders)
	}
}

func TestAsyncAPIMessages(t *testing.T) {
	doc := document(t)
	for _, typ := range Described() {
		t.Run(typ.Name, func(t *testing.T) {
			message := doc.at(t, "components/messages/"+typ.Name)
			if message["name"] != typ.Name || message["summary"] != typ.Summary {
				t.Errorf("name, summary = %v, %v", message["name"], message["summary"])
			}
			if got, want := message.ref("payload"), "#/components/schemas/"+typ.Name; got != want {
				t.Errorf("payload is %q, want %q", got, want)
			}
			var shapes []string
			examples, _ := message["examples"].([]any)
			for _, e := range examples {
				example := e.(node)
				shape, _ := example["name"].(string)
				shapes = append(shapes, shape)
				payload := example.at(t, "payload")
				if _, named := payload["object_type"]; named != (shape == "withObjectType") {
					t.Errorf("example %s: object_type = %v", shape, payload["object_type"])
				}
				body, err := json.Marshal(payload)
				if err != nil {
					t.Fatal(err)
				}
				if ev, err := Parse(body); err != nil || ev.Type != typ.Name || ev.ID == "" || ev.Time.IsZero() || ev.Key == "" {
					t.Errorf("example %s: Parse = %+v, %v", shape, ev, err)
				}
			}
			if !slices.Equal(shapes, []string{"withObjectType", "withoutObjectType"}) {
				t.Errorf("examples %v", shapes)
			}
		})
	}
}

// TestAsyncAPIWebhook names what users of the webhook rely on.
func TestAsyncAPIWebhook(t *testing.T) {
	doc := document(t)
	if address := doc.at(t, "channels/webhook")["address"]; address != "/webhook" {
		t.Errorf("address = %v", address)
	}
	if method := doc.at(t, "operations/receive_webhook/bindings/http")["method"]; method != "POST" {
		t.Errorf("method = %v", method)
	}
	headers := doc.at(t, "components/schemas/webhookHeaders/properties")
	for _, name := range []string{"X-CIO-Timestamp", "X-CIO-Signature", "X-CIO-Delivery-ID"} {
		headers.at(t, name)
	}
	var codes []int
	for name := range doc.at(t, "channels/answers/messages") {
		ref := doc.at(t, "channels/answers/messages").ref(name)
		answer := doc.at(t, strings.TrimPrefix(ref, "#/"))
		code, _ := answer.at(t, "bindings/http")["statusCode"].(int)
		codes = append(codes, code)
	}
	slices.Sort(codes)
	if !slices.Equal(codes, []int{200, 401, 404, 405, 408, 413, 503}) {
		t.Errorf("answers %v", codes)
	}
	reasons, _ := doc.at(t, "components/schemas/deadLetterHeaders/properties/sluice-reason")["description"].(string)
	for _, reason := range []Reason{ReasonNotJSON, ReasonNotObject, ReasonNoType, ReasonBadType} {
		if !strings.Contains(reasons, string(reason)) {
			t.Errorf("sluice-reason does not tell of %s", reason)
		}
	}
}

// TestAsyncAPIData holds the fields that the schemas name to those that Decode reads.
func TestAsyncAPIData(t *testing.T) {
	doc := document(t)
	properties := func(n node) []string {
		of, _ := n["properties"].(node)
		return slices.Collect(maps.Keys(of))
	}
	var data, identifiers, device []string
	walk(doc.at(t, "components/schemas"), func(n node) {
		of, _ := n["properties"].(node)
		for name, value := range of {
			value, _ := value.(node)
			switch name {
			case "data":
				data = append(data, properties(value)...)
			case "identifiers":
				identifiers = append(identifiers, properties(value)...)
			case "recipients":
				device = append(device, properties(value.at(t, "items"))...)
			}
		}
	})
	data = append(data, properties(doc.at(t, "components/schemas/data"))...)
	for _, x := range []struct {
		of       any
		document []string
	}{{Data{}, data}, {Identifiers{}, identifiers}, {Device{}, device}} {
		var fields []string
		for f := range reflect.TypeOf(x.of).Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
				fields = append(fields, name)
			}
		}
		slices.Sort(fields)
		slices.Sort(x.document)
		if !slices.Equal(fields, x.document) {
			t.Errorf("%T has   %q\nthe document %q", x.of, fields, x.document)
		}
	}
}
