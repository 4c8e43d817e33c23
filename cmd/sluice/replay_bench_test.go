package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

var benchEvents = flag.Int("replay.events", 1_000_000, "events of 500 bytes that BenchmarkReplay reads")

// measured is what a process has taken.
type measured struct {
	seconds, cpu float64
	rss          float64 // MB at most
}

// measure runs a process to its end; its output is read and thrown away.
func measure(b *testing.B, cmd *exec.Cmd) (m measured) {
	b.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr, cmd.Env = os.Stderr, []string{} // none of the test's settings
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	// The kernel's own account of a child's most memory begins with its parent's.
	stop := every(20*time.Millisecond, func() { m.rss = max(m.rss, mostMemory(cmd.Process.Pid)) })
	_, copied := io.Copy(io.Discard, out)
	stop()
	if err := cmd.Wait(); err != nil || copied != nil {
		b.Fatal(err, copied)
	}
	m.seconds = time.Since(began).Seconds()
	m.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return m
}

// mostMemory is the most memory that a process has had so far, in MB; 0 where the system doesn't tell.
func mostMemory(pid int) (mb float64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, most, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(most, &mb); err != nil {
		return 0
	}
	return mb / 1024
}

// BenchmarkReplay reads a partition with kcat into a pipe, and replays it with the real program into files, taking turns.
//
//	go test ./cmd/sluice -run '^$' -bench Replay -benchtime 3x
func BenchmarkReplay(b *testing.B) {
	testenv.Need(b, testenv.ServerKafka, testenv.ServerKcat)
	kafka := testenv.Kafka(b, testenv.WithJVM("-Xmx1g", "-XX:TieredStopAtLevel=4"))
	const topic = "customerio_email_sent"
	kafka.CreateTopic(b, topic, 1, map[string]string{"retention.ms": "-1"})
	fill(b, kafka.Bootstrap(), topic, *benchEvents, 500)
	binary, dir := testenv.Binary(b, "./cmd/sluice"), b.TempDir()
	events := float64(*benchEvents)
	kcat := func(b *testing.B) measured {
		b.Helper()
		return measure(b, exec.CommandContext(b.Context(), "kcat", "-C", "-q", "-e", "-b", kafka.Bootstrap()[0], "-t", topic, "-o", "beginning"))
	}
	for _, name := range []string{"replay.ndjson", "replay.ndjson.zst", "replay.ndjson.gz"} {
		b.Run(name, func(b *testing.B) {
			var them, us measured
			var ratios []float64
			for b.Loop() {
				path := filepath.Join(dir, name)
				t := kcat(b)
				s := measure(b, exec.CommandContext(b.Context(), binary, "replay", "email_sent", "--kafka-brokers", kafka.Bootstrap()[0], "--to-file", path))
				if err := os.Remove(path); err != nil {
					b.Fatal(err)
				}
				b.Logf("kcat %.0f/s, sluice %.0f/s, %.0f MB", events/t.seconds, events/s.seconds, s.rss)
				ratios = append(ratios, t.seconds/s.seconds)
				them.seconds += t.seconds
				us.seconds, us.cpu, us.rss = us.seconds+s.seconds, us.cpu+s.cpu, max(us.rss, s.rss)
			}
			n := float64(b.N)
			b.ReportMetric(n*events/them.seconds, "kcat-events/s")
			b.ReportMetric(n*events/us.seconds, "events/s")
			slices.Sort(ratios) // the middle one: others may use the machine
			b.ReportMetric(ratios[len(ratios)/2], "of-kcat")
			b.ReportMetric(us.cpu/n/events*1e6, "cpu-µs/event")
			b.ReportMetric(us.rss, "MB-rss")
		})
	}
}
