package fetch

import "sync/atomic"

// Stats counts events since New.
type Stats struct {
	Loads     int64 // calls of a Load
	Errors    int64 // Loads that panicked or returned an error other than wildkey.ErrNotFound
	Stored    int64 // values that a Load returned and that were put
	Refused   int64 // loads not stored because the lease was gone or the record had changed
	Failed    int64 // loads not stored because of another server error or a missing reply
	Unleased  int64 // loads without a lease, because the server refused it
	Refreshes int64 // loads in the background, ahead of the end of a record
	Waits     int64 // pauses for the load of another process
}

type counts struct {
	loads, errors, stored, refused, failed, unleased, refreshes, waits atomic.Int64
}

// Stats returns the counts so far.
func (f *Fetcher) Stats() Stats {
	c := &f.counts
	return Stats{
		Loads: c.loads.Load(), Errors: c.errors.Load(), Stored: c.stored.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(),
		Unleased: c.unleased.Load(), Refreshes: c.refreshes.Load(), Waits: c.waits.Load(),
	}
}
