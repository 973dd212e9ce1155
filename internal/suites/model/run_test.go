package model

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/differ"
	"github.com/wildkey/wildkey/internal/draw"
)

var (
	modelOps  = flag.Int("model-ops", 4_000, "how many operations TestModel tries on the engine and on each server")
	modelSeed = flag.Uint64("model-seed", 0, "what they are drawn from; 0: the time")
)

// TestModel draws sequences of all operations and expects of each, and of the
// keyspace after each, what the model says. A sequence that fails is shrunk.
func TestModel(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		seed := *modelSeed
		if seed == 0 {
			seed = uint64(time.Now().UnixNano())
		}
		t.Logf("reproduce with -model-seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		const length = 50
		for range *modelOps / length {
			d := newDrawing(random, b)
			steps := make([]modelStep, length)
			for i := range steps {
				steps[i] = d.step(t)
			}
			err := play(t, b, d.options, steps)
			if err == nil {
				continue
			}
			unshrunk := err
			steps = shrinkSteps(steps, func(steps []modelStep) bool {
				// What a server collects, and what a Writer makes one call of, is not always the same.
				for range 5 {
					if failure := play(t, b, d.options, steps); failure != nil {
						err = failure
						return true
					}
					if b.Engine != nil && !slices.ContainsFunc(steps, func(s modelStep) bool { return s.verb == "Writer" }) {
						break
					}
				}
				return false
			})
			var text strings.Builder
			for _, s := range steps {
				fmt.Fprintln(&text, s)
			}
			t.Fatalf("seed %d, %+v\n%s%v\nbefore it was shrunk:\n%v", seed, d.options, &text, err, unshrunk)
		}
	})
}

// play runs the steps on an empty server and says what differs first.
func play(t *testing.T, b *backend.Backend, options wildkey.Options, steps []modelStep) error {
	t.Helper()
	b.Do(t, "FLUSHALL")
	r := &modelRun{
		model: &model{
			shards: options.Shards, leading: options.ShardSegments,
			records: map[string]modelRecord{}, entries: map[string]bool{},
		},
		Backend: b, cache: b.Cache(t, options), elsewhere: b.Cache(t, wildkey.Options{Namespace: "other", Shards: 2}),
	}
	options.LeaveStale = true
	r.leavesStale = b.Cache(t, options)
	if b.Engine != nil {
		b.Engine.SetRandomSeed(0)
		b.Engine.ResetTrace() // it would grow with each sequence
		r.now = b.Engine.Now().UnixMilli()
	}
	for i, s := range steps {
		if got, want := r.step(t, s); got != want {
			return fmt.Errorf("step %d: %s\n got %s\nwant %s", i+1, s, got, want)
		}
		got, want := r.states(t)
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("the keyspace after step %d, %s (-model +server)\n%s", i+1, s, diff)
		}
	}
	return nil
}

// shrinkSteps shrinks a failing sequence, and then what its steps name.
func shrinkSteps(steps []modelStep, fails func([]modelStep) bool) []modelStep {
	steps = differ.Shrink(steps, fails)
	shrinkEach(steps, fails)
	return differ.Shrink(steps, fails)
}

// shrinkEach shrinks the steps one by one, a Writer's too, in place.
func shrinkEach(steps []modelStep, fails func([]modelStep) bool) {
	for i, s := range steps {
		with := func(change func(*modelStep)) bool {
			changed := s
			change(&changed)
			return fails(slices.Concat(steps[:i], []modelStep{changed}, steps[i+1:]))
		}
		s.ops = differ.Shrink(s.ops, func(ops []modelOp) bool {
			return len(ops) > 0 && with(func(s *modelStep) { s.ops = ops })
		})
		s.keys = differ.Shrink(s.keys, func(keys []wildkey.Key) bool {
			return len(keys) > 0 && with(func(s *modelStep) { s.keys = keys })
		})
		withWrites := func(writes []modelStep) bool { return with(func(s *modelStep) { s.writes = writes }) }
		s.writes = differ.Shrink(s.writes, withWrites)
		shrinkEach(s.writes, withWrites)
		if with(func(s *modelStep) { s.full, s.leaveStale = false, false }) {
			s.full, s.leaveStale = false, false
		}
		steps[i] = s
	}
}

