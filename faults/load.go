package faults

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/writer"
)

// loadOptions are the settings of a load.
type loadOptions struct {
	cache   wildkey.Options // by default namespace "faults" and a TTL of an hour
	clients int             // by default 8
	users   int             // of each client, by default 16
	bytes   int             // the least size of a value
	// replays says that a call may be sent more than once: the retries of
	// go-redis after a fault, the redirections of a cluster.
	replays bool
	// evicts says that the server may drop records on its own.
	evicts bool
	// forgets says that servers may lose what they had acknowledged, while the
	// load runs.
	forgets bool
	// moves says that records may move to another node: each for itself, with the
	// time that it has left. Those that are written together then expire apart.
	moves bool
}

// load is a number of clients that use all verbs of a namespace at a time.
//
// A record is user-C-N:session:S, for the client C, the only one that writes it;
// all may read it. With an even N the three sessions of a user are written
// together, with one value, and must never be seen in two states; with an odd N
// each is written alone, conditions and Take among that.
//
// A client remembers what its records must be. Where it was not told what became
// of a call, such as after a broken connection, the record may be what it was or
// what the call makes of it, now or at any later time: from then on the client
// leaves it alone, until judge has looked.
type load struct {
	loadOptions
	client  redis.UniversalClient
	cache   *wildkey.Cache
	workers []*worker

	mu    sync.Mutex
	told  map[string]int // how calls ended: "done", or the kind of the error
	wrong []string       // answers that cannot be
	acked atomic.Int64   // records written, by calls that said so
	mine  atomic.Int64   // calls that found their own work, as they were sent twice
}

// worker is one client of a load.
type worker struct {
	*load
	*rand.Rand
	number  int
	users   [][]*fact
	version int
}

// fact is what the client of a record knows of it.
type fact struct {
	key   wildkey.Key
	may   []string // its possible values, "" for no record; of one, it is certain
	doubt bool     // nobody knows what became of a call
}

var sessions = []string{"a", "b", "c"}

func newLoad(t *testing.T, client redis.UniversalClient, options loadOptions) *load {
	t.Helper()
	if options.cache.Namespace == "" {
		options.cache.Namespace = "faults"
	}
	if options.cache.TTL == 0 {
		options.cache.TTL = time.Hour
	}
	if options.clients == 0 {
		options.clients = 8
	}
	if options.users == 0 {
		options.users = 16
	}
	cache, err := wildkey.New(client, options.cache)
	must(t, err)
	l := &load{loadOptions: options, client: client, cache: cache, told: map[string]int{}}
	for number := range options.clients {
		seed := rand.Uint64()
		t.Logf("client %d has the seed %d", number, seed)
		w := &worker{load: l, Rand: rand.New(rand.NewPCG(seed, 0)), number: number}
		for user := range options.users {
			var facts []*fact
			for _, session := range sessions {
				key := wildkey.K(fmt.Sprintf("user-%d-%d", number, user), "session", session)
				facts = append(facts, &fact{key: key, may: []string{""}})
			}
			w.users = append(w.users, facts)
		}
		l.workers = append(l.workers, w)
	}
	return l
}

// run has each client make so many calls, fewer if ctx ends.
func (l *load) run(ctx context.Context, calls int) {
	var running sync.WaitGroup
	for _, w := range l.workers {
		running.Add(1)
		go func() {
			defer running.Done()
			for n := 0; n < calls && ctx.Err() == nil; n++ {
				w.step()
			}
		}()
	}
	running.Wait()
}

// mostCalls bounds the calls that a client makes while a fault lasts.
const mostCalls = 1_000_000

// during runs the load while fault does what it does.
func (l *load) during(fault func()) {
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		l.run(ctx, mostCalls)
	}()
	defer func() { <-stopped }()
	defer stop()
	fault()
}

// waitForWrites waits until so many more records have been written, in calls
// that said so. It reports whether they were, within a minute.
func (l *load) waitForWrites(n int64) bool {
	start := l.acked.Load()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if l.acked.Load()-start >= n {
			return true
		}
	}
	return false
}

// toldOf is how many calls have ended so since the last round.
func (l *load) toldOf(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[kind]
}

// forget has all records be gone.
func (l *load) forget() {
	for _, w := range l.workers {
		for _, user := range w.users {
			for _, f := range user {
				f.may, f.doubt = []string{""}, false
			}
		}
	}
}

