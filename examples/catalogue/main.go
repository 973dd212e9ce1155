// Command catalogue caches the prices of a slow database. A crowd that misses a price reads
// it once. If a category gets new prices, one call forgets the old ones.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

func main() {
	client := wildkey.Client(luatest.Live().Client())
	if url := os.Getenv("REDIS_URL"); url != "" {
		options, err := redis.ParseURL(url)
		if err != nil { // it may show the password
			log.Fatal("REDIS_URL is not the URL of a Redis server")
		}
		client = redis.NewClient(options)
	}
	if err := run(context.Background(), client); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client wildkey.Client) error {
	db := &database{
		prices: map[string]map[string]int{"books": {"atlas": 2000, "novel": 1000}},
		slow:   func() { time.Sleep(100 * time.Millisecond) },
	}
	c, err := newCatalogue(client, db)
	if err != nil {
		return err
	}
	if err := c.raise(ctx, "books", 0); err != nil { // an earlier run may have left prices on the server
		return err
	}
	var crowd errgroup.Group
	for range 100 {
		crowd.Go(func() error {
			_, err := c.price(ctx, "books", "atlas")
			return err
		})
	}
	if err := crowd.Wait(); err != nil {
		return err
	}
	fmt.Printf("100 callers ask for the atlas. Reads of the database: %d\n", db.reads)

	db.slow = func() { // the price of the novel has been read, and is not in the cache yet
		if err := c.raise(ctx, "books", 10); err != nil {
			log.Print(err)
		}
	}
	before, err := c.price(ctx, "books", "novel")
	if err != nil {
		return err
	}
	fmt.Printf("All books become dearer while a caller waits for the novel. It gets the price of before: %d\n", before)
	db.slow = func() {}
	for _, id := range []string{"novel", "atlas"} {
		after, err := c.price(ctx, "books", id)
		if err != nil {
			return err
		}
		fmt.Printf("The next caller gets the new price of the %s: %d\n", id, after)
	}
	return nil
}
