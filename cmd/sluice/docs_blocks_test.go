package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docBlock is a block of shell commands in the README or in docs/. The comment before it says how it is tested:
//
//	<!-- run: compose want "status":"published" -->
//
// The words, each at most once; want and until take the rest:
//
//	compose         in TestCompose, with containers; last: after all others
//	kafka           in TestHostedKafka, with Kafka's own commands
//	servers         with a Kafka, a Redis and a running sluice
//	background URL  goes on running while the blocks that follow are run; URL has to answer 200 first
//	by WHAT         is run elsewhere: another page that has the same block, or a step of .ci/run
//	exit N          exits with N instead of 0
//	until TEXT      is ended by Ctrl-C once TEXT has been printed
//	want TEXT       prints TEXT
type docBlock struct {
	page   string // as "docs/quickstart.md"
	line   int
	script string

	where           string // "", compose, kafka, servers, background, by
	operand         string // of background and by
	last            bool
	exit            int
	want, interrupt string
}

func (b docBlock) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// docBlocks reads the blocks of all pages, in order.
func docBlocks(t *testing.T) (blocks []docBlock) {
	t.Helper()
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, path := range append([]string{filepath.Join(root, "README.md")}, pages...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := filepath.Rel(root, path)
		lines := strings.Split(string(text), "\n")
		for i := 0; i < len(lines); i++ {
			if !strings.HasPrefix(lines[i], "```") {
				continue
			}
			b := docBlock{page: page, line: i + 1}
			if lines[i] != "```sh" {
				t.Fatalf("%s: a block of %q: commands are sh, everything else is indented", b, lines[i])
			}
			if mark, ok := strings.CutPrefix(lines[i-1], "<!-- run: "); ok {
				b.parse(t, strings.TrimSuffix(mark, " -->"))
			}
			for i++; lines[i] != "```"; i++ {
				b.script += lines[i] + "\n"
			}
			blocks = append(blocks, b)
		}
	}
	return blocks
}

func (b *docBlock) parse(t *testing.T, mark string) {
	t.Helper()
	for mark != "" {
		word, rest, _ := strings.Cut(mark, " ")
		switch word {
		case "compose", "kafka", "servers":
			b.where = word
		case "background":
			b.where = word
			b.operand, rest, _ = strings.Cut(rest, " ")
		case "by":
			b.where, b.operand, rest = word, rest, ""
		case "last":
			b.last = true
		case "exit":
			var code string
			code, rest, _ = strings.Cut(rest, " ")
			if _, err := fmt.Sscan(code, &b.exit); err != nil {
				t.Fatalf("%s: exit %q", b, code)
			}
		case "want":
			b.want, rest = rest, ""
		case "until":
			b.interrupt, rest = rest, ""
		default:
			t.Fatalf("%s: what is %q?", b, word)
		}
		mark = rest
	}
}

// TestDocsMarks checks that every block is run somewhere.
func TestDocsMarks(t *testing.T) {
	blocks := docBlocks(t)
	counts := map[string]int{}
	for _, b := range blocks {
		counts[b.where]++
		if b.where != "by" {
			continue
		}
		found := false
		if step, is := strings.CutPrefix(b.operand, ".ci/run "); is {
			ci, err := os.ReadFile(filepath.Join("..", "..", ".ci", "run"))
			if err != nil {
				t.Fatal(err)
			}
			_, body, _ := strings.Cut(string(ci), "\n"+step+"() {\n")
			body, _, _ = strings.Cut(body, "\n}\n")
			command, packages, _ := strings.Cut(strings.TrimSpace(b.script), " ./...")
			found = strings.Contains(body, command) && strings.Contains(body, "./..."+packages)
		}
		for _, other := range blocks {
			found = found || other.page == "docs/"+b.operand && other.script == b.script && other.where != "by"
		}
		if !found {
			t.Errorf("%s isn't run by %s", b, b.operand)
		}
	}
	for _, where := range []string{"", "compose", "kafka", "servers", "background", "by"} {
		if counts[where] == 0 {
			t.Errorf("no block is run %q", where)
		}
	}
}
