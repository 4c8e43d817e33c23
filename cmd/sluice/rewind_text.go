package main

import (
	"fmt"
	"io"
	"strconv"
)

// writeText writes the plan for people.
func (p *rewindPlan) writeText(w io.Writer) error {
	rows := [][]string{{"topic", "partition", "from", "to", "events"}}
	for i := range p.Partitions {
		row := &p.Partitions[i]
		rows = append(rows, []string{row.Topic, strconv.Itoa(row.Partition), offsetText(row.From), offsetText(row.To), count(row.Events)})
	}
	head := fmt.Sprintf("Group %s (%s) to %s: at most %s to come\n", terminalSafe(p.Group), p.State, p.To, events(p.Events))
	return writeTables(w, p.Notes, head, drawTable(w, rows))
}

// writeDone writes what Kafka has after the plan was executed.
func (p *rewindPlan) writeDone(w io.Writer, undo string) error {
	rows := [][]string{{"topic", "partition", "offset now"}}
	for i := range p.Partitions {
		row := &p.Partitions[i]
		rows = append(rows, []string{row.Topic, strconv.Itoa(row.Partition), offsetText(row.Now)})
	}
	return writeTables(w, []string{undo}, "\nDone. Kafka has now:\n", drawTable(w, rows))
}

func offsetText(at *int64) string {
	if at == nil {
		return "none"
	}
	return strconv.FormatInt(*at, 10)
}