// drawing draws the steps of one sequence, all on a few keys.
type drawing struct {
	*rand.Rand
	options wildkey.Options
	keys    []wildkey.Key
	unit    time.Duration // of TTLs
	tick    time.Duration // what each passing of time adds to whole units
}

// newDrawing has the engine's time in milliseconds, where every bound shows. On a
// server the sequence itself takes time: there all that expires does so ten
// minutes before, or hours after, any step.
func newDrawing(random *rand.Rand, b *backend.Backend) *drawing {
	d := &drawing{Rand: random, unit: time.Millisecond}
	if b.Server != nil {
		d.unit, d.tick = 24*time.Hour, 10*time.Minute
	}
	d.options = wildkey.Options{
		PageLimit: 1 + random.IntN(9), PageReads: 1 + random.IntN(20), CallBytes: 1 + random.IntN(100),
		CallRecords: []int{5, 20, 80}[random.IntN(3)],
		Shards:      []int{1, 1, 2, 3, 7}[random.IntN(5)], ShardSegments: 1 + random.IntN(3),
	}
	many := 5 + random.IntN(35)
	if random.IntN(6) == 0 { // so many that a Put looks at more than it puts
		many, d.options.CallRecords, d.options.Shards = 300, 250, 1
	}
	few := draw.Few(random)
	for range many {
		key := make(wildkey.Key, 1+random.IntN(3))
		for i := range key {
			key[i] = few[random.IntN(len(few))]
		}
		if many == 300 {
			key = key.Child(random.IntN(1000))
		}
		d.keys = append(d.keys, key)
	}
	return d
}

func (d *drawing) some(most int) []wildkey.Key {
	keys := make([]wildkey.Key, 1+d.IntN(most))
	for i := range keys {
		keys[i] = d.keys[d.IntN(len(d.keys))]
	}
	return keys
}

// atOnce draws keys for an atomic call: nearly always of one shard, and each once.
func (d *drawing) atOnce(most int) []wildkey.Key {
	keys := d.some(most)
	if d.IntN(12) == 0 {
		return keys
	}
	met := map[string]bool{}
	return slices.DeleteFunc(d.ofOneShard(keys), func(key wildkey.Key) bool {
		twice := met[key.String()]
		met[key.String()] = true
		return twice
	})
}

// ofOneShard leaves out the keys that lie in another shard than the first.
func (d *drawing) ofOneShard(keys []wildkey.Key) []wildkey.Key {
	shards, leading := d.options.Shards, d.options.ShardSegments
	first := keys[0].Shard(shards, leading)
	return slices.DeleteFunc(keys, func(key wildkey.Key) bool { return key.Shard(shards, leading) != first })
}

func (d *drawing) ttl() time.Duration {
	if d.IntN(5) == 0 {
		return wildkey.NoExpiry
	}
	return time.Duration(1+d.IntN(4)) * d.unit
}

func (d *drawing) value() string { return []string{"", "v", "w", "a longer value"}[d.IntN(4)] }

// ops draws operations, most of them or all of them puts.
func (d *drawing) ops(keys []wildkey.Key, putsAlone bool) (ops []modelOp) {
	conditions := d.IntN(3) == 0
	for _, key := range keys {
		op := modelOp{"put", modelRecord{key: key, value: d.value(), ttl: d.ttl(), condition: "*"}}
		if d.IntN(10) == 0 {
			op.record.ttl = wildkey.KeepTTL
		}
		if !putsAlone && d.IntN(2) == 0 {
			op.verb = []string{"touch", "touch", "delete", "delete", "check"}[d.IntN(5)]
			op.record.value, op.record.ttl = "", d.ttl()
		}
		if conditions && d.IntN(2) == 0 || op.verb == "check" && d.IntN(20) > 0 {
			op.record.condition = []string{"-", "+", "=" + d.value(), "#" + d.value()}[d.IntN(4)]
		}
		ops = append(ops, op)
	}
	return ops
}

func (d *drawing) most() int {
	if d.IntN(8) == 0 || d.options.CallRecords == 250 && d.IntN(3) == 0 {
		return d.options.CallRecords
	}
	return 1 + d.IntN(4)
}

