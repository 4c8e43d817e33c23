package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// profileOptions are the flags of profile.
type profileOptions struct {
	bedOptions
	conns    int
	duration time.Duration
	warmup   time.Duration
	out      string
}

func (o *profileOptions) flags(set *flag.FlagSet) {
	o.bedOptions.flags(set)
	set.IntVar(&o.conns, "conns", 256, "connections")
	set.DurationVar(&o.duration, "duration", 20*time.Second, "how long to profile")
	set.DurationVar(&o.warmup, "warmup", 10*time.Second, "length of the same load before")
	set.Func("out", "`path` of the profile (default cpu.pprof)", absolute(&o.out))
}

// profiled is added to cmd/sluice for the time of a build: the product has no such door.
const profiled = `package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func init() {
	toggle := make(chan os.Signal, 2)
	signal.Notify(toggle, syscall.SIGUSR1)
	go func() {
		<-toggle
		f, err := os.Create(os.Getenv("BENCH_PROFILE"))
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			panic(err)
		}
		<-toggle
		pprof.StopCPUProfile()
		err = f.Close()
		if err == nil {
			f, err = os.Create(os.Getenv("BENCH_PROFILE") + ".allocs")
		}
		if err == nil {
			err = pprof.Lookup("allocs").WriteTo(f, 0)
		}
		if err != nil {
			panic(err)
		}
		println("profile written")
	}()
}
`

// buildProfiled builds cmd/sluice with the door.
func buildProfiled(s *stage) string {
	root, err := exec.CommandContext(s.ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sluice").Output()
	s.must(err)
	dir := s.TempDir()
	door, overlay, binary := filepath.Join(dir, "door.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sluice")
	at := filepath.Join(strings.TrimSpace(string(root)), "cmd", "sluice", "profile_door.go")
	s.must(os.WriteFile(door, []byte(profiled), 0o600))
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {at: door}})
	s.must(err)
	s.must(os.WriteFile(overlay, replace, 0o600))
	cmd := exec.CommandContext(s.ctx, "go", "build", "-trimpath", "-overlay", overlay, "-o", binary, "./cmd/sluice") //nolint:gosec // a developer's own tools
	cmd.Dir = strings.TrimSpace(string(root))
	if output, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("building sluice: %v: %s", err, output)
	}
	return binary
}

// profile writes a CPU profile of sluice under a closed loop, for `go tool pprof`, and beside it one of all allocations
// since the start.
func profile(s *stage, o profileOptions, out io.Writer) {
	if o.out == "" {
		s.must(absolute(&o.out)("cpu.pprof"))
	}
	if o.binary == "" {
		o.binary = buildProfiled(s)
	}
	o.settings = append(o.settings, "BENCH_PROFILE="+o.out)
	b := newBed(s, o.bedOptions)
	sluice, kept := b.startSluice(b.options.binary, "profile")
	r := new(requests)
	load := func(d time.Duration) sample {
		kept.fill(r, int(30_000*d.Seconds()))
		x := b.round(sluice, o.conns, r, d)
		kept.add(r)
		return x
	}
	load(o.warmup)
	sluice.proc.Signal(s, profileSignal)
	x := load(o.duration)
	sluice.proc.Signal(s, profileSignal)
	sluice.proc.WaitLog(s, startWait, "profile written")
	fmt.Fprintf(out, "%.0f requests/s, %.1f µs of sluice's processor time an event\n", x.rate(), x.perEvent("server"))
	for _, name := range []string{"kafka", "redis", "generator"} {
		fmt.Fprintf(out, "%s %.1f µs, ", name, x.perEvent(name))
	}
	complaints(s, sluice, kept)
	found := b.finish(sluice, kept)
	fmt.Fprintf(out, "\nread back with kcat: %s\n%s and %s.allocs written\n", &found, o.out, o.out)
}