// wronged notes an answer that cannot be.
func (l *load) wronged(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

var everything = wildkey.MustParsePattern("**")

// ctx of the calls never ends: what a call does is cut short by faults alone.
var ctx = context.Background()

// verbs has each verb as often as it is to be called.
var verbs = slices.Concat(
	slices.Repeat([]func(*worker) error{(*worker).putUser, (*worker).putSession}, 8),
	slices.Repeat([]func(*worker) error{
		(*worker).deleteUser, (*worker).deleteSession, (*worker).take, (*worker).touchUser, (*worker).touchSession,
		(*worker).deleteMatch, (*worker).touchMatch, (*worker).putEach, (*worker).deleteEach, (*worker).touchEach,
		(*worker).apply, (*worker).getTouch, (*worker).write,
	}, 2),
	slices.Repeat([]func(*worker) error{
		(*worker).get, (*worker).getMany, (*worker).ttl, (*worker).match, (*worker).page, (*worker).count,
	}, 4),
	[]func(*worker) error{(*worker).matchAll, (*worker).matchKeys, (*worker).sweep, (*worker).reindex},
)

func (w *worker) step() {
	err := verbs[w.IntN(len(verbs))](w)
	if err == errNothingLeft {
		return
	}
	w.mu.Lock()
	w.told[kindOf(err)]++
	w.mu.Unlock()
	if err != nil { // who meets a server that is gone does not ask at full speed
		time.Sleep(time.Millisecond)
	}
}

// outcome is what a client knows of a call that has ended.
type outcome int

const (
	done    outcome = iota
	refused         // the server said no and has written nothing, or was not reached
	unknown         // it may have been done, or be done yet
)

func (w *worker) outcomeOf(err error) outcome {
	var answer redis.Error
	var network *net.OpError
	switch {
	case err == nil:
		return done
	case w.replays: // the last try alone has told
		return unknown
	case errors.As(err, &answer), errors.Is(err, wildkey.ErrScriptMissing),
		errors.As(err, &network) && network.Op == "dial":
		return refused
	}
	return unknown
}

// becomes notes what a call with this error has made of a record.
func (w *worker) becomes(f *fact, err error, values ...string) {
	switch w.outcomeOf(err) {
	case done:
		f.may = values
		w.acked.Add(1)
	case unknown:
		f.may, f.doubt = append(f.may, values...), true
	}
}

// certain is what the record is, "" for none, where the client knows.
func (w *worker) certain(f *fact) (value string, ok bool) {
	return f.may[0], len(f.may) == 1 && !f.doubt && !w.evicts && !w.forgets
}

// A client that has been left in doubt of all of its records can only read.
var errNothingLeft = errors.New("no record left that is in no doubt")

const (
	together = 0 // users whose sessions are written together
	alone    = 1
)

// user picks one of the client's users that is in no doubt.
func (w *worker) user(kind int) ([]*fact, error) {
	from := w.IntN(len(w.users))
	for i := range w.users {
		n := (from + i) % len(w.users)
		isDoubtful := func(f *fact) bool { return f.doubt }
		if n%2 == kind && !slices.ContainsFunc(w.users[n], isDoubtful) {
			return w.users[n], nil
		}
	}
	return nil, errNothingLeft
}

func (w *worker) session() (*fact, error) {
	user, err := w.user(alone)
	if err != nil {
		return nil, err
	}
	return user[w.IntN(len(user))], nil
}

// anyone's sessions, of a user whose sessions are written together.
func (w *worker) anyone() []*fact {
	other := w.workers[w.IntN(len(w.workers))]
	return other.users[w.IntN((len(other.users)+1)/2)*2]
}

func keysOf(facts []*fact) (keys []wildkey.Key) {
	for _, f := range facts {
		keys = append(keys, f.key)
	}
	return keys
}

func patternOf(user []*fact) wildkey.Pattern { return wildkey.Under(user[0].key[:1]) }

// value returns one that was never written before.
func (w *worker) value() string {
	w.version++
	value := fmt.Sprintf("%d.%d.", w.number, w.version)
	return value + strings.Repeat("v", max(0, w.bytes-len(value)))
}

// lasting returns a TTL, and what the record may be under it: a short one leaves
// the value or nothing.
func (w *worker) lasting(value string) (ttl time.Duration, may []string) {
	switch n := w.IntN(10); {
	case n == 0 && !w.moves:
		return time.Duration(1+w.IntN(50)) * time.Millisecond, []string{value, ""}
	case n <= 2:
		return wildkey.NoExpiry, []string{value}
	}
	return 0, []string{value}
}

func (w *worker) putUser() error {
	user, err := w.user(together)
	if err != nil {
		return err
	}
	// Never a short TTL: records that have moved with their slot expire apart.
	value := w.value()
	ttl := []time.Duration{0, time.Hour, wildkey.NoExpiry}[w.IntN(3)]
	var records []wildkey.Record
	for _, key := range keysOf(user) {
		records = append(records, wildkey.Record{Key: key, Value: []byte(value), TTL: ttl})
	}
	err = w.cache.Put(ctx, records...)
	for _, f := range user {
		w.becomes(f, err, value)
	}
	return err
}

func (w *worker) putSession() error {
	f, err := w.session()
	if err != nil {
		return err
	}
	value := w.value()
	ttl, may := w.lasting(value)
	record := wildkey.Record{Key: f.key, Value: []byte(value), TTL: ttl}
	was, certain := w.certain(f)
	holds, meetsItself := true, len(may) > 1 // it may expire before it is sent again
	switch w.IntN(7) {
	case 0:
		record.If, holds, meetsItself = wildkey.Absent(), was == "", true
	case 1:
		record.If, holds = wildkey.Present(), was != ""
	case 2:
		record.If, holds, meetsItself = wildkey.Equal([]byte(was)), was != "", true
	case 3:
		digest := sha1.Sum([]byte(was))
		record.If, holds, meetsItself = wildkey.EqualSHA1(hex.EncodeToString(digest[:])), was != "", true
	case 4:
		record.If, holds = wildkey.Equal([]byte("never written")), false
	case 5:
		record.TTL, holds, may = wildkey.KeepTTL, was != "", []string{value}
		if slices.Contains(f.may, "") {
			may = append(may, "")
		}
	}
	err = w.cache.Put(ctx, record)
	if !errors.Is(err, wildkey.ErrCondition) {
		if err == nil && certain && !holds {
			w.wronged("Put %v of %s, which was %q: done", record.If, f.key, was)
		}
		w.becomes(f, err, may...)
		return err
	}
	switch {
	case !certain && w.replays && (w.forgets || !slices.Equal(f.may, []string{""})): // it may have met its own work
		f.may = append(f.may, may...)
	case certain && holds && w.replays && meetsItself:
		w.mine.Add(1)
		f.may = may
	case certain && holds:
		w.wronged("Put %v of %s, which was %q: %v", record.If, f.key, was, err)
	}
	return nil
}

// putEach writes a session each of several users.
func (w *worker) putEach() error {
	facts, err := w.several()
	if err != nil {
		return err
	}
	value := w.value()
	var records []wildkey.Record
	for _, f := range facts {
		records = append(records, wildkey.Record{Key: f.key, Value: []byte(value)})
	}
	n := 0
	_, err = w.cache.PutEach(ctx, all(records), func(_ wildkey.Record, err error) {
		w.becomes(facts[n], err, value)
		n++
	})
	if n != len(facts) {
		w.wronged("PutEach of %d records told of %d", len(facts), n)
	}
	return err
}

// all yields the items, as a source that does not fail.
func all[T any](items []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

func (w *worker) deleteEach() error {
	facts, err := w.several()
	if err != nil {
		return err
	}
	var told []error
	n, err := w.cache.DeleteEach(ctx, all(keysOf(facts)), func(_ wildkey.Key, err error) {
		told = append(told, err)
	})
	return w.metEach("DeleteEach", n, err, facts, told, true)
}

func (w *worker) touchEach() error {
	facts, err := w.several()
	if err != nil {
		return err
	}
	var told []error
	n, err := w.cache.TouchEach(ctx, time.Hour, all(keysOf(facts)), func(_ wildkey.Key, err error) {
		told = append(told, err)
	})
	return w.metEach("TouchEach", n, err, facts, told, false)
}

// metEach is met for a verb that makes a call a shard, each with its own outcome.
func (w *worker) metEach(verb string, n int, err error, facts []*fact, told []error, deletes bool) error {
	if len(told) != len(facts) {
		w.wronged("%s of %d records told of %d", verb, len(facts), len(told))
		return err
	}
	if err == nil {
		return w.met(verb, n, nil, facts, deletes)
	}
	w.mustNotBeFull(verb, err)
	for i, f := range facts {
		w.leaves(f, told[i], deletes)
	}
	return err
}

// apply puts one session of a user and deletes or touches another, under a condition
// on the third.
func (w *worker) apply() error {
	user, err := w.user(alone)
	if err != nil {
		return err
	}
	order := w.Perm(len(user))
	put, other, checked := user[order[0]], user[order[1]], user[order[2]]
	is, certain := w.certain(checked)
	condition, holds := wildkey.Absent(), is == ""
	if w.IntN(2) == 0 {
		condition, holds = wildkey.Present(), is != ""
	}
	value, deletes := w.value(), w.IntN(2) == 0
	op := wildkey.OpTouch(other.key, time.Hour)
	if deletes {
		op = wildkey.OpDelete(other.key)
	}
	n, err := w.cache.Apply(ctx, op, wildkey.OpCheck(checked.key).If(condition),
		wildkey.OpPut(wildkey.Record{Key: put.key, Value: []byte(value)}))
	var failed *wildkey.ConditionError
	if errors.As(err, &failed) {
		if failed.Index != 1 || certain && holds {
			w.wronged("Apply if %v of %s, which was %q: %v", condition, checked.key, is, err)
		}
		if !certain && w.replays { // when it was sent first, the condition may have held
			put.may, other.may = append(put.may, value), append(other.may, "")
		}
		return nil
	}
	if err == nil && certain && !holds {
		w.wronged("Apply if %v of %s, which was %q: done", condition, checked.key, is)
	}
	if least, most := w.live(other); err == nil && (n < 1+least || n > 1+most) {
		if w.replays && deletes && n == 1 {
			w.mine.Add(1)
		} else {
			w.wronged("Apply has put, deleted and touched %d, not %d to %d", n, 1+least, 1+most)
		}
	}
	w.becomes(put, err, value)
	w.leaves(other, err, deletes)
	return err
}

// several returns different sessions.
func (w *worker) several() (facts []*fact, err error) {
	for range 5 {
		f, err := w.session()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(facts, f) {
			facts = append(facts, f)
		}
	}
	return facts, nil
}

// write has a Writer write some sessions and delete others, in the background.
func (w *worker) write() error {
	facts, err := w.several()
	if err != nil {
		return err
	}
	failed, value := map[string]error{}, w.value()
	var last error
	background := writer.New(w.cache, writer.Options{
		OnError: func(f writer.Failure) {
			last = f.Err
			for _, op := range f.Ops {
				failed[op.Key().String()] = f.Err
			}
		},
	})
	becomes := make([]string, len(facts))
	for i, f := range facts {
		if becomes[i] = value; i%2 == 1 {
			becomes[i], err = "", background.Delete(ctx, f.key)
		} else {
			err = background.Put(ctx, wildkey.Record{Key: f.key, Value: []byte(value)})
		}
		if err != nil {
			w.wronged("a Writer would not queue %s: %v", f.key, err)
		}
	}
	if err := background.Close(ctx); err != nil {
		w.wronged("Close of a Writer returned %v", err)
	}
	for i, f := range facts {
		w.becomes(f, failed[f.key.String()], becomes[i])
	}
	return last
}

// live returns how many of the records are live: at least and at most.
func (w *worker) live(facts ...*fact) (least, most int) {
	for _, f := range facts {
		if value, certain := w.certain(f); !certain {
			most++
		} else if value != "" {
			least++
			most++
		}
	}
	return least, most
}

// met notes how many records a call has met, of those that it named, and that it
// has deleted them or left them as they were.
func (w *worker) met(verb string, n int, err error, facts []*fact, deletes bool) error {
	w.mustNotBeFull(verb, err)
	least, most := w.live(facts...)
	if err == nil && (n < least || n > most) {
		if w.replays && deletes && n == 0 {
			w.mine.Add(1)
		} else {
			w.wronged("%s of %s and %d more has met %d, not %d to %d", verb, facts[0].key, len(facts)-1, n, least, most)
		}
	}
	for _, f := range facts {
		w.leaves(f, err, deletes)
	}
	return err
}

// mustNotBeFull notes a refusal of what a server does even when its memory is full.
func (w *worker) mustNotBeFull(verb string, err error) {
	if redis.IsOOMError(err) {
		w.wronged("%s: %v", verb, err)
	}
}

// leaves notes what a call that deletes or touches a record has made of it.
func (w *worker) leaves(f *fact, err error, deletes bool) {
	if deletes {
		w.becomes(f, err, "")
	} else {
		w.becomes(f, err, slices.Clone(f.may)...)
	}
}

func (w *worker) deleteUser() error {
	user, err := w.user(together)
	if err != nil {
		return err
	}
	n, err := w.cache.Delete(ctx, keysOf(user)...)
	return w.met("Delete", n, err, user, true)
}

func (w *worker) deleteSession() error {
	f, err := w.session()
	if err != nil {
		return err
	}
	n, err := w.cache.Delete(ctx, f.key)
	return w.met("Delete", n, err, []*fact{f}, true)
}

func (w *worker) deleteMatch() error {
	user, err := w.user(together)
	if err != nil {
		return err
	}
	n, err := w.cache.DeleteMatch(ctx, patternOf(user))
	if w.evicts && err == nil { // with an index gone, it finds and deletes less
		for _, f := range user {
			f.may = append(f.may, "")
		}
		return nil
	}
	return w.met("DeleteMatch", n, err, user, true)
}

func (w *worker) touchUser() error {
	user, err := w.user(together)
	if err != nil {
		return err
	}
	n, err := w.cache.Touch(ctx, 2*time.Hour, keysOf(user)...)
	return w.met("Touch", n, err, user, false)
}

func (w *worker) touchSession() error {
	f, err := w.session()
	if err != nil {
		return err
	}
	n, err := w.cache.Touch(ctx, wildkey.NoExpiry, f.key)
	return w.met("Touch", n, err, []*fact{f}, false)
}

func (w *worker) touchMatch() error {
	user, err := w.user(together)
	if err != nil {
		return err
	}
	n, err := w.cache.TouchMatch(ctx, 3*time.Hour, patternOf(user))
	return w.met("TouchMatch", n, err, user, false)
}

func (w *worker) take() error {
	f, err := w.session()
	if err != nil {
		return err
	}
	value, err := w.cache.Take(ctx, f.key)
	return w.gave("Take", value, err, f, true)
}

func (w *worker) getTouch() error {
	f, err := w.session()
	if err != nil {
		return err
	}
	value, err := w.cache.GetTouch(ctx, time.Hour, f.key)
	return w.gave("GetTouch", value, err, f, false)
}

// gave is met for a verb that returns the value of one record.
func (w *worker) gave(verb string, value []byte, err error, f *fact, deletes bool) error {
	n := 1
	if errors.Is(err, wildkey.ErrNotFound) {
		n, err = 0, nil
	} else if err == nil && !w.forgets && !slices.Contains(f.may, string(value)) {
		w.wronged("%s of %s: %.20q, and it may be %.20q", verb, f.key, value, f.may)
	}
	return w.met(verb, n, err, []*fact{f}, deletes)
}

func (w *worker) ttl() error {
	facts := w.users[w.IntN(len(w.users))]
	f := facts[w.IntN(len(facts))]
	left, err := w.cache.TTL(ctx, f.key)
	live := err == nil
	if errors.Is(err, wildkey.ErrNotFound) {
		err = nil
	}
	if value, certain := w.certain(f); err == nil && (live && left <= 0 || certain && live != (value != "")) {
		w.wronged("TTL of %s, which is %.20q: %v", f.key, value, left)
	}
	return err
}

func (w *worker) get() error {
	facts := w.users[w.IntN(len(w.users))]
	f := facts[w.IntN(len(facts))]
	value, err := w.cache.Get(ctx, f.key)
	if errors.Is(err, wildkey.ErrNotFound) {
		value, err = nil, nil
	}
	if err == nil && !w.forgets && !w.isPossible(f, string(value)) {
		w.wronged("Get of %s: %.20q, and it may be %.20q", f.key, value, f.may)
	}
	return err
}

func (w *worker) isPossible(f *fact, value string) bool {
	return slices.Contains(f.may, value) || value == "" && w.evicts
}

func (w *worker) getMany() error {
	user := w.anyone()
	values, err := w.cache.GetMany(ctx, keysOf(user)...)
	if err == nil {
		w.seeWhole("GetMany", user, values)
	}
	return err
}

func (w *worker) match() error {
	user := w.anyone()
	entries, err := w.cache.Collect(ctx, patternOf(user))
	if err == nil {
		w.seeWhole("Collect", user, valuesOf(user, entries))
	}
	return err
}

// valuesOf returns the value of each of the records, nil where there is none.
func valuesOf(facts []*fact, entries []wildkey.Entry) [][]byte {
	values := make([][]byte, len(facts))
	for _, entry := range entries {
		for i, f := range facts {
			if slices.Equal(entry.Key, f.key) {
				values[i] = entry.Value
			}
		}
	}
	return values
}

// seeWhole notes it if a snapshot has some of the sessions that are written
// together in one state and some in another.
func (l *load) seeWhole(verb string, user []*fact, values [][]byte) {
	var states []string
	for _, value := range values {
		if value != nil || !l.evicts {
			states = append(states, string(value))
		}
	}
	if len(slices.Compact(states)) > 1 {
		l.wronged("%s has seen a half of %s: %.20q", verb, user[0].key[:1], values)
	}
}

// matchAll goes through everything, and now and then stops early.
func (w *worker) matchAll() error {
	last, most := "", 1+w.IntN(2*len(w.workers)*w.loadOptions.users*len(sessions))
	found := map[string]string{}
	for entry, err := range w.cache.Match(ctx, wildkey.MustParsePattern("*:session:**")) {
		if err != nil {
			return err
		}
		w.inOrder("Match", &last, entry.Key)
		found[entry.Key.String()] = string(entry.Value)
		if most--; most == 0 {
			break
		}
	}
	w.seeOwn("Match", last, most > 0, func(f *fact) (string, bool) {
		value, ok := found[f.key.String()]
		return value, ok
	})
	return nil
}

func (l *load) inOrder(verb string, last *string, key wildkey.Key) {
	if encoded := key.String(); encoded > *last {
		*last = encoded
	} else {
		l.wronged("%s: %s comes after %s", verb, encoded, *last)
	}
}

// seeOwn notes which of the client's own records, which do not change while it
// looks, an iteration that came as far as last has not met as they are.
func (w *worker) seeOwn(verb, last string, ended bool, found func(*fact) (value string, ok bool)) {
	for _, user := range w.users {
		for _, f := range user {
			value, certain := w.certain(f)
			if !certain || !ended && f.key.String() > last {
				continue
			}
			if got, ok := found(f); ok != (value != "") || got != value {
				w.wronged("%s: %s is %.20q, and is %.20q", verb, f.key, got, value)
			}
		}
	}
}

func (w *worker) matchKeys() error {
	last, found := "", map[string]bool{}
	for key, err := range w.cache.MatchKeys(ctx, wildkey.MustParsePattern(fmt.Sprintf("user-%d-*:**", w.number))) {
		if err != nil {
			return err
		}
		w.inOrder("MatchKeys", &last, key)
		found[key.String()] = true
	}
	w.seeOwn("MatchKeys", last, true, func(f *fact) (string, bool) {
		return f.may[0], found[f.key.String()]
	})
	return nil
}

func (w *worker) page() error {
	pattern := wildkey.MustParsePattern(fmt.Sprintf("user-%d-*:session:*", w.number))
	last, found := "", map[string]string{}
	withTTL := w.IntN(2) == 0
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := w.cache.Page(ctx, pattern, wildkey.PageOptions{Cursor: cursor, Limit: 7, WithTTL: withTTL})
		if err != nil {
			return err
		}
		for _, entry := range page.Entries {
			w.inOrder("Page", &last, entry.Key)
			if withTTL != (entry.TTL > 0) {
				w.wronged("Page: %s has the TTL %v; was it asked for: %t", entry.Key, entry.TTL, withTTL)
			}
			found[entry.Key.String()] = string(entry.Value)
		}
		cursor = page.Cursor
	}
	w.seeOwn("Page", last, true, func(f *fact) (string, bool) {
		value, ok := found[f.key.String()]
		return value, ok
	})
	return nil
}

func (w *worker) count() error {
	n, err := w.cache.Count(ctx, wildkey.MustParsePattern(fmt.Sprintf("user-%d-*:session:*", w.number)))
	if least, most := w.live(slices.Concat(w.users...)...); err == nil && (n < least || n > most) {
		w.wronged("Count: %d, and there are %d to %d", n, least, most)
	}
	return err
}

func (w *worker) sweep() error {
	return first(w.cache.Sweep(ctx))
}

func (w *worker) reindex() error {
	return first(admin.Reindex(ctx, w.client, w.cache.Layout()))
}

// reindexAgain is a Reindex that has seen a slot move, and so is to be repeated.
const reindexAgain = "Reindex: call it again"

// kindOf says in a word or two how a call ended.
func kindOf(err error) string {
	var answer redis.Error
	var network net.Error
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, wildkey.ErrScriptMissing):
		return "script missing"
	case errors.As(err, &answer):
		code, _, _ := strings.Cut(answer.Error(), " ")
		return code
	case errors.Is(err, redis.ErrPoolTimeout):
		return "no free connection"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return "connection broken"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case strings.HasPrefix(err.Error(), "wildkey: Reindex: "):
		return reindexAgain
	}
	return err.Error()
}

// first drops what a call returns beside its error.
func first(_ any, err error) error { return err }
