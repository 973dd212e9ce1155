package main

import (
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// shards are the hash tags that a namespace is spread over. The name of each of
// its Redis keys starts with one: {ns}, or of several {ns#0}, {ns#1} and on.
type shards struct {
	tags     []string
	segments int // as many leading segments of a key choose its shard
}

// order and expiry are the names of the two indexes of a shard.
func order(tag string) string  { return tag + "/keys" }
func expiry(tag string) string { return tag + "/expiry" }

// place is where a record is, or should be.
type place struct{ tag, encoded string }

// name is the Redis key of the record.
func (p place) name() string { return p.tag + ":" + p.encoded }

// of returns the shard of a key.
func (s shards) of(key wildkey.Key) string {
	if len(s.tags) == 1 {
		return s.tags[0]
	}
	return s.tags[key.Shard(len(s.tags), s.segments)]
}

// pattern is what SCAN finds the namespace by, in these shards and in those that
// there should not be.
func (s shards) pattern() string {
	first := s.tags[0]
	return first[:strings.IndexAny(first, "#}")] + "[#}]*"
}

// String names the first and the last of the tags.
func (s shards) String() string {
	if len(s.tags) == 1 {
		return s.tags[0]
	}
	return s.tags[0] + ".." + s.tags[len(s.tags)-1]
}

// open returns a namespace on a server, and how it is spread there.
func (t *tool) open(client redis.UniversalClient, options wildkey.Options) (*wildkey.Cache, shards, error) {
	options.Preloaded = t.preloaded
	cache, err := wildkey.New(client, options)
	if err != nil {
		return nil, shards{}, err
	}
	return cache, shards{tagsOf(options.Namespace, options.Shards), options.ShardSegments}, nil
}

func tagsOf(namespace string, n int) []string {
	encoded := wildkey.Key{namespace}.String()
	if n == 1 {
		return []string{"{" + encoded + "}"}
	}
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("{%s#%d}", encoded, i)
	}
	return tags
}
