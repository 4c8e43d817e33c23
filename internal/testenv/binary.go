package testenv

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// builtBinary is a binary that was built, or why it couldn't be.
type builtBinary struct {
	path string
	err  error
}

// Binary builds a main package of this module, named as from its root ("./cmd/sluice"), once for all tests of the
// test binary and without the race detector, and returns the executable's path. It needs Main or Wrap in TestMain.
func Binary(t testing.TB, pkg string) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.dir == "" {
		t.Fatal(errNoMain)
	}
	built, ok := shared.binaries[pkg]
	if !ok {
		built.path = filepath.Join(shared.dir, "bin"+strconv.Itoa(len(shared.binaries)), filepath.Base(pkg)+exeSuffix)
		built.err = build(context.Background(), pkg, built.path) // for the tests to come as well
		if shared.binaries == nil {
			shared.binaries = map[string]builtBinary{}
		}
		shared.binaries[pkg] = built
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// build compiles pkg to the file out.
func build(ctx context.Context, pkg, out string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", pkg, err, lastLines(string(output), 20))
	}
	return nil
}

// moduleRoot is the folder of this module's go.mod. A test runs in its package's folder, anywhere below.
func moduleRoot(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for the module's root: %w", err)
	}
	file := strings.TrimSpace(string(output))
	if filepath.Base(file) != "go.mod" {
		return "", errors.New("not inside a module")
	}
	return filepath.Dir(file), nil
}
