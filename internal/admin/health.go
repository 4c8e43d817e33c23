package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"go.uber.org/zap"

	"sluice/publisher/balance"
)

// health is the body of /readyz.
type health struct {
	State        string             `json:"state"`
	Dependencies []dependencyHealth `json:"dependencies"`
	Balance      balance.Balance    `json:"balance"`
}

type dependencyHealth struct {
	Name   string     `json:"name"`
	Up     bool       `json:"up"`
	Since  *time.Time `json:"since,omitempty"`
	Detail string     `json:"detail,omitempty"`
}

// live says that the process runs. It looks at nothing else: a restart cures
// neither Kafka nor Redis.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	s.write(w, []byte("ok\n"))
}

// ready says whether webhooks should be sent here.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	now := state(s.state.Load())
	h := health{State: now.String(), Dependencies: []dependencyHealth{}, Balance: s.opts.Balance()}
	for _, d := range s.opts.Dependencies() {
		dh := dependencyHealth{Name: d.Name, Up: d.Up, Detail: d.Detail}
		if !d.Since.IsZero() {
			since := d.Since.UTC()
			dh.Since = &since
		}
		h.Dependencies = append(h.Dependencies, dh)
	}
	body, err := json.MarshalIndent(h, "", "  ")
	if err != nil { // a time beyond the year 9999
		s.fail(w, "health", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if now != ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	s.write(w, append(body, '\n'))
}

func (s *Server) asyncAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	s.write(w, s.opts.AsyncAPI)
}

// write sends the body. A reader that has left is no news.
func (s *Server) write(w http.ResponseWriter, body []byte) { _, _ = w.Write(body) }

// fail answers 500 without the cause and logs it.
func (s *Server) fail(w http.ResponseWriter, what string, err error) {
	s.opts.Log.Error("admin request failed", zap.String("what", what), zap.Error(err))
	http.Error(w, "internal error", http.StatusInternalServerError)
}
