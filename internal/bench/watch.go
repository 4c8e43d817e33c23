package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// scrape reads the metrics without labels of a sluice.
func scrape(ctx context.Context, admin string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/metrics", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading metrics: %s", answer.Status)
	}
	values := make(map[string]float64)
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil && !strings.Contains(name, "{") {
			values[name] = value
		}
	}
	return values, lines.Err()
}

// holding is what a sluice holds at an instant.
type holding struct{ resident, heap, goroutines, files float64 } // the first two in bytes

// hold asks a sluice, and the system for its open descriptors.
func hold(ctx context.Context, target *server) (holding, error) {
	values, err := scrape(ctx, target.admin)
	if err != nil {
		return holding{}, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", target.proc.Pid()))
	if err != nil {
		return holding{}, fmt.Errorf("counting open files (this needs Linux): %w", err)
	}
	return holding{
		resident: values["process_resident_memory_bytes"], heap: values["go_memstats_heap_alloc_bytes"],
		goroutines: values["go_goroutines"], files: float64(len(files)),
	}, nil
}
