package differ

import "slices"

// Shrink returns a part of seq, in order, that still fails and none of whose
// elements can be left out. It calls fails some n log n times, and often fewer.
func Shrink[T any](seq []T, fails func([]T) bool) []T {
	for size := len(seq); size > 0; {
		removed := false
		for at := 0; at < len(seq); {
			rest := slices.Concat(seq[:at], seq[min(at+size, len(seq)):])
			if fails(rest) {
				seq, removed = rest, true
			} else {
				at += size
			}
		}
		// What one element needed may be gone now: single ones are tried again.
		if size > 1 || !removed {
			size /= 2
		}
	}
	return seq
}
