package curlcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// files are what the command lines of the tests may read.
func files(name string) ([]byte, error) {
	switch name {
	case "body.json":
		return []byte("{\r\n  \"a\": 1\x00\n}\n"), nil
	case "flat.json":
		return []byte(`{"a":1}`), nil
	case "headers.txt":
		return []byte("X-One: 1\r\nX-Two: 2\n"), nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func TestParse(t *testing.T) {
	const file, flat = "{\r\n  \"a\": 1\x00\n}\n", `{"a":1}`
	tests := []struct {
		name, text     string
		method, url    string
		body, original string
		header         string // "Name: value" lines, sorted; Content-Type of -d left out
		ignored        []string
	}{
		{name: "plain", text: "curl http://x/webhook", method: "GET", url: "http://x/webhook"},
		{
			name: "the readme's way", text: "key=k\nbody='{\"a\":\"ü\"}'\ntime=17\ncurl -sS http://x/webhook -H \"X-CIO-Timestamp: $time\" -H \"X-CIO-Signature: ${key}\" -d \"$body\"",
			method: "POST", url: "http://x/webhook", body: `{"a":"ü"}`, header: "X-Cio-Signature: k\nX-Cio-Timestamp: 17",
		},
		{
			name: "a browser's way", text: "curl 'https://x/y?a=b&c' \\\n  -X 'POST' \\\r\n  -H 'accept: */*' --data-raw $'{\\'a\\':\\u0021\\n\\xc3\\xbc\\u00e4}' --compressed --insecure ;",
			method: "POST", url: "https://x/y?a=b&c", body: "{'a':!\nüä}", header: "Accept: */*",
		},
		{name: "prompt", text: "\n$ curl -d a x", method: "POST", url: "x", body: "a"},
		{name: "pipe and export", text: "export A=1; curl -d \"$A\" x | jq .", method: "POST", url: "x", body: "1"},
		{name: "path of curl", text: "/usr/bin/curl -d a x", method: "POST", url: "x", body: "a"},
		{name: "assignments for curl alone don't count", text: "A=2\nA=1 curl -d $A x", method: "POST", url: "x", body: "2"},
		{name: "unused substitution", text: "now=$(date +%s)\ncurl -d a x", method: "POST", url: "x", body: "a"},
		{name: "empty variable", text: "A=\ncurl -d \"<$A>\" x", method: "POST", url: "x", body: "<>"},

		{name: "several data", text: "curl -d a=1 --data b=2 --data-raw @c x", method: "POST", url: "x", body: "a=1&b=2&@c"},
		{name: "file stripped", text: "curl -d @body.json x", method: "POST", url: "x", body: `{  "a": 1}`, original: file},
		{name: "file stripped, joined flag", text: "curl -sSd@body.json x", method: "POST", url: "x", body: `{  "a": 1}`, original: file},
		{name: "file and text", text: "curl --data-ascii @body.json -d 'a\nb' x", method: "POST", url: "x", body: "{  \"a\": 1}&a\nb", original: file + "&a\nb"},
		{name: "file without line breaks", text: "curl -d @flat.json x", method: "POST", url: "x", body: flat},
		{name: "file as it is", text: "curl --data-binary @body.json x", method: "POST", url: "x", body: file},
		{name: "json", text: "curl --json @body.json x", method: "POST", url: "x", body: file},
		{name: "json in parts", text: "curl --json '{' --json '}' x", method: "POST", url: "x", body: "{}"},
		{
			name: "urlencode", text: "curl --data-urlencode 'a=b c' --data-urlencode =é --data-urlencode 'x y' --data-urlencode n@flat.json x",
			method: "POST", url: "x", body: "a=b%20c&%C3%A9&x%20y&n=%7B%22a%22%3A1%7D",
		},
		{name: "upload", text: "curl -T body.json x", method: "PUT", url: "x", body: file},
		{name: "upload by POST", text: "curl -XPOST -T- x < body.json", method: "POST", url: "x", body: file},
		{name: "here-document", text: "curl x --data-binary @- <<'EOF'\n{\"a\":\"$b\"}\nEOF\n", method: "POST", url: "x", body: "{\"a\":\"$b\"}\n"},
		{name: "here-document stripped", text: "b=1\ncurl x -d @- <<EOF\n{\"a\":\"$b\"}\nEOF\n", method: "POST", url: "x", body: `{"a":"1"}`, original: "{\"a\":\"1\"}\n"},
		{name: "here-string", text: "curl x --data-binary @- <<<'{}'", method: "POST", url: "x", body: "{}\n"},
		{name: "in the URL", text: "curl -G -d a=1 x", method: "GET", url: "x"},
		{name: "head", text: "curl -I x", method: "HEAD", url: "x"},
		{name: "empty data", text: "curl -d '' x", method: "POST", url: "x"},

		{name: "joined flags", text: "curl -sSXPUT -Hx-a:1 -d{} x", method: "PUT", url: "x", body: "{}", header: "X-A: 1"},
		{
			name: "headers", text: "curl -H 'X-Empty;' -H 'X-Gone:' --header 'X-A:  spaced ' -H @headers.txt -A me x",
			method: "GET", url: "x", header: "User-Agent: me\nX-A: spaced\nX-Empty: \nX-One: 1\nX-Two: 2",
		},
		{name: "flags with values", text: "curl --connect-timeout 5 -o out -u a:b -m1 --resolve h:1:2 --retry 3 -kLw '%{http_code}' --url x -d a", method: "POST", url: "x", body: "a"},
		{name: "unknown flags", text: "curl --frobnicate --no-progress-meter --no-compressed -? x", method: "GET", url: "x", ignored: []string{"--frobnicate", "-?"}},
		{name: "after --", text: "curl -d a -- -x", method: "POST", url: "-x", body: "a"},
		{name: "braces expanded", text: "curl {-d,-H}{x:1,y:2} --url x", method: "POST", url: "x", body: "x:1&y:2", header: "X: 1\nY: 2"},
		{name: "braces and stars", text: "curl -d '{a,b}*' \"http://x/*?[a]\"", method: "POST", url: "http://x/*?[a]", body: "{a,b}*"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := Parse(test.text, Options{ReadFile: files})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Del("Content-Type")
			if r.Method != test.method || r.URL != test.url || string(r.Body) != test.body || string(r.Original) != test.original || !slices.Equal(r.Ignored, test.ignored) {
				t.Errorf("got %s %s %q (%q) ignored %q", r.Method, r.URL, r.Body, r.Original, r.Ignored)
			}
			if got := headerText(r); got != test.header {
				t.Errorf("headers\n%s\nwant\n%s", got, test.header)
			}
		})
	}
}

func headerText(r *Request) string {
	var all []string
	for name, values := range r.Header {
		for _, value := range values {
			all = append(all, name+": "+value)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestParseContentType(t *testing.T) {
	for text, want := range map[string]string{
		"curl -d a x":     "application/x-www-form-urlencoded",
		"curl --json a x": "application/json",
		"curl -H 'content-type: text/plain' -d a x": "text/plain",
		"curl -H 'Content-Type:' -d a x":            "",
		"curl x":                                    "",
	} {
		r, err := Parse(text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Content-Type"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		text string
		want error
		says string
	}{
		{"", ErrNoCommand, ""},
		{"wget x", ErrNoCommand, ""},
		{"curl a; curl b", ErrSeveral, ""},
		{"curl a b", ErrSeveral, ""},
		{"curl a --next b", ErrSeveral, ""},
		{"curl -:", ErrSeveral, ""},
		{`curl ^"http://x^"`, ErrForeignShell, ""},
		{"Invoke-WebRequest -Uri x", ErrForeignShell, ""},
		{"\ncurl -H \"X: $(date +%s)\" x", ErrSubstitution, "line 1"},
		{"curl -d `date` x", ErrSubstitution, ""},
		{"curl -d @<(echo) x", ErrSubstitution, ""},
		{"now=$(date)\ncurl \\\n -d \"a$now\" x", ErrSubstitution, "$now"},
		{"curl -d \"$body\" x", ErrUnset, "$body"},
		{"curl -d \"$1\" x", ErrUnset, "$1"},
		{"curl -d ${HOME} x", ErrUnset, "$HOME"},
		{"a=1; curl -d ${a:-2} x", ErrExpansion, ""},
		{"a=(1 2); curl -d $a x", ErrExpansion, "$a"},
		{"curl -d $((1+1)) x", ErrExpansion, ""},
		{"curl -d {1..999999999999} x", ErrExpansion, "braces"},
		{"curl -d " + strings.Repeat("{a,b}", 60) + " x", ErrExpansion, "braces"},
		{"curl x <<EOF\n$b\nEOF", ErrUnset, "$b"},
		{"curl -F a=b x", ErrUnsupported, "--form"},
		{"curl -d", ErrNoValue, "-d"},
		{"curl --data", ErrNoValue, "--data"},
		{"curl -d @- x", ErrNoInput, ""},
		{"curl -T - x", ErrNoInput, ""},
		{"curl -d @absent x", fs.ErrNotExist, "absent"},
		{"curl -H @absent x", fs.ErrNotExist, "absent"},
		{"curl x < absent", fs.ErrNotExist, "absent"},
		{"curl 'x", nil, "quote"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			r, err := Parse(test.text, Options{ReadFile: files})
			if err == nil || (test.want != nil && !errors.Is(err, test.want)) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %+v, %v; want %v with %q", r, err, test.want, test.says)
			}
		})
	}
	if _, err := Parse("curl -d @x y", Options{}); !errors.Is(err, errNoFiles) {
		t.Errorf("without a way to read files: %v", err)
	}
}

func TestParseHTTP(t *testing.T) {
	const head = "POST /webhook HTTP/1.1\nHost: x\nX-CIO-Timestamp:  17 \n"
	tests := []struct {
		name, text, body string
		notes            int
	}{
		{"as logs show it", head + "\n{}\n", "{}\n", 0},
		{"as on the wire", "POST /webhook HTTP/1.1\r\nX-Cio-Timestamp: 17\r\nContent-Length: 2\r\n\r\n{}", "{}", 0},
		{"an editor's line break", head + "Content-Length: 2\n\n{}\n", "{}", 1},
		{"too long", head + "Content-Length: 2\n\n{}x", "{}x", 1},
		{"too short", head + "Content-Length: 3\n\n{}", "{}", 1},
		{"chunks", head + "Transfer-Encoding: chunked\n\n2\r\n{}\r\n0\r\n\r\n", "{}", 0},
		{"chunked, written whole", head + "Transfer-Encoding: chunked\n\n{}", "{}", 1},
		{"HTTP/2", "POST /webhook HTTP/2\nx-cio-timestamp: 17\n\n{}", "{}", 0},
		{"no body", head, "", 0},
		{"no body, empty line", "\n" + head + "\n", "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := ParseHTTP([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if r.Method != http.MethodPost || r.URL != "/webhook" || r.Header.Get("X-CIO-Timestamp") != "17" || string(r.Body) != test.body || len(r.Notes) != test.notes {
				t.Errorf("got %+v with body %q", r, r.Body)
			}
		})
	}
	for _, text := range []string{"", "\n", "{}", "POST /webhook", "GET / FTP/1\n\n", "POST / HTTP/1.1\nno header\n\n", "POST /webhook HTTP/1.1\nContent-Length: x\n\n"} {
		if r, err := ParseHTTP([]byte(text)); !errors.Is(err, ErrNotHTTP) {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a=1\ncurl -sSd \"$a\" --json $'\\x41' x <<EOF\nEOF\n")
	f.Add("curl -H @headers.txt -T - -? ${a} \"$(b)\" x")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text, Options{ReadFile: files})
		if (r == nil) == (err == nil) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
