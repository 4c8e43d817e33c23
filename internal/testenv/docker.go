package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// DockerShim returns a folder for the front of PATH. Where Compose is a program of its own, the folder's docker passes
// `docker compose …` on to it, so that the documented commands run as they stand.
func DockerShim(t testing.TB) string {
	t.Helper()
	Need(t, ServerDocker)
	dir := t.TempDir()
	found, err := compose()
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 2 {
		return dir
	}
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = compose ]; then shift; exec %q \"$@\"; fi\nexec %q \"$@\"\n", found[0], docker)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700); err != nil { //nolint:gosec // it has to be executable
		t.Fatal(err)
	}
	return dir
}
