package wildkey

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Item is one result of List.
type Item struct {
	Key     Key
	Beneath bool // whether Key has records beneath it; if not, Key is itself a record
}

// List returns an iterator over one level of the key hierarchy, as a file system lists a
// directory. It yields the records that have one segment for each term and, as items of
// their own, the keys of this length that have records beneath them. So user:* lists the
// users, and each user costs the server one step, however many records the user has.
// Each item comes once, in byte order of its encoded key, where a colon follows a key
// with records beneath it: the record user:40 comes before the records beneath user:4. A
// pattern that ends in ** is ErrBadPattern. Each page is one round trip and one atomic
// snapshot, but the whole iteration is not. A page has half of Options.PageLimit items.
func (c *Cache) List(ctx context.Context, pattern Pattern) iter.Seq2[Item, error] {
	ctx = withVerb(ctx, "List")
	return func(yield func(Item, error) bool) {
		err := pattern.check()
		if n := len(pattern.terms); err == nil && pattern.terms[n-1] == Rest() {
			err = fmt.Errorf("%w: %q: List takes no **; it reports by itself which keys have records beneath them", ErrBadPattern, pattern)
		}
		if err != nil {
			yield(Item{}, err)
			return
		}
		beneath := Pattern{append(slices.Clip(pattern.terms), Rest())} // finds the shards to ask
		// The server seeks once for each item, which takes as long as reading several entries.
		q := query{want: "list", pattern: pattern, limit: (c.options.PageLimit + 1) / 2}
		previous := ""
		for entry, err := range c.merge(ctx, c.shardsOf(beneath), q, "") {
			item, text := Item{Key: entry.Key}, entry.Key.String()
			if strings.HasSuffix(text, ":") {
				item = Item{Key: item.Key[:len(item.Key)-1], Beneath: true}
			}
			if (err != nil || text != previous) && !yield(item, err) {
				return
			}
			previous = text
		}
	}
}

// Estimate returns an upper bound for the number of records that match. It counts index
// entries, including stale ones, and adds one for each shard that it asks, unless the
// pattern is just **. It takes one round trip for each shard, and a million records cost
// the server no more than ten. The pattern must be ** or literals followed by **, such as
// user:42:**; any other is ErrBadPattern.
func (c *Cache) Estimate(ctx context.Context, pattern Pattern) (int, error) {
	ctx = withVerb(ctx, "Estimate")
	head, open := strings.CutSuffix(pattern.String(), "**")
	if err := pattern.check(); err != nil || !open || strings.ContainsAny(head, "*<") {
		return 0, cmp.Or(err, fmt.Errorf("%w: %q: Estimate takes only literals followed by **", ErrBadPattern, pattern))
	}
	from, to, above := `["`, "+", 0 // leases sort before this
	if head != "" {
		from, to, above = "["+head, "("+strings.TrimSuffix(head, ":")+";", 1 // the record user:42 itself may live
	}
	return sum(ctx, c.shardsOf(pattern), func(ctx context.Context, shard int) (int, error) {
		n, err := c.client.ZLexCount(ctx, c.layout.Index(shard), from, to).Result()
		if err != nil {
			return 0, fmt.Errorf("wildkey: ZLEXCOUNT: %w", err)
		}
		return int(n) + above, nil
	})
}
