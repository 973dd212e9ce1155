package main

// scale is how much data a run works on.
type scale struct {
	users, sessions int   // of the namespace that grows
	items           []int // other records of each user, step by step
	sessionUsers    int   // users of the namespace in which every record matches
	base            int   // records that are there before puts and gets are measured
	puts            int   // records put a round
	depthBase       int   // the same two, for each depth
	depthPuts       int
	gets            int // records read a round
	memory          int // records whose index memory is measured
	deleteUsers     int // users whose 10 sessions are deleted from among their 100 records
}

var scales = map[string]scale{
	"full": {
		users: 1_000, sessions: 3, items: []int{7, 97, 297, 1_000, 2_997},
		sessionUsers: 20_000,
		base:         100_000, puts: 10_000, depthBase: 20_000, depthPuts: 5_000,
		gets: 10_000, memory: 300_000, deleteUsers: 10_000,
	},
	"quick": {
		users: 100, sessions: 3, items: []int{7, 97, 297},
		sessionUsers: 1_000,
		base:         5_000, puts: 1_000, depthBase: 1_000, depthPuts: 500,
		gets: 1_000, memory: 10_000, deleteUsers: 200,
	},
}
