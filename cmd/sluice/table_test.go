package main

import (
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
)

// TestDrawLines breaks the widest column of a table that is wider than the terminal, as far as that helps.
func TestDrawLines(t *testing.T) {
	rows := [][]string{
		{"topic", "partition", "lag"},
		{"customerio_email_sent", "0", "12"},
		{"customerio_some_long_type_of_event", "1", "1,234,567"},
	}
	for _, test := range []struct{ width, most, lines int }{{0, 59, 3}, {200, 59, 3}, {59, 59, 3}, {45, 45, 4}, {36, 36, 6}, {20, 35, 8}} {
		drawn := strings.TrimSuffix(drawLines(rows, test.width), "\n")
		widest := 0
		for line := range strings.Lines(drawn) {
			widest = max(widest, text.StringWidth(strings.TrimSuffix(line, "\n")))
		}
		if lines := strings.Count(drawn, "\n") + 1; widest > test.most || lines != test.lines || !strings.Contains(drawn, "1,234,567") {
			t.Errorf("%d columns: %d wide, want %d, %d lines, want %d:\n%s", test.width, widest, test.most, lines, test.lines, drawn)
		}
	}
}
