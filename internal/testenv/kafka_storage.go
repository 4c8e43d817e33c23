package testenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// formatWait bounds one run of Kafka's storage tool: a second alone, more on a machine that is busy.
const formatWait = 60 * time.Second

// format writes every broker's settings and prepares its data folder. Kafka's own tool formats the first; the others
// get the same bootstrap records and a meta.properties of their own, which saves two starts of Java.
func (c *Cluster) format(ctx context.Context) error {
	for _, b := range c.brokers {
		if err := os.MkdirAll(b.dir, 0o700); err != nil {
			return fmt.Errorf("preparing a broker's folder: %w", err)
		}
		if err := os.WriteFile(b.settings(), []byte(c.properties(b)), 0o600); err != nil {
			return fmt.Errorf("writing a broker's settings: %w", err)
		}
	}
	clusterID := kafkaUUID()
	first := c.brokers[0]
	ctx, cancel := context.WithTimeout(ctx, formatWait)
	defer cancel()
	args := append(c.javaArgs(), "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", first.settings())
	cmd := exec.CommandContext(ctx, c.home.java, append(args, c.scramArgs()...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := runChild(cmd); err != nil {
		return fmt.Errorf("formatting Kafka's storage: %w: %s", err, lastLines(out.String(), 20))
	}
	const bootstrap = "bootstrap.checkpoint"
	records, err := os.ReadFile(filepath.Join(first.dir, "data", bootstrap))
	if err != nil {
		return fmt.Errorf("reading what the storage tool wrote: %w", err)
	}
	for _, b := range c.brokers[1:] {
		data := filepath.Join(b.dir, "data")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return fmt.Errorf("preparing a broker's data folder: %w", err)
		}
		meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", clusterID, b.id, kafkaUUID())
		for name, content := range map[string][]byte{bootstrap: records, "meta.properties": []byte(meta)} {
			if err := os.WriteFile(filepath.Join(data, name), content, 0o600); err != nil {
				return fmt.Errorf("preparing a broker's data folder: %w", err)
			}
		}
	}
	return nil
}

// kafkaUUID is a random UUID in Kafka's notation: 16 bytes in URL-safe base64. A leading dash would read as a flag.
func kafkaUUID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	raw[0] &= 0x7f           // base64 of a first byte under 0x80 begins with a letter
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// javaArgs is the start of every java command: quick to start, small, and loud when its memory ends.
func (c *Cluster) javaArgs() []string {
	args := []string{
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError",
		"-Djava.net.preferIPv4Stack=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
	}
	if archive := filepath.Join(c.home.libs, "kafka.jsa"); fileExists(archive) {
		args = append(args, "-XX:SharedArchiveFile="+archive)
	}
	return append(args, "-cp", filepath.Join(c.home.libs, "*"))
}

// fileExists tells whether there is something by that name.
func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
