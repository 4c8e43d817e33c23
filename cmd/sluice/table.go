package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// drawTable draws rows, the first of which is the header: with lines on a terminal, in columns elsewhere.
func drawTable(w io.Writer, rows [][]string) string {
	if isTerminal(w) {
		return drawLines(rows, widthOf(w))
	}
	var out strings.Builder
	columns := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	_ = columns.Flush() // to memory
	return out.String()
}

// drawLines draws a table that is at most so many columns wide, if its widest column can be broken that far; 0: as wide
// as it needs.
func drawLines(rows [][]string, width int) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = text.FormatLower
	for i, row := range rows {
		cells := make(table.Row, len(row))
		for j, cell := range row {
			cells[j] = cell
		}
		if i == 0 {
			t.AppendHeader(cells)
		} else {
			t.AppendRow(cells)
		}
	}
	if column, most, over := widest(rows, width); over {
		t.SetColumnConfigs([]table.ColumnConfig{{Number: column + 1, WidthMax: most, WidthMaxEnforcer: text.WrapHard}})
	}
	return t.Render() + "\n"
}

// leastColumn is how narrow a column may become.
const leastColumn = 10

// widest finds the column to break, and how wide it may be, where a table is wider than the terminal.
func widest(rows [][]string, width int) (column, most int, over bool) {
	if width <= 0 || len(rows) == 0 {
		return 0, 0, false
	}
	widths, total := make([]int, len(rows[0])), 0
	for j := range widths {
		for _, row := range rows {
			widths[j] = max(widths[j], text.StringWidth(row[j]))
		}
		if total += widths[j] + 2; widths[j] > widths[column] { // with a space on each side
			column = j
		}
	}
	return column, max(leastColumn, widths[column]-(total-width)), total > width
}
