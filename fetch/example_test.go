package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/luatest"
)

// prices stands for a database.
var prices = map[string]string{"lamp": "20", "desk": "90"}

func newExample(options fetch.Options) (*fetch.Fetcher, context.Context) {
	cache, err := wildkey.New(luatest.Live().Client(), wildkey.Options{Namespace: "shop", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	fetcher, err := fetch.New(cache, options)
	if err != nil {
		log.Fatal(err)
	}
	return fetcher, context.Background()
}

// A price is read from the database once, and from the cache until it changes.
func Example() {
	fetcher, ctx := newExample(fetch.Options{})
	price := func(product string) (string, error) {
		value, err := fetcher.Get(ctx, wildkey.K("price", product), func(context.Context) (fetch.Loaded, error) {
			fmt.Println("reading the price of a", product)
			return fetch.Loaded{Value: []byte(prices[product])}, nil
		})
		return string(value), err
	}
	fmt.Println(price("lamp"))
	fmt.Println(price("lamp"))

	prices["lamp"] = "25"
	_, err := fetcher.Delete(ctx, wildkey.K("price", "lamp")) // and what is being loaded is not stored
	fmt.Println(err)
	fmt.Println(price("lamp"))
	// Output:
	// reading the price of a lamp
	// 20 <nil>
	// 20 <nil>
	// <nil>
	// reading the price of a lamp
	// 25 <nil>
}

// A whole category changes.
func ExampleFetcher_DeleteMatch() {
	fetcher, ctx := newExample(fetch.Options{})
	for _, product := range []string{"lamp", "desk"} {
		_, err := fetcher.Get(ctx, wildkey.K("price", product), func(context.Context) (fetch.Loaded, error) {
			return fetch.Loaded{Value: []byte(prices[product]), TTL: time.Minute}, nil
		})
		fmt.Println(err)
	}
	fmt.Println(fetcher.DeleteMatch(ctx, wildkey.MustParsePattern("price:**")))
	// Output:
	// <nil>
	// <nil>
	// 2 <nil>
}

// A product that does not exist is looked up once a minute.
func ExampleOptions_negative() {
	fetcher, ctx := newExample(fetch.Options{Negative: time.Minute})
	for range 2 {
		_, err := fetcher.Get(ctx, wildkey.K("price", "sofa"), func(context.Context) (fetch.Loaded, error) {
			fmt.Println("looking for a sofa")
			return fetch.Loaded{}, wildkey.ErrNotFound
		})
		fmt.Println(errors.Is(err, wildkey.ErrNotFound))
	}
	// Output:
	// looking for a sofa
	// true
	// true
}
