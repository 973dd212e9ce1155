package luatest

import (
	"hash/fnv"
	"math/bits"
	"slices"
)

// dict is a hash table that SCAN can walk as it walks Redis's: by a cursor
// over a power-of-two number of buckets, with the cursor's bits reversed, so
// that a walk across a change of size misses nothing and may repeat some. The
// hash has no seed: a walk is the same in every run.
type dict[V any] struct {
	values  map[string]V
	buckets [][]string
	// changes counts how often each name was set or deleted, where not nil.
	changes map[string]int
}

// minBuckets is the size below which Redis does not shrink a table.
const minBuckets = 4

func newDict[V any]() *dict[V] {
	return &dict[V]{values: map[string]V{}, buckets: make([][]string, minBuckets)}
}

func (d *dict[V]) bucket(name string) *[]string {
	h := fnv.New64a()
	h.Write([]byte(name))
	sum := h.Sum64()
	// FNV's low bits, which choose the bucket, mix less well than its high ones.
	return &d.buckets[(sum^sum>>32)&uint64(len(d.buckets)-1)]
}

func (d *dict[V]) len() int { return len(d.values) }

func (d *dict[V]) get(name string) (V, bool) {
	v, ok := d.values[name]
	return v, ok
}

func (d *dict[V]) set(name string, v V) {
	if _, exists := d.values[name]; !exists {
		if len(d.values) >= len(d.buckets) {
			d.resize(len(d.values) + 1)
		}
		b := d.bucket(name)
		*b = append(*b, name)
	}
	d.values[name] = v
	d.changed(name)
}

func (d *dict[V]) changed(name string) {
	if d.changes != nil {
		d.changes[name]++
	}
}

func (d *dict[V]) delete(name string) {
	if _, exists := d.values[name]; !exists {
		return
	}
	delete(d.values, name)
	d.changed(name)
	b := d.bucket(name)
	i := slices.Index(*b, name)
	*b = slices.Delete(*b, i, i+1)
	// Redis shrinks a table that is less than a tenth full.
	if len(d.buckets) > minBuckets && len(d.values)*10 < len(d.buckets) {
		d.resize(len(d.values))
	}
}

func (d *dict[V]) resize(atLeast int) {
	size := minBuckets
	for size < atLeast {
		size *= 2
	}
	d.buckets = make([][]string, size)
	for name := range d.values {
		b := d.bucket(name)
		*b = append(*b, name)
	}
	// Map order is random; names of one bucket are kept in an order that is not.
	for _, names := range d.buckets {
		slices.Sort(names)
	}
}

// scan visits whole buckets from cursor on until it has seen count names or
// ten times as many buckets, and returns the names and the next cursor, 0 at
// the end.
func (d *dict[V]) scan(cursor uint64, count int) ([]string, uint64) {
	var names []string
	mask := uint64(len(d.buckets) - 1)
	for visited := 0; ; {
		names = append(names, d.buckets[cursor&mask]...)
		cursor = bits.Reverse64(bits.Reverse64(cursor|^mask) + 1)
		visited++
		if cursor == 0 || len(names) >= count || visited > 10*count {
			return names, cursor
		}
	}
}

// names returns every name, in the order in which a scan meets them.
func (d *dict[V]) names() []string {
	names, _ := d.scan(0, len(d.values)+len(d.buckets))
	return names
}

func (d *dict[V]) clone(cloneValue func(V) V) *dict[V] {
	c := &dict[V]{values: make(map[string]V, len(d.values)), buckets: make([][]string, len(d.buckets))}
	for name, v := range d.values {
		c.values[name] = cloneValue(v)
	}
	for i, names := range d.buckets {
		c.buckets[i] = slices.Clone(names)
	}
	return c
}
