package curlcmd

import (
	"fmt"
	"path"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// command is a curl command with its words as curl gets them.
type command struct {
	words []string
	stdin []byte // of a redirection; nil if there is none
}

// script reads a shell script without running it.
type script struct {
	options Options
	vars    map[string]string
	// why tells of variables whose value isn't known.
	why      map[string]error
	commands []command
}

// readScript finds the curl command.
func readScript(text string, o Options) (*command, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(withoutPrompts(text)), "")
	if err != nil {
		return nil, fmt.Errorf("reading the command line: %w", err)
	}
	s := &script{options: o, vars: make(map[string]string), why: make(map[string]error)}
	for _, stmt := range file.Stmts {
		if err := s.statement(stmt); err != nil {
			return nil, err
		}
	}
	switch len(s.commands) {
	case 0:
		return nil, ErrNoCommand
	case 1:
		return &s.commands[0], nil
	}
	return nil, ErrSeveral
}

// withoutPrompts takes the "$ " off that documentation puts before commands,
// and the line ends of Windows, which no shell takes for such.
func withoutPrompts(text string) string {
	text = strings.TrimPrefix(strings.TrimLeft(text, " \t\r\n"), "\ufeff")
	text = strings.ReplaceAll(text, "\\\r\n", "\\\n")
	return strings.TrimPrefix(text, "$ ")
}

func (s *script) statement(stmt *syntax.Stmt) error {
	switch cmd := stmt.Cmd.(type) {
	case *syntax.BinaryCmd:
		if err := s.statement(cmd.X); err != nil {
			return err
		}
		return s.statement(cmd.Y)
	case *syntax.DeclClause: // export NAME=VALUE
		s.assign(cmd.Args)
	case *syntax.CallExpr:
		if len(cmd.Args) == 0 {
			s.assign(cmd.Assigns)
			return nil
		}
		if name := cmd.Args[0].Lit(); name == "curl" || name == "curl.exe" || path.Base(name) == "curl" {
			return s.call(cmd, stmt.Redirs)
		}
	}
	return nil
}

// assign sets variables. What a value can't be known for matters only where the
// variable is used.
func (s *script) assign(assigns []*syntax.Assign) {
	for _, a := range assigns {
		if a.Name == nil {
			continue
		}
		name := a.Name.Value
		delete(s.vars, name)
		switch {
		case a.Array != nil || a.Index != nil || a.Append:
			s.why[name] = ErrExpansion
		case a.Value == nil:
			s.vars[name] = ""
		default:
			value, err := s.literal(a.Value)
			if err != nil {
				s.why[name] = err
				continue
			}
			s.vars[name] = value
		}
	}
}

func (s *script) call(cmd *syntax.CallExpr, redirs []*syntax.Redirect) error {
	for _, word := range cmd.Args {
		if err := s.check(word.Parts); err != nil {
			return err
		}
		if braces(word.Parts) > maxBraces {
			return fmt.Errorf("line %d: braces outside quotes: %w", word.Pos().Line(), ErrExpansion)
		}
	}
	words, err := expand.Fields(s.config(), cmd.Args...)
	if err != nil {
		return fmt.Errorf("reading the command line: %w", err)
	}
	found := command{words: words}
	for _, r := range redirs {
		if err := s.redirect(&found, r); err != nil {
			return err
		}
	}
	s.commands = append(s.commands, found)
	return nil
}

// maxBraces bounds what brace expansion can make of a word: four pairs give at
// most a few dozen.
const maxBraces = 4

// braces counts the braces outside quotes that may be expanded. A sequence such
// as {1..9} counts as too many: no request needs one, and it may be endless.
func braces(parts []syntax.WordPart) int {
	n := 0
	for _, part := range parts {
		lit, ok := part.(*syntax.Lit)
		if !ok {
			continue
		}
		text := strings.ReplaceAll(lit.Value, `\{`, "")
		if n += strings.Count(text, "{"); n > 0 && strings.Contains(text, "..") {
			return maxBraces + 1
		}
	}
	return n
}

// redirect reads what stands for standard input.
func (s *script) redirect(c *command, r *syntax.Redirect) error {
	switch r.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		c.stdin = []byte{}
		if r.Hdoc == nil { // an empty one
			return nil
		}
		if err := s.check(r.Hdoc.Parts); err != nil {
			return err
		}
		text, err := expand.Document(s.config(), r.Hdoc)
		if err != nil {
			return fmt.Errorf("reading the here-document: %w", err)
		}
		c.stdin = []byte(text)
	case syntax.WordHdoc:
		text, err := s.literal(r.Word)
		if err != nil {
			return err
		}
		c.stdin = []byte(text + "\n")
	case syntax.RdrIn:
		name, err := s.literal(r.Word)
		if err != nil {
			return err
		}
		if c.stdin, err = s.options.readFile(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) literal(word *syntax.Word) (string, error) {
	if err := s.check(word.Parts); err != nil {
		return "", err
	}
	text, err := expand.Literal(s.config(), word)
	if err != nil {
		return "", fmt.Errorf("reading the command line: %w", err)
	}
	return text, nil
}

// config has no file names to match, no commands to run, and no environment.
func (s *script) config() *expand.Config {
	return &expand.Config{Env: expand.FuncEnviron(func(name string) string { return s.vars[name] })}
}

// check refuses what the text alone doesn't tell. What it lets pass is quoting
// and variables whose values are known.
func (s *script) check(parts []syntax.WordPart) error {
	for _, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit, *syntax.SglQuoted:
		case *syntax.DblQuoted:
			if err := s.check(part.Parts); err != nil {
				return err
			}
		case *syntax.CmdSubst, *syntax.ProcSubst:
			return fmt.Errorf("line %d: %w", part.Pos().Line(), ErrSubstitution)
		case *syntax.ParamExp:
			if err := s.checkVariable(part); err != nil {
				return fmt.Errorf("line %d: %w", part.Pos().Line(), err)
			}
		default:
			return fmt.Errorf("line %d: %w", part.Pos().Line(), ErrExpansion)
		}
	}
	return nil
}

func (s *script) checkVariable(p *syntax.ParamExp) error {
	if p.Param == nil || p.Excl || p.Length || p.Width || p.Index != nil || p.Slice != nil || p.Repl != nil || p.Exp != nil || p.Names != 0 {
		return ErrExpansion
	}
	name := p.Param.Value
	if _, set := s.vars[name]; set {
		return nil
	}
	if err := s.why[name]; err != nil {
		return fmt.Errorf("$%s: %w", name, err)
	}
	return fmt.Errorf("$%s: %w", name, ErrUnset)
}
