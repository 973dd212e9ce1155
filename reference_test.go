package wildkey_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// reference is a small copy of the algorithm that Wildkey started from, the
// Redis cache store of an Elixir authentication library. Every proper prefix of
// a key has a sorted set of all that lies beneath it, with the expiry by the
// client's clock as score and with the life that the last put gave it; a put or
// a delete is a pipeline, not a transaction.
//
// It is kept because a test that some flaw is absent proves little until the
// same steps have shown the flaw somewhere: flaws_test.go shows each one here
// first. So its flaws are on purpose, and not to be mended.
type reference struct {
	client    *redis.Client
	namespace string
	now       func() time.Time  // the client's clock
	start     func(task func()) // runs writes in the background; nil: they are waited for
}

// refRecord is a record of the reference, whose key is a string or a []string.
type refRecord struct {
	key   any
	value string
}

// wild stands for any one part of a key or, as the whole pattern, for any key.
const wild = "*"

// put writes the records, all with one TTL.
func (r *reference) put(ttl time.Duration, records ...refRecord) error {
	var commands [][]any
	for _, record := range records {
		commands = append(commands, r.putCommands(ttl, record)...)
	}
	return r.write(func() error { return r.pipeline(commands) })
}

func (r *reference) putCommands(ttl time.Duration, record refRecord) (commands [][]any) {
	path, now, ms := r.path(record.key), r.now().UnixMilli(), ttl.Milliseconds()
	for i := 1; i < len(path); i++ {
		index := indexName(path[:i])
		commands = append(commands,
			[]any{"ZREMRANGEBYSCORE", index, "-inf", now},
			[]any{"ZADD", index, now + ms, encodePath(path[i:])},
			[]any{"PEXPIRE", index, ms})
	}
	return append(commands, []any{"SET", encodePath(path), record.value, "PX", ms})
}

// delete looks at no reply: only a broken connection is an error to it.
func (r *reference) delete(key any) error {
	return r.write(func() error {
		err := r.pipeline(r.deleteCommands(key))
		var refusal redis.Error
		if errors.As(err, &refusal) {
			return nil
		}
		return err
	})
}

func (r *reference) deleteCommands(key any) (commands [][]any) {
	path := r.path(key)
	for i := 1; i < len(path); i++ {
		commands = append(commands, []any{"ZREM", indexName(path[:i]), encodePath(path[i:])})
	}
	return append(commands, []any{"DEL", encodePath(path)})
}

// get returns the value, or redis.Nil.
func (r *reference) get(key any) (string, error) {
	return r.client.Get(ctx, encodePath(r.path(key))).Result()
}

// all returns the records that match, as often as the scan meets them: it goes
// through the index of what stands before the first wildcard, and filters.
func (r *reference) all(pattern any) (found []refRecord, err error) {
	path := r.path(pattern)
	prefix := path[:max(1, slices.Index(path, wild))]
	index := indexName(prefix)
	if err := r.client.ZRemRangeByScore(ctx, index, "-inf", strconv.FormatInt(r.now().UnixMilli(), 10)).Err(); err != nil {
		return nil, err
	}
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var members []string // each with its score behind it
		if members, cursor, err = r.client.ZScan(ctx, index, cursor, "", 0).Result(); err != nil {
			return nil, err
		}
		var batch []refRecord
		var names []string
		for i := 0; i < len(members); i += 2 {
			path := slices.Concat(prefix, decodePath(members[i]))
			if key := keyOf(path); matches(pattern, key) {
				batch, names = append(batch, refRecord{key: key}), append(names, encodePath(path))
			}
		}
		if len(batch) == 0 {
			continue
		}
		values, err := r.client.MGet(ctx, names...).Result()
		if err != nil {
			return nil, err
		}
		for i, value := range values {
			if text, live := value.(string); live {
				found = append(found, refRecord{batch[i].key, text})
			}
		}
	}
	return found, nil
}

// write runs the task, or has it run: then nobody learns of its error.
func (r *reference) write(task func() error) error {
	if r.start == nil {
		return task()
	}
	r.start(func() { _ = task() })
	return nil
}

// pipeline sends all commands at once; others' commands may come in between.
func (r *reference) pipeline(commands [][]any) error {
	pipe := r.client.Pipeline()
	for _, command := range commands {
		pipe.Do(ctx, command...)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// path is the namespace and the parts of the key: a string is a list of one.
func (r *reference) path(key any) []string {
	if part, ok := key.(string); ok {
		return []string{r.namespace, part}
	}
	return slices.Concat([]string{r.namespace}, key.([]string))
}

// keyOf takes the namespace off again, and a list of one for a string.
func keyOf(path []string) any {
	if len(path) == 2 {
		return path[1]
	}
	return path[1:]
}

func matches(pattern, key any) bool {
	terms, ok := pattern.([]string)
	if !ok {
		return pattern == wild || pattern == key
	}
	parts, ok := key.([]string)
	return ok && slices.EqualFunc(terms, parts, func(term, part string) bool { return term == wild || term == part })
}

func indexName(prefix []string) string { return "_index:" + encodePath(prefix) }

func encodePath(path []string) string {
	encoded := make([]string, len(path))
	for i, part := range path {
		encoded[i] = base64.RawURLEncoding.EncodeToString([]byte(part))
	}
	return strings.Join(encoded, ":")
}

func decodePath(encoded string) []string {
	path := strings.Split(encoded, ":")
	for i, part := range path {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			panic(err) // not written by a reference
		}
		path[i] = string(text)
	}
	return path
}
