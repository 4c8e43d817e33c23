package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/config"
	"sluice/internal/testenv"
)

// otherFormat is a file of a spool that a later version may write.
const otherFormat = "sluice-spool\x00\x00\x00\x63and more"

// alone are the settings of a sluice that reaches neither Kafka nor Redis.
func alone(dir string, extra ...string) []string {
	return append([]string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=127.0.0.1:0", "SLUICE_SIGNING_KEYS=test=" + testKey, "SLUICE_LOG_FORMAT=json",
		"SLUICE_KAFKA_BROKERS=127.0.0.1:1", "SLUICE_SHUTDOWN_TIMEOUT=1s", "SLUICE_SPOOL_DIR=" + dir, "SLUICE_REDIS_URL=redis://127.0.0.1:1", "SLUICE_INSTANCE=worker-1",
	}, extra...)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServeRefusesTheSpool starts with folders that can't be used: it says what to do about that, and ends.
func TestServeRefusesTheSpool(t *testing.T) {
	for name, x := range map[string]struct {
		file, content string // in the folder
		below         string // of it is named
		want          []string
	}{
		"a file where the folder should be":         {"file", "", "file", []string{"file: not a directory", "move it away, or name another folder with --spool-dir (SLUICE_SPOOL_DIR)"}},
		"a file where the instance's should be":     {"worker-1", "", "", []string{"worker-1: not a directory", "move it away"}},
		"another format":                            {"worker-1/1.log", otherFormat, "", []string{"unknown format", "1.log has format 99, this version writes 1", "'sluice spool drain' of the version that wrote it sends it", "move the folder away and keep it"}},
		"no file of a spool":                        {"worker-1/1.log", "something else altogether", "", []string{"1.log is no spool file", "move the folder away and keep it"}},
		"an adopted folder that somebody has named": {"worker-1/adopted-x/1.log", "", "", []string{"adopted-x isn't named by this program"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, x.file), x.content)
			runCommand(t.Context(), t, alone(filepath.Join(dir, x.below)), "serve").want(t, 1, append(x.want, "sluice: spool: ")...)
		})
	}
}

// TestSpoolFolderInUse names what two instances must not share.
func TestSpoolFolderInUse(t *testing.T) {
	environ := alone(t.TempDir())
	serve(t, environ)
	runCommand(t.Context(), t, environ, "serve").want(t, 1, "another process has this folder", `Another sluice runs as instance "worker-1"`, "--instance (SLUICE_INSTANCE)")
	serve(t, append(environ, "SLUICE_INSTANCE=worker-2"))
	list := spoolListed(t, environ)
	if len(list.Instances) != 2 || !list.Instances[0].Running || !list.Instances[1].Running {
		t.Errorf("%+v", list)
	}
}

// TestOrphansAtStart has siblings that nobody runs: one is taken over, what can't be is named and keeps nobody from
// starting.
func TestOrphansAtStart(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, alone(dir))
	if a := (request{body: []byte(`{"event_id":"orphan","event_type":"email_sent"}`)}).must(t, s.url); a.Status != "spooled" {
		t.Fatalf("%+v", a)
	}
	s.stop()
	write(t, filepath.Join(dir, "later", "1.log"), otherFormat)
	environ := alone(dir, "SLUICE_INSTANCE=worker-2")
	s = serve(t, environ)
	if err := metricIsZero(t, s.admin, `sluice_spool_faults_total{kind="adopt"}`); err == nil || !strings.Contains(err.Error(), "is 1") {
		t.Errorf("%v", err)
	}
	list := spoolListed(t, environ)
	if len(list.Instances) != 2 || list.Instances[0].Instance != "later" || list.Instances[0].Running || len(list.Instances[0].Damaged) != 1 ||
		!list.Instances[1].Running || list.Instances[1].Events != 1 {
		t.Errorf("%+v", list)
	}
	s.stop()
	runCommand(t.Context(), t, environ, "spool", "ls").want(t, 0, "later: ", "format 99, this version reads 1; use the version that wrote it")
	runCommand(t.Context(), t, environ, "spool", "export").want(t, 1, "1 events of 2 instances exported", "not all of the spool could be read: later: ")
	runCommand(t.Context(), t, environ, "spool", "drain").want(t, 1, "later: ", "use the version that wrote it")
}

