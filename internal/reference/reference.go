// Package reference is a small copy of the algorithm that Wildkey started from,
// the Redis cache store of an Elixir authentication library. Every proper prefix
// of a key has a sorted set of all that lies beneath it, with the expiry by the
// client's clock as score and with the life that the last put gave it; a put or
// a delete is a pipeline, not a transaction.
//
// It is kept for two ends. A test that some flaw is absent proves little until
// the same steps have shown the flaw somewhere, and a benchmark needs a peer. So
// its flaws are on purpose, and not to be mended.
package reference

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Wild stands for any one part of a key or, as the whole pattern, for any key.
const Wild = "*"

// Store is the reference's cache of one namespace.
type Store struct {
	Client    *redis.Client
	Namespace string
	Now       func() time.Time  // the client's clock
	Start     func(task func()) // runs writes in the background; nil: they are waited for
	Count     int64             // how many members a ZSCAN is asked for; 0: the server's default, 10
}

// Record is a record of the reference, whose key is a string or a []string.
type Record struct {
	Key   any
	Value string
}

// Put writes the records, all with one TTL.
func (s *Store) Put(ctx context.Context, ttl time.Duration, records ...Record) error {
	var commands [][]any
	for _, record := range records {
		commands = append(commands, s.PutCommands(ttl, record)...)
	}
	return s.write(func() error { return s.Pipeline(ctx, commands) })
}

// PutCommands are the commands that Put sends for one record.
func (s *Store) PutCommands(ttl time.Duration, record Record) (commands [][]any) {
	path, now, ms := s.Path(record.Key), s.Now().UnixMilli(), ttl.Milliseconds()
	for i := 1; i < len(path); i++ {
		index := IndexName(path[:i])
		commands = append(commands,
			[]any{"ZREMRANGEBYSCORE", index, "-inf", now},
			[]any{"ZADD", index, now + ms, EncodePath(path[i:])},
			[]any{"PEXPIRE", index, ms})
	}
	return append(commands, []any{"SET", EncodePath(path), record.Value, "PX", ms})
}

// Delete looks at no reply: only a broken connection is an error to it.
func (s *Store) Delete(ctx context.Context, key any) error {
	return s.write(func() error {
		err := s.Pipeline(ctx, s.DeleteCommands(key))
		var refusal redis.Error
		if errors.As(err, &refusal) {
			return nil
		}
		return err
	})
}

// DeleteCommands are the commands that Delete sends.
func (s *Store) DeleteCommands(key any) (commands [][]any) {
	path := s.Path(key)
	for i := 1; i < len(path); i++ {
		commands = append(commands, []any{"ZREM", IndexName(path[:i]), EncodePath(path[i:])})
	}
	return append(commands, []any{"DEL", EncodePath(path)})
}

// Get returns the value, or redis.Nil.
func (s *Store) Get(ctx context.Context, key any) (string, error) {
	return s.Client.Get(ctx, EncodePath(s.Path(key))).Result()
}

// All returns the records that match, as often as the scan meets them: it goes
// through the index of what stands before the first wildcard, and filters.
func (s *Store) All(ctx context.Context, pattern any) (found []Record, err error) {
	path := s.Path(pattern)
	// Where there is no wildcard, that is the index of the whole namespace.
	prefix := path[:max(1, slices.Index(path, Wild))]
	index := IndexName(prefix)
	if err := s.Client.ZRemRangeByScore(ctx, index, "-inf", strconv.FormatInt(s.Now().UnixMilli(), 10)).Err(); err != nil {
		return nil, err
	}
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var members []string // each with its score behind it
		if members, cursor, err = s.Client.ZScan(ctx, index, cursor, "", s.Count).Result(); err != nil {
			return nil, err
		}
		var batch []Record
		var names []string
		for i := 0; i < len(members); i += 2 {
			path := slices.Concat(prefix, DecodePath(members[i]))
			if key := KeyOf(path); Matches(pattern, key) {
				batch, names = append(batch, Record{Key: key}), append(names, EncodePath(path))
			}
		}
		if len(batch) == 0 {
			continue
		}
		values, err := s.Client.MGet(ctx, names...).Result()
		if err != nil {
			return nil, err
		}
		for i, value := range values {
			if text, live := value.(string); live {
				found = append(found, Record{batch[i].Key, text})
			}
		}
	}
	return found, nil
}

// write runs the task, or has it run: then nobody learns of its error.
func (s *Store) write(task func() error) error {
	if s.Start == nil {
		return task()
	}
	s.Start(func() { _ = task() })
	return nil
}

// Pipeline sends all commands at once; others' commands may come in between.
func (s *Store) Pipeline(ctx context.Context, commands [][]any) error {
	pipe := s.Client.Pipeline()
	for _, command := range commands {
		pipe.Do(ctx, command...)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// Path is the namespace and the parts of the key: a string is a list of one.
func (s *Store) Path(key any) []string {
	if part, ok := key.(string); ok {
		return []string{s.Namespace, part}
	}
	return slices.Concat([]string{s.Namespace}, key.([]string))
}

// KeyOf takes the namespace off again, and a list of one for a string.
func KeyOf(path []string) any {
	if len(path) == 2 {
		return path[1]
	}
	return path[1:]
}

// Matches reports whether the pattern, a string or a []string, matches the key.
func Matches(pattern, key any) bool {
	terms, ok := pattern.([]string)
	if !ok {
		return pattern == Wild || pattern == key
	}
	parts, ok := key.([]string)
	return ok && slices.EqualFunc(terms, parts, func(term, part string) bool { return term == Wild || term == part })
}

// IndexName is the key of the sorted set of all that lies beneath the prefix.
func IndexName(prefix []string) string { return "_index:" + EncodePath(prefix) }

// EncodePath is the Redis key of a path, or the member that it is in an index.
func EncodePath(path []string) string {
	encoded := make([]string, len(path))
	for i, part := range path {
		encoded[i] = base64.RawURLEncoding.EncodeToString([]byte(part))
	}
	return strings.Join(encoded, ":")
}

// DecodePath reads what EncodePath has written, and panics on all else.
func DecodePath(encoded string) []string {
	path := strings.Split(encoded, ":")
	for i, part := range path {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			panic(err)
		}
		path[i] = string(text)
	}
	return path
}
