//go:build !unix

package dedupe

import "time"

// cpuTime isn't known here.
func cpuTime() time.Duration { return 0 }