// TestDamagedSpool flips a byte in the midst of a file: what comes before it is exported, and sent, and the folder stays.
func TestDamagedSpool(t *testing.T) {
	t.Parallel() // it mostly waits
	env := testenv.Fake(t)
	dir := t.TempDir()
	s := serve(t, alone(dir))
	for i := range 3 {
		if a := (request{body: fmt.Appendf(nil, `{"event_id":"d%d","event_type":"email_sent"}`, i)}).must(t, s.url); a.Status != "spooled" {
			t.Fatalf("%+v", a)
		}
	}
	s.stop()
	files, err := filepath.Glob(filepath.Join(dir, "worker-1", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	content[strings.Index(string(content), `"d1"`)+1] ^= 1
	write(t, files[0], string(content))
	environ := settings(env, "SLUICE_SPOOL_DIR="+dir, "SLUICE_INSTANCE=worker-1")
	damaged := files[0] + " is damaged at byte "
	runCommand(t.Context(), t, environ, "spool", "ls").want(t, 0, "worker-1: "+damaged, "keep a copy of the folder")
	r := runCommand(t.Context(), t, environ, "spool", "export").want(t, 1, damaged)
	if lines := parseExport(t, r.stdout); len(lines) != 1 || !strings.Contains(string(lines[0].Value), `"d0"`) {
		t.Errorf("exported %+v", lines)
	}
	for range 2 {
		runCommand(t.Context(), t, environ, "spool", "drain").want(t, 1, damaged, "events sent; the folder stays")
	}
	if records := env.Records(t); len(records) != 1 {
		t.Errorf("%d records", len(records))
	}
	if _, err := os.Stat(files[0]); err != nil {
		t.Error(err)
	}
}

// TestSpoolWithoutRights runs as a user who may not write to the folder, or not read it.
func TestSpoolWithoutRights(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	s := serve(t, alone(dir))
	(request{body: []byte(`{"event_id":"mine","event_type":"email_sent"}`)}).must(t, s.url)
	s.stop()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(empty, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 { // then the folder is one's own
		if err := os.Chmod(filepath.Join(dir, "worker-1"), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "worker-1"), 0o700) })
	}
	for _, x := range []struct {
		dir  string
		args []string
		want []string
	}{
		{empty, []string{"serve"}, []string{"permission denied", "who has to own " + empty, "chown -R "}},
		{dir, []string{"serve"}, []string{"permission denied", "who has to own " + dir}},
		{dir, []string{"spool", "ls"}, []string{"worker-1  unknown", "permission denied", "1 of 1 folder can't be looked into"}},
		{dir, []string{"spool", "export"}, []string{"permission denied", "who has to own " + dir}},
		{dir, []string{"spool", "drain"}, []string{"permission denied", "who has to own " + dir}},
	} {
		r := runAsNobody(t, x.dir, x.args...)
		r.want(t, 1, x.want...)
	}
}

// runAsNobody runs the program as a user without rights, if there is one to change to.
func runAsNobody(t *testing.T, dir string, args ...string) ran {
	t.Helper()
	content, err := os.ReadFile(testenv.Binary(t, "./cmd/sluice"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "sluice")
	if err := os.WriteFile(binary, content, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = alone(dir)
	if os.Getuid() == 0 {
		for _, folder := range slices.Concat(parents(binary), parents(filepath.Join(dir, "x"))) {
			if err := os.Chmod(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
	}
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), complaints.String()}
}

// parents are a test's own folders above the file.
func parents(path string) (folders []string) {
	for dir := filepath.Dir(path); dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		folders = append(folders, dir)
	}
	return folders
}

func TestExplainSpool(t *testing.T) {
	c := &config.Config{Spool: config.Spool{SpoolDir: "dir"}}
	for cause, want := range map[error]string{
		syscall.EROFS:  "The file system is read-only: mount it with the right to write",
		syscall.ENOSPC: "The disk is full: make room on it",
		syscall.ENOENT: "Is the volume mounted?",
		syscall.EIO:    "",
	} {
		err := fmt.Errorf("spool: %w", &fs.PathError{Op: "mkdir", Path: "dir", Err: cause})
		got := explainSpool(err, c)
		if !strings.HasPrefix(got.Error(), err.Error()) || !strings.Contains(got.Error(), want) || want == "" && got.Error() != err.Error() {
			t.Errorf("%v: %v", cause, got)
		}
	}
}
