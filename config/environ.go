package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// environment is what the SLUICE_* variables hold. An empty variable counts as not set: deployment files pass
// variables on that are empty unless someone has set them.
type environment map[string]string

// readEnviron picks the variables of known settings out of "NAME=value" pairs, and refuses the other SLUICE_* ones: a
// misspelt variable would otherwise leave a default in force that nobody chose.
func readEnviron(environ []string, fields []*field) (environment, []string) {
	known := make(map[string]bool)
	var names []string
	for _, f := range fields {
		known[f.Env] = true
		names = append(names, f.Name())
		if f.FileEnv != "" {
			known[f.FileEnv] = true
		}
	}
	env := make(environment)
	var problems []string
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case !strings.HasPrefix(name, envPrefix):
		case known[name]:
			if value != "" {
				env[name] = value
			}
		case !fromKubernetes(name, value):
			problems = append(problems, unknownVariable(name, known, names))
		}
	}
	slices.Sort(problems)
	return env, problems
}

func unknownVariable(name string, known map[string]bool, names []string) string {
	base, isFile := strings.CutSuffix(name, "_FILE")
	if isFile && known[base] {
		return fmt.Sprintf("%s: only settings that hold secrets can be read from a file of their own; set %s", name, base)
	}
	suffix := ""
	guess := nearest(strings.TrimPrefix(name, envPrefix), names)
	if isFile {
		if better := nearest(strings.TrimPrefix(base, envPrefix), names); known[envVariable(better)+"_FILE"] {
			guess, suffix = better, "_FILE"
		}
	}
	if guess == "" {
		return name + ": no such setting; sluice config lists them all"
	}
	return fmt.Sprintf("%s: no such setting; did you mean %s?", name, envVariable(guess)+suffix)
}

func envVariable(key string) string { return envPrefix + strings.ToUpper(key) }

// Kubernetes puts variables into every container for each Service of the namespace, named after the Service: one called
// sluice or sluice-redis brings SLUICE_SERVICE_HOST, SLUICE_PORT, SLUICE_REDIS_PORT_6379_TCP_ADDR and more (Kubernetes
// documentation, "Service", environment variables). They aren't meant for Sluice and must not keep it from starting.
var (
	serviceVariable = regexp.MustCompile(`^SLUICE_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$`)
	portVariable    = regexp.MustCompile(`^SLUICE_(?:[A-Z0-9_]+_)?PORT$`)
	portValue       = regexp.MustCompile(`^(?:tcp|udp|sctp)://`)
)

func fromKubernetes(name, value string) bool {
	return serviceVariable.MatchString(name) || (portVariable.MatchString(name) && portValue.MatchString(value))
}
