package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
)

// database stands for yours: prices in cents, by category and id.
type database struct {
	mu     sync.Mutex
	prices map[string]map[string]int
	reads  int
	slow   func() // runs between the read of a price and the answer
}

func (d *database) price(category, id string) (int, error) {
	d.mu.Lock()
	price, ok := d.prices[category][id]
	d.reads++
	d.mu.Unlock()
	d.slow()
	if !ok {
		return 0, wildkey.ErrNotFound
	}
	return price, nil
}

func (d *database) raise(category string, percent int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, price := range d.prices[category] {
		d.prices[category][id] = price * (100 + percent) / 100
	}
}

type catalogue struct {
	fetcher *fetch.Fetcher
	db      *database
}

func newCatalogue(client wildkey.Client, db *database) (catalogue, error) {
	cache, err := wildkey.New(client, wildkey.Options{Namespace: "catalogue", TTL: time.Hour})
	if err != nil {
		return catalogue{}, err
	}
	fetcher, err := fetch.New(cache, fetch.Options{Negative: time.Minute})
	return catalogue{fetcher, db}, err
}

// price asks the cache, and the database if the cache has nothing.
func (c catalogue) price(ctx context.Context, category, id string) (int, error) {
	key := wildkey.K("product", category, id)
	text, err := c.fetcher.Get(ctx, key, func(context.Context) (fetch.Loaded, error) {
		price, err := c.db.price(category, id)
		return fetch.Loaded{Value: []byte(strconv.Itoa(price))}, err
	})
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// raise changes the database first, and then the cache. Callers who ask after it get the new
// price, even if another process had read the old one and has yet to store it.
func (c catalogue) raise(ctx context.Context, category string, percent int) error {
	c.db.raise(category, percent)
	_, err := c.fetcher.DeleteMatch(ctx, wildkey.Under(wildkey.K("product", category))) // product:books:**
	return err
}
