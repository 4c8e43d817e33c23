package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Internal is the addresses of the brokers' plain listeners, where nobody logs in and, WithACLs, everybody may do
// everything.
func (c *Cluster) Internal() []string { return c.direct().bootstrap }

// Tools is a folder with kafka-topics.sh, kafka-acls.sh and kafka-console-consumer.sh, as Kafka's distribution has them,
// for PATH.
func (c *Cluster) Tools(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, class := range map[string]string{"topics": "TopicCommand", "acls": "AclCommand", "console-consumer": "consumer.ConsoleConsumer"} {
		var quoted []string
		for _, arg := range append(c.javaArgs(), "org.apache.kafka.tools."+class) {
			quoted = append(quoted, "'"+arg+"'")
		}
		script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", c.home.java, strings.Join(quoted, " "))
		if err := os.WriteFile(filepath.Join(dir, "kafka-"+name+".sh"), []byte(script), 0o700); err != nil { //nolint:gosec // it has to be executable
			t.Fatal(err)
		}
	}
	return dir
}
