package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of processor times in /proc: 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is the processor time, user and system, that a process and its threads have used. Source: proc(5),
// /proc/pid/stat.
func cpuTime(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading processor times (this needs Linux): %w", err)
	}
	// The second field is the program's name in parentheses and may hold anything.
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	const user, system = 14 - 3, 15 - 3 // proc(5) counts from 1, and two fields are cut off
	ticks := 0
	for _, i := range []int{user, system} {
		if i >= len(fields) {
			return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
		}
		n, err := strconv.Atoi(string(fields[i]))
		if err != nil {
			return 0, fmt.Errorf("reading processor times: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// meters names the processes whose processor time is measured.
type meters []meter

type meter struct {
	name string
	pid  int
}

// read is the processor time of each so far.
func (m meters) read() (map[string]time.Duration, error) {
	times := make(map[string]time.Duration, len(m))
	for _, x := range m {
		t, err := cpuTime(x.pid)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		times[x.name] = t
	}
	return times, nil
}

// machine is processor time of all processors together.
type machine struct{ busy, all time.Duration }

// machineTime is the machine's processor time since its start. Source: proc(5), /proc/stat: user, nice, system, idle,
// iowait, irq, softirq, steal; guests are counted in user and nice.
func machineTime() (machine, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machine{}, fmt.Errorf("reading processor times (this needs Linux): %w", err)
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	const counted = 8
	fields := bytes.Fields(line)
	if len(fields) < 1+counted {
		return machine{}, fmt.Errorf("/proc/stat begins with %d fields", len(fields))
	}
	var m machine
	for i, field := range fields[1 : 1+counted] {
		n, err := strconv.Atoi(string(field))
		if err != nil {
			return machine{}, fmt.Errorf("reading processor times: %w", err)
		}
		const idle, iowait = 3, 4
		m.all += time.Duration(n) * tick
		if i != idle && i != iowait {
			m.busy += time.Duration(n) * tick
		}
	}
	return m, nil
}

// peakMemory is the most memory that a process has had resident, in bytes. Source: proc(5), VmHWM in /proc/pid/status.
func peakMemory(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading memory (this needs Linux): %w", err)
	}
	for line := range bytes.Lines(raw) {
		if name, value, _ := bytes.Cut(line, []byte(":")); string(name) == "VmHWM" {
			n, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmHWM", pid)
}
