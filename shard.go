package wildkey

import "hash/crc32"

// Shard returns the shard that the key lies in, 0 to shards-1, where the first
// leading segments choose it: the CRC-32 of those segments, encoded and joined
// by colons, modulo shards. The CRC-32 is that of IEEE 802.3, which most
// languages have as zlib's crc32: that of "123456789" is 3421780262. A key of
// fewer segments is hashed whole.
func (k Key) Shard(shards, leading int) int {
	head := k[:min(leading, len(k))]
	return int(crc32.ChecksumIEEE(head.append(nil)) % uint32(shards))
}
