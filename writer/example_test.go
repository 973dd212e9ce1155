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
	cache, err := wildkey.New(luatest.Live().Client(), wildkey.Options{Namespace: "app", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	w := writer.New(cache, writer.Options{
		OnError: func(f writer.Failure) { log.Printf("%d operations, pattern %s: %v", len(f.Ops), f.Pattern, f.Err) },
	})
	user := wildkey.K("user", 42)
	for _, device := range []string{"laptop", "phone"} {
		session := wildkey.Record{Key: wildkey.K("user", 42, "session", device), Value: []byte("old")}
		if err := w.Put(ctx, session); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.DeleteMatch(ctx, wildkey.Under(user)); err != nil { // finds both, written or not
		log.Fatal(err)
	}
	session := wildkey.Record{Key: wildkey.K("user", 42, "session", "tablet"), Value: []byte("new")}
	if err := w.Waiting().Put(ctx, session); err != nil { // or what went wrong with this very record
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		log.Fatal(err)
	}
	for key, err := range cache.MatchKeys(ctx, wildkey.Under(user)) {
		fmt.Println(key, err)
	}
	// Output: user:42:session:tablet <nil>
}
