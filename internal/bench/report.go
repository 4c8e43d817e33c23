package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// summary is the median of some values and the outermost ones.
type summary struct{ median, low, high float64 }

// spread summarises values; none is all zero.
func spread(values []float64) summary {
	if len(values) == 0 {
		return summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return summary{median: (sorted[(n-1)/2] + sorted[n/2]) / 2, low: sorted[0], high: sorted[n-1]}
}

// percentiles writes the usual ones, by nearest rank, in milliseconds.
func percentiles(values []time.Duration) string {
	slices.Sort(values)
	var parts []string
	for _, p := range []struct {
		name     string
		permille int
	}{{"p50", 500}, {"p90", 900}, {"p99", 990}, {"p99.9", 999}, {"max", 1000}} {
		parts = append(parts, fmt.Sprintf("%s %.2f ms", p.name, milliseconds(percentile(values, p.permille))))
	}
	return strings.Join(parts, "  ")
}

// percentile is the smallest of the sorted values that at least so many thousandths of them don't exceed.
func percentile(sorted []time.Duration, permille int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (permille*len(sorted) + 999) / 1000
	return sorted[max(rank, 1)-1]
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// answers writes how many answers of each kind there were.
func answers(codes map[outcome]int) string {
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(codes)) {
		name := fmt.Sprint(o)
		switch o {
		case published:
			name = "200 published"
		case spooled:
			name = "200 spooled"
		case 200:
			name = "200 otherwise"
		}
		parts = append(parts, fmt.Sprintf("%d × %s", codes[o], name))
	}
	return strings.Join(parts, ", ")
}

// environment describes what is measured and on what, in one line.
func environment(ctx context.Context, sluice string) string {
	parts := []string{
		"sluice " + strings.Join(strings.Fields(output(ctx, sluice, "version")), " "),
		fmt.Sprintf("%d × %s", runtime.NumCPU(), processor()), "Kafka " + kafkaVersion(),
		firstLine(output(ctx, "java", "-version")), firstLine(output(ctx, "redis-server", "--version")),
		"load " + load1(), time.Now().UTC().Format(time.DateTime) + " UTC",
	}
	return strings.Join(parts, " · ")
}

// unknown stands for what can't be found out: the line is for people only.
const unknown = "?"

// output is what a program prints.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // a developer's own tools
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(out))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// kafkaVersion is in the names of the jars.
func kafkaVersion() string {
	found, _ := filepath.Glob(filepath.Join(os.Getenv("SLUICE_TEST_KAFKA_LIBS"), "kafka_*.jar")) // the pattern is a good one
	if len(found) == 0 {
		return unknown
	}
	name := strings.TrimSuffix(filepath.Base(found[0]), ".jar")
	return name[strings.LastIndexByte(name, '-')+1:]
}

// processor is the processor's name.
func processor() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return unknown
	}
	for line := range bytes.Lines(raw) {
		if name, value, _ := strings.Cut(string(line), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// load1 is the load average of the last minute.
func load1() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return unknown
	}
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}
