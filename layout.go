package wildkey

import (
	"cmp"
	"fmt"
	"strings"
)

// Layout defines the Redis keys of a namespace. All keys of a shard carry its hash tag,
// so they lie in one hash slot of a cluster:
//
//	{app}:user:42   the record with the key user:42 in the namespace app
//	{app}/keys      the index: a sorted set of all encoded keys, all with score 0
//	{app}:!user:42  the lease of that record, indexed as !user:42 (see package fetch)
//
// If there are several shards, each has its own tag. The tag also gives the number of
// shards and how many leading segments choose one: {app#7/48/2} is shard 7 of 48, chosen
// by two segments. Programs that disagree on these numbers never mix their records.
type Layout struct {
	shards  []shardNames
	leading int
}

type shardNames struct{ prefix, index string }

// maxShards is the number of hash slots of a cluster.
const maxShards = 16_384

// IndexGlob is a pattern for SCAN that matches the indexes of all namespaces.
const IndexGlob = "{*}/keys"

// NewLayout returns the Layout of a namespace. The arguments have the defaults and
// bounds of the Options fields with the same names.
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

// ParseTag parses a hash tag, braces included. It returns the Namespace, Shards and
// ShardSegments of its Options and the number of its shard. It reports whether a Layout
// uses such a tag.
func ParseTag(tag string) (options Options, shard int, ok bool) {
	encoded, numbers, several := strings.Cut(strings.Trim(tag, "{}"), "#")
	options.Shards, options.ShardSegments = 1, 1
	if several {
		// The comparison with a rebuilt tag below catches an error here.
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

// Shard returns the number of the key's shard, which Key.Shard computes.
func (l Layout) Shard(key Key) int {
	if len(l.shards) == 1 {
		return 0
	}
	return key.Shard(len(l.shards), l.leading)
}

// Tag returns the hash tag of a shard, braces included.
func (l Layout) Tag(shard int) string { return strings.TrimSuffix(l.shards[shard].prefix, ":") }

// Prefix returns the prefix that the Redis keys of all records of a shard share. The
// encoded key follows it.
func (l Layout) Prefix(shard int) string { return l.shards[shard].prefix }

// Index returns the Redis key of a shard's index.
func (l Layout) Index(shard int) string { return l.shards[shard].index }

// Record returns the Redis key of a record, or ErrInvalidKey.
func (l Layout) Record(key Key) (string, error) {
	return key.encode(l.shards[l.Shard(key)].prefix)
}

// Key returns the key of the record with this Redis key. It returns ErrInvalidKey if no
// record in this Layout can have that Redis key.
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

// Glob returns a pattern for SCAN that matches all Redis keys of the namespace,
// whatever its number of shards. Use Key to find the records of this Layout among them.
func (l Layout) Glob() string {
	tag := l.Tag(0)
	return tag[:strings.IndexAny(tag, "#}")] + "[#}]*"
}
