package wildkey

import (
	"context"
	"fmt"
)

// withValues returns the entries of a shard whose records are live, with their values.
// It serves Options.DeclaredKeys.
func (c *Cache) withValues(ctx context.Context, shard int, lead string, entries []Entry) (live []Entry, err error) {
	var names []string
	for _, entry := range entries {
		names = append(names, c.layout.shards[shard].prefix+lead+entry.Key.String())
	}
	values, err := c.client.MGet(ctx, names...).Result()
	if err != nil {
		return nil, fmt.Errorf("wildkey: MGET: %w", err)
	}
	for i, value := range values {
		if value, ok := value.(string); ok {
			live = append(live, Entry{Key: entries[i].Key, Value: []byte(value)})
		}
	}
	return live, nil
}
