package main

import "testing"

// TestEstimate: a sample of all records is no estimate, and loses no byte to the division.
func TestEstimate(t *testing.T) {
	for n := range int64(memorySample) {
		row := memoryRow{Records: n + 1}
		for range row.Records {
			row.sample = append(row.sample, 73)
		}
		if row.estimate(); row.Bytes != 73*row.Records || row.Estimated {
			t.Errorf("%d records of 73 bytes: %s", row.Records, row.memory())
		}
	}
}
