package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribeBuild(t *testing.T) {
	vcs := func(modified string) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main:     debug.Module{Version: "v1.2.3"},
			Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.modified", Value: modified}},
		}
	}
	tests := []struct {
		name            string
		info            *debug.BuildInfo
		version, commit string
		want            build
	}{
		{"nothing known", nil, "", "", build{version: "devel", commit: "unknown"}},
		{"outside a checkout", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "", "", build{version: "devel", commit: "unknown"}},
		{"in a checkout", vcs("false"), "", "", build{version: "v1.2.3", commit: "0123abc"}},
		{"in a changed checkout", vcs("true"), "", "", build{version: "v1.2.3", commit: "0123abc (modified)"}},
		{"stamped", vcs("true"), "v2.0.0", "fedcba9", build{version: "v2.0.0", commit: "fedcba9"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.want.goVersion = runtime.Version()
			if got := describeBuild(test.info, test.version, test.commit); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestVersionStamp builds the program as an image does: a stamp whose variable has been renamed or moved is ignored by
// the linker without a word.
func TestVersionStamp(t *testing.T) {
	t.Parallel() // nothing here depends on a machine of its own
	binary := filepath.Join(t.TempDir(), "sluice.exe")
	out, err := exec.Command("go", "build", "-o", binary, "-ldflags", "-X main.version=v9.8.7-stamped -X main.commit=0123abcdef", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	out, err = exec.Command(binary, "version").CombinedOutput()
	if err != nil {
		t.Fatalf("running: %v\n%s", err, out)
	}
	want := "version  v9.8.7-stamped\ncommit   0123abcdef\ngo       " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	if got := strings.TrimSpace(string(out)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
