package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// libsVar names the folder that holds Kafka's jars.
	libsVar = "SLUICE_TEST_KAFKA_LIBS"
	// requireVar, set to 1, turns "server missing: skipped" into a failure.
	requireVar = "SLUICE_TEST_REQUIRE_SERVERS"
	// withoutVar names, separated by commas, the servers that may be missing all the same.
	withoutVar = "SLUICE_TEST_WITHOUT"
	// examplesVar names the folder that .ci/examples makes: what the consumers of docs/examples need.
	examplesVar = "SLUICE_TEST_EXAMPLES"
)

// Server is something that this machine may lack.
type Server string

// The servers and tools that tests ask for.
const (
	ServerKafka Server = "kafka" // Java 17 or newer, and Kafka's jars in the folder SLUICE_TEST_KAFKA_LIBS
	ServerRedis Server = "redis" // redis-server and redis-cli
	ServerKcat  Server = "kcat"  // the independent reader

	ServerDocker Server = "docker" // a Docker daemon, and Compose

	ServerTmpfs  Server = "tmpfs"  // the right to mount one: root, or sudo without a password
	ServerStrace Server = "strace" // and the right to trace one's own processes

	ServerPython Server = "python" // with a Kafka client: python/.venv in the folder SLUICE_TEST_EXAMPLES
	ServerNode   Server = "node"   // with a Kafka client: typescript/node_modules in the folder SLUICE_TEST_EXAMPLES
)

// Need ends the test unless every server named is on this machine: a skip that says what is missing and how to get
// it, or a failure when SLUICE_TEST_REQUIRE_SERVERS is 1. The functions that start servers call it themselves; a test
// calls it first when finding out late would waste time.
func Need(t testing.TB, servers ...Server) {
	t.Helper()
	for _, s := range servers {
		if err := s.find(); err != nil {
			if os.Getenv(requireVar) == "1" && !slices.Contains(strings.Split(os.Getenv(withoutVar), ","), string(s)) {
				t.Fatalf("%s is 1, but %s is missing: %v", requireVar, s, err)
			}
			t.Skipf("needs %s: %v (set %s=1 to make this a failure)", s, err, requireVar)
		}
	}
}

// find tells why the server can't be started here; nil when it can.
func (s Server) find() error {
	switch s {
	case ServerKafka:
		_, err := findKafka()
		return err
	case ServerRedis:
		for _, bin := range []string{"redis-server", "redis-cli"} {
			if _, err := exec.LookPath(bin); err != nil {
				return fmt.Errorf("%w; Debian: apt-get install redis-server", err)
			}
		}
		return nil
	case ServerKcat:
		if _, err := exec.LookPath("kcat"); err != nil {
			return fmt.Errorf("%w; Debian: apt-get install kcat", err)
		}
		return nil
	case ServerDocker:
		if out, err := exec.CommandContext(context.Background(), "docker", "info").CombinedOutput(); err != nil {
			return fmt.Errorf("docker info: %w: %s", err, lastLines(string(out), 1))
		}
		_, err := compose()
		return err
	case ServerTmpfs:
		return tryTmpfs()
	case ServerStrace:
		return tryStrace()
	case ServerPython:
		return findInExamples("python/.venv/bin/python")
	case ServerNode:
		return findInExamples("bin/node")
	default:
		return fmt.Errorf("testenv knows no server %q", string(s))
	}
}

// kafkaHome is where Kafka's parts are.
type kafkaHome struct {
	java string // path of the java command
	libs string // folder of the jars
}

// findKafka looks for Java and for Kafka's jars.
func findKafka() (kafkaHome, error) {
	const how = "`make kafka-libs` fetches the jars with Maven and prints their folder"
	libs := os.Getenv(libsVar)
	if libs == "" {
		return kafkaHome{}, errors.New(libsVar + " isn't set; " + how)
	}
	libs, err := filepath.Abs(libs)
	if err != nil {
		return kafkaHome{}, fmt.Errorf("resolving %s: %w", libsVar, err)
	}
	found, err := filepath.Glob(filepath.Join(libs, "kafka_*.jar"))
	if err != nil {
		return kafkaHome{}, fmt.Errorf("looking for jars in %s: %w", libs, err)
	}
	if len(found) == 0 {
		return kafkaHome{}, fmt.Errorf("no kafka_*.jar in %s (%s); %s", libs, libsVar, how)
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return kafkaHome{}, fmt.Errorf("%w; Debian: apt-get install openjdk-17-jre-headless", err)
	}
	return kafkaHome{java: java, libs: libs}, nil
}

// Examples is the folder with what the consumers of docs/examples need; the caller has asked for it with Need.
func Examples() string { return os.Getenv(examplesVar) }

// findInExamples tells whether a program is in the folder of Examples.
func findInExamples(program string) error {
	if Examples() == "" {
		return errors.New(examplesVar + " isn't set; .ci/examples makes the folder and prints its name")
	}
	_, err := exec.LookPath(filepath.Join(Examples(), program))
	return err
}

// compose is how Docker Compose is called here: as a plugin of docker, or as a program of its own.
func compose() ([]string, error) {
	if exec.CommandContext(context.Background(), "docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}, nil
	}
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}, nil
	}
	return nil, errors.New("neither `docker compose` nor docker-compose; Debian: apt-get install docker-compose")
}
