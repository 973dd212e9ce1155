package writer_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
	"github.com/wildkey/wildkey/writer"
)

func Example() {
	ctx := context.Background()
	cache, err := wildkey.New(luatest.New().Client(), wildkey.Options{Namespace: "app", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	w := writer.New(cache, writer.Options{
		OnError: func(err error, ops []wildkey.Op) {
			log.Printf("%d operations: %v", len(ops), err)
		},
	})
	for n := range 100 {
		if err := w.Put(ctx, wildkey.Record{Key: wildkey.K("hit", n), Value: []byte("1")}); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.Count(ctx, wildkey.MustParsePattern("hit:*")))
	// Output: 100 <nil>
}
