package admin

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/publisher/balance"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestPage(t *testing.T) {
	tests := map[string]func(*Options) func(*Server){
		"ready": func(*Options) func(*Server) { return (*Server).SetReady },
		"draining-insecure": func(o *Options) func(*Server) {
			o.Insecure, o.Version = true, ""
			return (*Server).SetDraining
		},
		"empty": func(o *Options) func(*Server) {
			o.Gatherer = prometheus.NewRegistry()
			o.Dependencies = func() []Dependency { return nil }
			o.Balance = func() balance.Balance { return balance.Balance{} }
			return func(*Server) {}
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			opts := options()
			advance := prepare(&opts)
			s, err := New(opts)
			if err != nil {
				t.Fatal(err)
			}
			advance(s)
			var b strings.Builder
			if err := pageTemplate.Execute(&b, s.view(since.Add(time.Hour))); err != nil {
				t.Fatal(err)
			}
			got := b.String()
			golden := filepath.Join("testdata", "page-"+name+".html")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the page isn't %s (write it anew with -update)", golden)
			}
			for _, bad := range []string{"<script", "<b>", "http://", "https://", "//"} {
				if strings.Contains(got, bad) {
					t.Errorf("the page contains %q", bad)
				}
			}
			if regexp.MustCompile(`(?i)\s(src|action|onclick|onload)\s*=`).MatchString(got) {
				t.Error("the page loads or does something")
			}
		})
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", 1e15: "1,000,000,000,000,000"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for v, want := range map[float64]string{0: "0 B", 1023: "1,023 B", 1024: "1 KiB", 3 << 20: "3 MiB", 5 << 30: "5 GiB", 5 << 40: "5,120 GiB"} {
		if got := size(v); got != want {
			t.Errorf("size(%v) = %s, want %s", v, got, want)
		}
	}
}

// The largest comes first, names decide between equals, and what counts
// nothing is left out.
func TestBreakdown(t *testing.T) {
	c, err := gather(newRegistry())
	if err != nil {
		t.Fatal(err)
	}
	want := []share{{"not_found", "5"}, {"<script>", "2"}, {"stale_timestamp", "2"}}
	got := c.breakdown(refusedTotal)
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("breakdown = %v, want %v", got, want)
	}
	if got := c.breakdown(publishedTotal); len(got) != 2 {
		t.Errorf("breakdown = %v, want two lines", got)
	}
	if got := c.sum(publishedTotal); got != 1234 {
		t.Errorf("sum = %v, want 1234", got)
	}
}
