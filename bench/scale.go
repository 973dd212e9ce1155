package main

import "time"

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
	nightUsers      int // users of 10 records each, which are gone after a night
	nightPuts       int // records put in the morning
	fullMB          int // memory of the server that is full
	fullPuts        int // records put into it

	loadUsers int           // users of 10 records each, when the clients of the load begin
	loadTime  time.Duration // how long they go on

	fit       []int // records of the namespaces that the model is fitted to
	predicted int   // of the one that it predicts, which is the largest
	variant   int   // records with other keys or values than the rest
	fanOut    int   // records that lie in ever more shards
	rounds    int   // of the model
}

var scales = map[string]scale{
	"full": {
		users: 1_000, sessions: 3, items: []int{7, 97, 297, 1_000, 2_997},
		sessionUsers: 20_000,
		base:         100_000, puts: 10_000, depthBase: 20_000, depthPuts: 5_000,
		gets: 10_000, memory: 300_000, deleteUsers: 10_000,
		nightUsers: 100_000, nightPuts: 100_000, fullMB: 64, fullPuts: 3_000_000,
		loadUsers: 100_000, loadTime: time.Minute,
		fit: []int{10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000}, predicted: 5_000_000,
		variant: 50_000, fanOut: 50_000, rounds: 11,
	},
	// For a machine with 2 GB to spare, or one that is busy.
	"middle": {
		users: 1_000, sessions: 3, items: []int{7, 97, 297},
		sessionUsers: 5_000,
		base:         20_000, puts: 5_000, depthBase: 5_000, depthPuts: 2_000,
		gets: 5_000, memory: 50_000, deleteUsers: 2_000,
		nightUsers: 20_000, nightPuts: 20_000, fullMB: 32, fullPuts: 1_200_000,
		loadUsers: 20_000, loadTime: 15 * time.Second,
		fit: []int{10_000, 30_000, 100_000, 300_000}, predicted: 1_000_000,
		variant: 20_000, fanOut: 20_000, rounds: 5,
	},
	"quick": {
		users: 100, sessions: 3, items: []int{7, 97, 297},
		sessionUsers: 1_000,
		base:         5_000, puts: 1_000, depthBase: 1_000, depthPuts: 500,
		gets: 1_000, memory: 10_000, deleteUsers: 200,
		nightUsers: 2_000, nightPuts: 2_000, fullMB: 8, fullPuts: 150_000,
		loadUsers: 2_000, loadTime: 3 * time.Second,
		fit: []int{5_000, 12_000, 20_000, 30_000}, predicted: 50_000,
		variant: 10_000, fanOut: 5_000, rounds: 2,
	},
}
