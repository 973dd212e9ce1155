package wildkey

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Item is what List finds at one depth.
type Item struct {
	Key     Key
	Beneath bool // records live beneath the key; otherwise Key is a record itself
}

// List returns an iterator over what lives at the depth of the pattern, as a file
// system lists a directory: the records with a segment for each term, and, apart from
// them, the keys beneath which records live. So user:* lists the users, however many
// records each of them has, and a user costs the server one step. Each item comes once,
// in byte order of its encoded key, to which a colon is added for what lies beneath: so
// user:40 comes before what is beneath user:4. A pattern that ends in ** is
// ErrBadPattern. As in Match, each page is one round trip and one atomic snapshot, but
// the whole is not. A page has half of Options.PageLimit.
func (c *Cache) List(ctx context.Context, pattern Pattern) iter.Seq2[Item, error] {
	ctx = withVerb(ctx, "List")
	return func(yield func(Item, error) bool) {
		err := pattern.check()
		if n := len(pattern.terms); err == nil && pattern.terms[n-1] == Rest() {
			err = fmt.Errorf("%w: %q: List takes no **, and gives what is beneath by itself", ErrBadPattern, pattern)
		}
		if err != nil {
			yield(Item{}, err)
			return
		}
		beneath := Pattern{append(slices.Clip(pattern.terms), Rest())} // in whatever shard it lies
		// An item takes a leap, and a leap the time of several entries in a row.
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

// Estimate returns an upper bound of how many records match: it counts the index
// entries, stale ones too, and adds one for each shard that it asks, unless the pattern
// is ** alone. It costs the server as much for a million records as for ten, and a round
// trip a shard. The pattern is ** or ends in it behind literals alone, as user:42:**
// does; any other is ErrBadPattern.
func (c *Cache) Estimate(ctx context.Context, pattern Pattern) (int, error) {
	ctx = withVerb(ctx, "Estimate")
	head, open := strings.CutSuffix(pattern.String(), "**")
	if err := pattern.check(); err != nil || !open || strings.ContainsAny(head, "*<") {
		return 0, cmp.Or(err, fmt.Errorf("%w: %q: Estimate needs literals and ** behind them", ErrBadPattern, pattern))
	}
	from, to, above := `["`, "+", 0 // above all leases
	if head != "" {
		from, to, above = "["+head, "("+strings.TrimSuffix(head, ":")+";", 1 // the record above may live
	}
	return sum(ctx, c.shardsOf(pattern), func(ctx context.Context, shard int) (int, error) {
		n, err := c.client.ZLexCount(ctx, c.layout.Index(shard), from, to).Result()
		if err != nil {
			return 0, fmt.Errorf("wildkey: ZLEXCOUNT: %w", err)
		}
		return int(n) + above, nil
	})
}
