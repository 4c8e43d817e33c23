package testenv

import "path/filepath"

// DataDir is the folder that holds the broker's logs, one folder a partition. Change it only while the broker is down.
func (b *Broker) DataDir() string { return filepath.Join(b.dir, "data") }
