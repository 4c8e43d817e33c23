package sender

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Summary is what a run amounts to.
type Summary struct {
	Events          int64 `json:"events"` // begun
	Acknowledged    int64 `json:"acknowledged"`
	NotAcknowledged int64 `json:"not_acknowledged"`
	Posts           int64 `json:"posts"`
	Retries         int64 `json:"retries"`
	Repeats         int64 `json:"repeats"` // posted again without need
	Bytes           int64 `json:"bytes"`   // of the bodies of all posts
	// Answers counts posts by [Answer.Label].
	Answers map[string]int64 `json:"answers"`
	Seconds float64          `json:"duration_seconds"`
	Rate    float64          `json:"acknowledged_per_second"`
	Latency Latency          `json:"latency_microseconds"`
	// Unacknowledged names the first few events that weren't, by event_id or else by the body's hash.
	Unacknowledged []string `json:"unacknowledged,omitempty"`
}

// Latency is how long answers took, timeouts included, in microseconds.
type Latency struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p99_9"`
	Max  int64 `json:"max"`
}

// WriteJSON writes the summary as one indented JSON object.
func (s *Summary) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}

// WriteText writes the summary for people.
func (s *Summary) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "events\t%s sent, %s acknowledged, %s not acknowledged\n",
		Count(s.Events), Count(s.Acknowledged), Count(s.NotAcknowledged))
	fmt.Fprintf(table, "posts\t%s, of them %s retries and %s repeats on purpose; %s bytes\n",
		Count(s.Posts), Count(s.Retries), Count(s.Repeats), Count(s.Bytes))
	answers := make([]string, 0, len(s.Answers))
	for _, label := range slices.Sorted(maps.Keys(s.Answers)) {
		answers = append(answers, strings.ReplaceAll(label, "_", " ")+" "+Count(s.Answers[label]))
	}
	if len(answers) == 0 {
		answers = []string{"none"}
	}
	fmt.Fprintf(table, "answers\t%s\n", strings.Join(answers, ", "))
	took := time.Duration(s.Seconds * float64(time.Second)).Round(time.Millisecond)
	fmt.Fprintf(table, "time\t%s, %.1f events acknowledged a second\n", took, s.Rate)
	l := s.Latency
	fmt.Fprintf(table, "latency\tp50 %s, p90 %s, p99 %s, p99.9 %s, longest %s\n", micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.Max))
	return table.Flush()
}

func micros(n int64) string { return (time.Duration(n) * time.Microsecond).String() }

// Count writes a number for people, with commas between thousands.
func Count(n int64) string {
	if n < 0 {
		return "-" + Count(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", Count(n/1000), n%1000)
}
