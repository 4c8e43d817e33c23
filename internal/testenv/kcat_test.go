package testenv

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseKcat(t *testing.T) {
	line := `{"topic":"a_b","partition":3,"offset":12,"tstype":"create","ts":1700000000123,"broker":1,` +
		`"headers":["h=,1","\u0000x\n` + "\xff\xfe" + `","h=,1",null,"e",""],"key":null,"payload":"\"\\ \/\b\f\r\t\u001f` + "\u00e9\x80" + `"}` + "\n" +
		`{"topic":"a_b","partition":3,"offset":13,"tstype":"create","ts":1700000000124,"broker":1,"key":"","payload":null}` + "\n"
	got, err := parseKcat(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{
			Topic: "a_b", Partition: 3, Offset: 12, Time: time.UnixMilli(1700000000123),
			Value:   []byte("\"\\ /\b\f\r\t\x1f\u00e9\x80"),
			Headers: []Header{{"h=,1", []byte("\x00x\n\xff\xfe")}, {"h=,1", nil}, {"e", []byte{}}},
		},
		{Topic: "a_b", Partition: 3, Offset: 13, Time: time.UnixMilli(1700000000124), Key: []byte{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseKcat:\n got %#v\nwant %#v", got, want)
	}
}

func TestParseKcatErrors(t *testing.T) {
	for name, line := range map[string]string{
		"cut":                  `{"topic":"a","partition":3,"offs`,
		"no object":            `[]`,
		"a field of no kcat":   `{"colour":"red"}`,
		"a number that isn't":  `{"offset":-}`,
		"an escape that isn't": `{"topic":"\x"}`,
		"a rune in an escape":  `{"topic":"\u0141"}`,
		"a cut escape":         `{"topic":"\u00`,
		"a header without end": `{"headers":["a"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseKcat(strings.NewReader(line)); err == nil {
				t.Errorf("parsed as %+v, want an error", got)
			}
		})
	}
}

// kcatText writes a string as kcat 1.7 does.
func kcatText(b []byte) string {
	if b == nil {
		return "null"
	}
	var out bytes.Buffer
	out.WriteByte('"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			out.Write([]byte{'\\', c})
		case c == '\n':
			out.WriteString(`\n`)
		case c < 0x20:
			fmt.Fprintf(&out, `\u%04X`, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

func FuzzParseKcat(f *testing.F) {
	f.Add([]byte("key"), []byte("{\"a\": 1}\n"), "name", []byte{0, 0xff})
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte) {
		line := fmt.Sprintf(`{"topic":"t","partition":0,"offset":1,"tstype":"create","ts":5,"broker":1,"headers":[%s,%s],"key":%s,"payload":%s}`,
			kcatText([]byte(name)), kcatText(header), kcatText(key), kcatText(value))
		got, err := parseKcat(strings.NewReader(line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		want := []Record{{
			Topic: "t", Offset: 1, Time: time.UnixMilli(5), Key: key, Value: value,
			Headers: []Header{{name, header}},
		}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %#v, want %#v", got, want)
		}
	})
}
