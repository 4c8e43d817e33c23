package config

import "strings"

// nearest returns the known name that the unknown one was most likely meant to be, or "" if none is like it.
func nearest(unknown string, known []string) string {
	unknown = strings.ToLower(strings.ReplaceAll(unknown, "-", "_"))
	best, fewest := "", max(2, len(unknown)/3)+1
	for _, name := range known {
		if edits := editDistance(unknown, name); edits < fewest {
			best, fewest = name, edits
		}
	}
	if best != "" {
		return best
	}
	// Not a slip of the fingers; perhaps a name with words left out or added, such as brokers or retention_hours.
	for _, name := range known {
		inside := containsWords(name, unknown) || containsWords(unknown, name)
		if inside && (best == "" || len(name) < len(best)) {
			best = name
		}
	}
	return best
}

// containsWords reports whether part's words stand in name in a row.
func containsWords(name, part string) bool {
	return part != "" && strings.Contains("_"+name+"_", "_"+part+"_")
}

// editDistance counts the letters to insert, delete, replace or swap with their neighbour to get from a to b (the
// "optimal string alignment" distance), so that a swap, the commonest slip, counts once.
func editDistance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