func (d *drawing) step(t *testing.T) modelStep {
	t.Helper()
	s := d.drawn(t)
	if isVerb(s.verb) && s.verb != "Writer" {
		s.full = d.IntN(10) == 0
	}
	return s
}

func (d *drawing) drawn(t *testing.T) modelStep {
	t.Helper()
	segment := func() string { return d.some(1)[0][0] }
	pattern := draw.Pattern(t, d.Rand, segment, nil)
	leaveStale := d.IntN(4) == 0
	switch n := d.IntN(100); {
	case n < 18:
		return modelStep{verb: "Put", ops: d.ops(d.atOnce(d.most()), true)}
	case n < 30:
		return modelStep{verb: "Apply", ops: d.ops(d.atOnce(d.most()), false)}
	case n < 34:
		return modelStep{verb: "PutEach", ops: d.ops(d.some(2*d.most()), true)}
	case n < 36:
		return modelStep{verb: "DeleteEach", keys: d.some(6)}
	case n < 38:
		return modelStep{verb: "TouchEach", ttl: d.ttl(), keys: d.some(6)}
	case n < 40:
		return modelStep{verb: "Get", keys: d.some(1)}
	case n < 42:
		return modelStep{verb: "GetTouch", ttl: d.ttl(), keys: d.some(1)}
	case n < 44:
		return modelStep{verb: "TTL", keys: d.some(1)}
	case n < 46:
		return modelStep{verb: "GetMany", keys: d.some(5)}
	case n < 49:
		keys := d.atOnce(4)
		if d.IntN(4) == 0 {
			keys = append(keys, keys[0])
		}
		return modelStep{verb: "Delete", keys: keys}
	case n < 51:
		return modelStep{verb: "Take", keys: d.some(1)}
	case n < 54:
		return modelStep{verb: "Touch", ttl: d.ttl(), keys: d.atOnce(4)}
	case n < 57:
		return modelStep{verb: "Collect", pattern: pattern, leaveStale: leaveStale}
	case n < 60:
		return modelStep{verb: "Match", pattern: pattern, leaveStale: leaveStale}
	case n < 63:
		return modelStep{verb: "Page", pattern: pattern, leaveStale: leaveStale, limit: 1 + d.IntN(5)}
	case n < 66:
		return modelStep{verb: "MatchKeys", pattern: pattern, leaveStale: leaveStale}
	case n < 69:
		return modelStep{verb: "Count", pattern: pattern, leaveStale: leaveStale}
	case n < 71:
		return modelStep{verb: "DeleteMatch", pattern: pattern}
	case n < 73:
		return modelStep{verb: "TouchMatch", ttl: d.ttl(), pattern: pattern}
	case n < 74:
		return modelStep{verb: "Sweep", leaveStale: leaveStale}
	case n < 75:
		return modelStep{verb: "sweepSuspects", keys: d.ofOneShard(d.some(12))}
	case n < 76:
		return modelStep{verb: "reindex"}
	case n < 77:
		return modelStep{verb: "loseIndexesAndReindex"}
	case n < 78:
		return modelStep{verb: "moveThereAndBack"}
	case n < 81:
		s := modelStep{verb: "Writer"}
		for range 1 + d.IntN(6) {
			write := modelStep{verb: "Apply", ops: d.ops(d.atOnce(d.most()), false)}
			if d.IntN(3) == 0 {
				write = modelStep{verb: "Delete", keys: d.atOnce(3)}
			}
			s.writes = append(s.writes, write)
		}
		return s
	case n < 89:
		return modelStep{verb: []string{"DEL", "DEL", "GETDEL"}[d.IntN(3)], keys: d.some(1)}
	case n < 90:
		return modelStep{verb: "PERSIST", keys: d.some(1)}
	case n < 91:
		return modelStep{verb: "PEXPIRE", ttl: time.Duration(1+d.IntN(4)) * d.unit, keys: d.some(1)}
	case n < 93:
		return modelStep{verb: []string{"SET", "SETKEEPTTL"}[d.IntN(2)], keys: d.some(1), value: d.value()}
	case n < 94:
		return modelStep{verb: "scriptFlush"}
	}
	return modelStep{verb: "pass", ttl: time.Duration(d.IntN(6))*d.unit + d.tick}
}
