package wildkey

import (
	"cmp"
	"fmt"
	"strings"
)

// Layout says how a namespace names its Redis keys. All keys of a shard carry its
// hash tag, and so lie in one hash slot of a cluster:
//
//	{app}:user:42   the record with the key user:42 in the namespace app
//	{app}/keys      the index: a sorted set of all encoded keys, all with score 0
//	{app}:!user:42  the lease of that record, in the index as !user:42: see package fetch
//
// With several shards each has a tag of its own, which also names how many there
// are and how many leading segments choose one: {app#7/48/2} is shard 7 of 48 by
// two segments. Programs that disagree on these numbers never mix their records.
type Layout struct {
	shards  []shardNames
	leading int
}

type shardNames struct{ prefix, index string }

// maxShards is the number of hash slots of a cluster.
const maxShards = 16_384

// IndexGlob is a pattern for SCAN that the indexes of all namespaces match.
const IndexGlob = "{*}/keys"

// NewLayout returns the Layout of a namespace. The arguments are those of
// Options, with the same defaults and bounds.
func NewLayout(namespace string, shards, shardSegments int) (Layout, error) {
	namespace, shards, shardSegments = cmp.Or(namespace, "cache"), cmp.Or(shards, 1), cmp.Or(shardSegments, 1)
	if shards < 1 || shards > maxShards {
		return Layout{}, fmt.Errorf("wildkey: Shards is %d, but must be 1 to 16,384", shards)
	}
	if shardSegments < 1 {
		return Layout{}, fmt.Errorf("wildkey: ShardSegments is %d, but must be at least 1", shardSegments)
	}
	l := Layout{make([]shardNames, shards), shardSegments}
	encoded := encodeSegment(namespace)
	for i := range l.shards {
		tag := hashTag(encoded, i, shards, shardSegments)
		l.shards[i] = shardNames{tag + ":", tag + "/keys"}
	}
	return l, nil
}

func hashTag(encodedNamespace string, shard, shards, shardSegments int) string {
	if shards == 1 {
		return "{" + encodedNamespace + "}"
	}
	return fmt.Sprintf("{%s#%d/%d/%d}", encodedNamespace, shard, shards, shardSegments)
}

// ParseTag returns whose hash tag this is: Namespace, Shards and ShardSegments of
// the Options, and the number of the shard. It reports whether it is a tag that a
// Layout has.
func ParseTag(tag string) (options Options, shard int, ok bool) {
	encoded, numbers, several := strings.Cut(strings.Trim(tag, "{}"), "#")
	options.Shards, options.ShardSegments = 1, 1
	if several {
		// The tag is made anew below, so an error of this one shows there.
		_, _ = fmt.Sscanf(numbers, "%d/%d/%d", &shard, &options.Shards, &options.ShardSegments)
	}
	namespace, err := decodeSegment(encoded)
	options.Namespace = namespace
	return options, shard, err == nil && namespace != "" &&
		0 <= shard && shard < options.Shards && options.Shards <= maxShards && options.ShardSegments >= 1 &&
		tag == hashTag(encoded, shard, options.Shards, options.ShardSegments)
}

// Shards returns the number of shards.
func (l Layout) Shards() int { return len(l.shards) }

// ShardSegments returns how many leading segments of a key choose its shard.
func (l Layout) ShardSegments() int { return l.leading }

// Shard returns the number of the shard in which the key lies, as Key.Shard does.
func (l Layout) Shard(key Key) int {
	if len(l.shards) == 1 {
		return 0
	}
	return key.Shard(len(l.shards), l.leading)
}

// Tag returns the hash tag of a shard, braces included.
func (l Layout) Tag(shard int) string { return strings.TrimSuffix(l.shards[shard].prefix, ":") }

// Prefix returns what the Redis keys of all records of a shard begin with. The
// encoded key follows.
func (l Layout) Prefix(shard int) string { return l.shards[shard].prefix }

// Index returns the Redis key of a shard's index.
func (l Layout) Index(shard int) string { return l.shards[shard].index }

// Record returns the Redis key of a record. It returns ErrInvalidKey if the key is
// invalid.
func (l Layout) Record(key Key) (string, error) {
	return key.encode(l.shards[l.Shard(key)].prefix)
}

// Key returns the key of the record that a Redis key names. It returns
// ErrInvalidKey if the name is not that of a record in this Layout.
func (l Layout) Key(name string) (Key, error) {
	tag, encoded, _ := strings.Cut(name, ":")
	key, err := ParseKey(encoded)
	if err != nil {
		return nil, err
	}
	if want := l.Tag(l.Shard(key)); tag != want {
		return nil, fmt.Errorf("%w: the record %q has the hash tag %s, not %s", ErrInvalidKey, encoded, tag, want)
	}
	return key, nil
}

// Glob returns a pattern for SCAN that all Redis keys of the namespace match, in
// whatever number of shards. Key tells which are records of this Layout.
func (l Layout) Glob() string {
	tag := l.Tag(0)
	return tag[:strings.IndexAny(tag, "#}")] + "[#}]*"
}
