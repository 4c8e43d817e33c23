package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/internal/testenv"
)

// doctor runs the command for the instance whose admin port is at address.
func doctor(t *testing.T, address string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"doctor"}, args...), &process{environ: []string{"SLUICE_ADMIN_LISTEN=" + address}, stdout: &out, stderr: &errs})
	return code, out.String(), errs.String()
}

func TestDoctor(t *testing.T) {
	s := serve(t, settings(testenv.Fake(t)))
	address := strings.TrimPrefix(s.admin, "http://")
	if code, out, errs := doctor(t, address); code != exitOK || !strings.Contains(out, "sluice  ready") || !strings.Contains(out, "redis") || !strings.Contains(out, "events  0 accepted") || errs != "" {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	// Where it listens on every interface it is asked on loopback.
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, every := range []string{":" + port, "0.0.0.0:" + port} {
		if code, out, errs := doctor(t, every, "--ready"); code != exitOK || out+errs != "" {
			t.Errorf("%s: %d: %s%s", every, code, out, errs)
		}
	}
}

func TestDoctorOfOneThatIsntReady(t *testing.T) {
	for name, tt := range map[string]struct {
		body, want string
	}{
		"draining":     {`{"state":"draining","dependencies":[{"name":"kafka","up":false,"since":"2026-01-01T00:00:00Z","detail":"no broker"}]}`, "the instance is draining"},
		"another host": {`<html>`, "not the answer of sluice"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer srv.Close()
			code, out, errs := doctor(t, srv.Listener.Addr().String())
			if code != exitFailure || !strings.Contains(errs, tt.want) {
				t.Errorf("%d: %s", code, errs)
			}
			if name == "draining" && !strings.Contains(out, "kafka   away since 2026-01-01T00:00:00Z: no broker") {
				t.Errorf("prints %s", out)
			}
		})
	}
}

// TestEveryCommandShowsExamples holds the help texts to two examples each.
func TestEveryCommandShowsExamples(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("sluice"), config.Grammar())
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Leaves(true) {
		_, examples, found := strings.Cut(command.Detail, "Examples:\n")
		if n := strings.Count(examples, "\n    # "); !found || n < 2 || !strings.Contains(examples, command.FullPath()) {
			t.Errorf("%s has %d examples", command.FullPath(), n)
		}
	}
}
