package reference

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/reference"
)

var ctx = context.Background()

// newReference returns a reference whose clock agrees with the server's.
func newReference(b *backend.Backend) *reference.Store {
	r := &reference.Store{Client: b.Client, Namespace: "cache", Now: time.Now}
	if b.Engine != nil {
		r.Now = b.Engine.Now
	}
	return r
}

func refRecord(key any, value string) reference.Record {
	return reference.Record{Key: key, Value: value}
}

func wantValue(t testing.TB, r *reference.Store, key any, want string) {
	t.Helper()
	if got, err := r.Get(ctx, key); err != nil || got != want {
		t.Errorf("reference: %v holds %q, %v; want %q", key, got, err, want)
	}
}

func wantFound(t testing.TB, r *reference.Store, pattern any, want ...string) {
	t.Helper()
	found, err := r.All(ctx, pattern)
	backend.Must(t, err)
	if got := refNames(found); !slices.Equal(got, want) {
		t.Errorf("reference: %v finds %.200q, not %q", pattern, got, want)
	}
}

// refNames writes records as "part:part=value", sorted.
func refNames(records []reference.Record) (names []string) {
	for _, record := range records {
		key, ok := record.Key.(string)
		if !ok {
			key = strings.Join(record.Key.([]string), ":")
		}
		names = append(names, key+"="+record.Value)
	}
	slices.Sort(names)
	return names
}

// awaitGone lets time go by until the record has expired.
func awaitGone(t testing.TB, b *backend.Backend, key string) {
	t.Helper()
	if b.Engine != nil {
		b.Engine.Advance(b.Client.PTTL(ctx, key).Val() + time.Millisecond)
	}
	backend.Eventually(t, "the expiry of "+key, func() bool { return b.Client.PTTL(ctx, key).Val() == -2 })
}
