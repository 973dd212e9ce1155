package main

import (
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

// processes returns catalogues as two processes have them: of one cache and one database.
func processes(t *testing.T) (db *database, first, second catalogue) {
	t.Helper()
	db = &database{
		prices: map[string]map[string]int{"books": {"atlas": 2000}, "lamps": {"desk": 3000}},
		slow:   func() {},
	}
	client := luatest.Live().Client()
	for _, c := range []*catalogue{&first, &second} {
		var err error
		if *c, err = newCatalogue(client, db); err != nil {
			t.Fatal(err)
		}
	}
	return db, first, second
}

func (c catalogue) want(t *testing.T, category, id string, want int) {
	t.Helper()
	if got, err := c.price(t.Context(), category, id); got != want || err != nil {
		t.Errorf("price of %s %s: %d, %v, want %d", category, id, got, err, want)
	}
}

func TestCrowdReadsOnce(t *testing.T) {
	db, first, second := processes(t)
	var crowd errgroup.Group
	for _, c := range []catalogue{first, second} {
		for range 50 {
			crowd.Go(func() error {
				c.want(t, "books", "atlas", 2000)
				return nil
			})
		}
	}
	_ = crowd.Wait()
	if db.reads != 1 {
		t.Errorf("%d reads of the database, want 1", db.reads)
	}
}

func TestRaiseForgetsACategory(t *testing.T) {
	db, first, second := processes(t)
	first.want(t, "books", "atlas", 2000)
	first.want(t, "lamps", "desk", 3000)
	if err := second.raise(t.Context(), "books", 10); err != nil {
		t.Fatal(err)
	}
	first.want(t, "books", "atlas", 2200)
	first.want(t, "lamps", "desk", 3000)
	if db.reads != 3 {
		t.Errorf("%d reads of the database, want 3: the lamp stays in the cache", db.reads)
	}
}

func TestUnknownProductIsRemembered(t *testing.T) {
	db, first, second := processes(t)
	for _, c := range []catalogue{first, second} {
		if _, err := c.price(t.Context(), "books", "none"); !errors.Is(err, wildkey.ErrNotFound) {
			t.Errorf("price of no book: %v, want %v", err, wildkey.ErrNotFound)
		}
	}
	if db.reads != 1 {
		t.Errorf("%d reads of the database, want 1", db.reads)
	}
}
