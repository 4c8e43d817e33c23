package testenv

import (
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// testWait bounds what takes milliseconds on an idle machine.
const testWait = 30 * time.Second

// self starts the test binary in a role.
func self(t *testing.T, role string, args ...string) *Proc {
	t.Helper()
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Process(t, bin, []string{roleVar + "=" + role, "GIVEN=yes"}, args...)
}

func TestProcess(t *testing.T) {
	t.Setenv("NOT_GIVEN", "no")
	p := self(t, "server", "127.0.0.1:0")
	line := p.WaitLog(t, testWait, "listening", "on 127.0.0.1:")
	addr := line[strings.LastIndex(line, " ")+1:]
	p.WaitHTTP(t, testWait, "http://"+addr+"/", http.StatusNoContent)
	if env := p.WaitLog(t, testWait, "environment:"); !strings.Contains(env, "GIVEN=yes") || strings.Contains(env, "NOT_GIVEN") {
		t.Errorf("the process has %s, want what it was given and no more", env)
	}

	p.Stop(t)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 200 * time.Millisecond}
	if resp, err := client.Get("http://" + addr + "/"); err == nil {
		_ = resp.Body.Close()
		t.Error("a frozen process has answered")
	}
	p.Cont(t)
	p.WaitHTTP(t, testWait, "http://"+addr+"/", http.StatusNoContent)

	if code := p.Terminate(t, testWait); code != 7 {
		t.Errorf("exit code %d after SIGTERM, want the program's own 7", code)
	}
}

func TestProcessKill(t *testing.T) {
	p := self(t, "server", "127.0.0.1:0")
	p.WaitLog(t, testWait, "listening")
	p.Kill(t)
	select {
	case <-p.Exited():
	default:
		t.Error("Kill has returned before the process was gone")
	}
	if code := p.Wait(t, testWait); code != -1 {
		t.Errorf("exit code %d after SIGKILL, want -1", code)
	}
}

func TestBinary(t *testing.T) {
	const pkg = "./internal/testenv/testdata/hello"
	bin := Binary(t, pkg)
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	p := Process(t, bin, nil)
	if code := p.Wait(t, testWait); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if want := "hello from a built binary\n"; p.Logs() != want {
		t.Errorf("output %q, want %q", p.Logs(), want)
	}
	again, err := os.Stat(Binary(t, pkg))
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Equal(again.ModTime()) {
		t.Error("the second call has built anew")
	}
}

func TestFindLine(t *testing.T) {
	const text = "one two\r\nthree two one\n" + "one two three"
	for name, c := range map[string]struct {
		parts []string
		want  string
		found bool
	}{
		"first of two":       {[]string{"one", "two"}, "one two", true},
		"every part":         {[]string{"one", "three"}, "three two one", true},
		"only a partial one": {[]string{"two three"}, "", false},
		"none":               {[]string{"four"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, found := findLine(text, c.parts); got != c.want || found != c.found {
				t.Errorf("findLine(%q) = %q, %t; want %q, %t", c.parts, got, found, c.want, c.found)
			}
		})
	}
}

func TestReservePort(t *testing.T) {
	var held []int
	for range 50 {
		p, err := reservePort()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.release)
		if low, high := portRange(); p.number < low || p.number >= high {
			t.Errorf("port %d is outside %d-%d", p.number, low, high)
		}
		if slices.Contains(held, p.number) {
			t.Errorf("port %d was given twice", p.number)
		}
		held = append(held, p.number)
	}
}

// TestNeed runs tests of its own that miss a server, in a test binary that has no PATH.
func TestNeed(t *testing.T) {
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  []string
		want []string
		ok   bool
	}{
		"skipped":      {nil, []string{"--- SKIP: TestNeedsRedis", "redis-server", "apt-get install redis-server"}, true},
		"required":     {[]string{requireVar + "=1"}, []string{"--- FAIL: TestNeedsRedis", requireVar, "redis-server"}, false},
		"not required": {[]string{requireVar + "=0"}, []string{"--- SKIP: TestNeedsRedis"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), bin, "-test.run=^TestNeedsRedis$", "-test.v")
			cmd.Env = append(c.env, "PATH=/nonexistent", "TMPDIR="+t.TempDir(),
				"GORACE=atexit_sleep_ms=0") // or a binary with the race detector stays for another second
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok {
				t.Errorf("the test binary ended with %v, want success %t", err, c.ok)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the output lacks %q:\n%s", want, out)
				}
			}
		})
	}
}

// TestNeedsRedis is what TestNeed runs.
func TestNeedsRedis(t *testing.T) { Need(t, ServerRedis) }
