package main

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/wildkey/wildkey"
)

const (
	keyLength   = 45 // bytes of every encoded key
	valueLength = 128
)

var value = []byte(strings.Repeat("0123456789abcdef", valueLength/16))

// userKey is user:000042:kind:token, 45 bytes of it; serial tells records of
// one user and kind apart.
func userKey(user int, kind string, serial int) wildkey.Key {
	name := fmt.Sprintf("%06d", user)
	return wildkey.Key{"user", name, kind, token(uint64(user)<<32|uint64(serial), keyLength-len("user:::")-len(name)-len(kind))}
}

// middle is what stands between the user and the token of keys of many depths.
var middle = []string{"session", "web", "eu", "v2", "a"}

// deepKey is a key of 45 bytes in depth segments, 2 to 8 of them; three keys in
// a row are of one user.
func deepKey(depth, serial int) wildkey.Key {
	key := wildkey.Key{"user"}
	if depth > 2 {
		key = append(key, fmt.Sprintf("%06d", serial/3))
		key = append(key, middle[:depth-3]...)
	}
	return append(key, token(uint64(serial), keyLength-len(key.String())-1))
}

// token is a text of the given length that looks like chance and is none.
func token(seed uint64, length int) string {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	text := make([]byte, length)
	var bits uint64
	for i := range text {
		if i%12 == 0 { // splitmix64: another 60 bits
			seed += 0x9e3779b97f4a7c15
			bits = (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
			bits = (bits ^ bits>>27) * 0x94d049bb133111eb
			bits ^= bits >> 31
		}
		text[i] = digits[bits&31]
		bits >>= 5
	}
	return string(text)
}

// userKeys are count records of this kind for each user, in the order of users.
func userKeys(users int, kind string, from, to int) iter.Seq[wildkey.Key] {
	return func(yield func(wildkey.Key) bool) {
		for user := range users {
			for serial := from; serial < to; serial++ {
				if !yield(userKey(user, kind, serial)) {
					return
				}
			}
		}
	}
}

// deepKeys are count keys of this depth, from the given serial on.
func deepKeys(depth, from, count int) iter.Seq[wildkey.Key] {
	return func(yield func(wildkey.Key) bool) {
		for serial := from; serial < from+count; serial++ {
			if !yield(deepKey(depth, serial)) {
				return
			}
		}
	}
}

func joined(parts ...iter.Seq[wildkey.Key]) iter.Seq[wildkey.Key] {
	return func(yield func(wildkey.Key) bool) {
		for _, part := range parts {
			for key := range part {
				if !yield(key) {
					return
				}
			}
		}
	}
}

// load puts a record for each key, as many a call as one may and several
// calls at a time.
func load(ctx context.Context, keys iter.Seq[wildkey.Key], put func(context.Context, []wildkey.Key) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan []wildkey.Key)
	var workers sync.WaitGroup
	for range 3 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for batch := range batches {
				if err := put(ctx, batch); err != nil {
					cancel(err)
				}
			}
		}()
	}
	var batch []wildkey.Key
	for key := range keys {
		if batch = append(batch, key); len(batch) == callRecords {
			batches <- batch
			batch = nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(batch) > 0 {
		batches <- batch
	}
	close(batches)
	workers.Wait()
	return context.Cause(ctx)
}

// together does work on several servers at the same time.
func together(work ...func() error) error {
	failures := make(chan error)
	for _, do := range work {
		go func() { failures <- do() }()
	}
	var failed error
	for range work {
		failed = cmp.Or(<-failures, failed)
	}
	return failed
}
