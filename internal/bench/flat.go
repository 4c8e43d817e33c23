package main

// growthMost is the growth from a run's second third to its last that still counts as none: medians vary by some
// percent. In 30 minutes at 5,000/s and 50 MB it lets a leak of 3 bytes an event pass; a longer run lets less.
const growthMost = 1.10

// drift is how something measured at a steady pace has changed over a run. Its first third is for warming up.
type drift struct{ second, last float64 } // medians of these thirds

// driftOf compares the last third of the values with the one before.
func driftOf(values []float64) drift {
	n := len(values)
	return drift{second: spread(values[n/3 : 2*n/3]).median, last: spread(values[2*n/3:]).median}
}

// flat reports whether it hasn't grown by more than growthMost and, since small numbers vary more, by more than slack.
func (d drift) flat(slack float64) bool { return d.last <= max(d.second*growthMost, d.second+slack) }
