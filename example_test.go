package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

// newCache stands for the caller's set-up in the examples.
func newCache() *wildkey.Cache {
	cache, err := wildkey.New(luatest.New().Client(), wildkey.Options{Namespace: "app", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	return cache
}

// All sessions of a user: written, listed, renewed, and logged out everywhere.
func Example() {
	ctx := context.Background()

	// With no server at hand, the embedded engine; else redis.NewClient.
	var client wildkey.Client = luatest.New().Client()
	if url := os.Getenv("REDIS_URL"); url != "" {
		options, err := redis.ParseURL(url)
		if err != nil {
			log.Fatal(err)
		}
		client = redis.NewClient(options)
	}
	cache, err := wildkey.New(client, wildkey.Options{Namespace: "app", TTL: 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}

	// A login writes both records or neither.
	err = cache.Put(ctx,
		wildkey.Record{Key: wildkey.K("user", 42, "session", "abc"), Value: []byte("laptop")},
		wildkey.Record{Key: wildkey.K("user", 42, "session", "xyz"), Value: []byte("phone")},
	)
	if err != nil {
		log.Fatal(err)
	}

	sessions := wildkey.MustParsePattern("user:42:session:*")
	for entry, err := range cache.Match(ctx, sessions) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s = %s\n", entry.Key, entry.Value)
	}

	renewed, err := cache.TouchMatch(ctx, 48*time.Hour, sessions)
	fmt.Println("renewed:", renewed, err)
	loggedOut, err := cache.DeleteMatch(ctx, sessions)
	fmt.Println("logged out:", loggedOut, err)
	// Output:
	// user:42:session:abc = laptop
	// user:42:session:xyz = phone
	// renewed: 2 <nil>
	// logged out: 2 <nil>
}

// A lock, a compare-and-set, and an unlock that gives the value back.
func ExampleCache_Put() {
	ctx, cache, key := context.Background(), newCache(), wildkey.K("lock", "report")
	put := func(value string, when wildkey.Condition) error {
		return cache.Put(ctx, wildkey.Record{Key: key, Value: []byte(value), TTL: time.Minute, If: when})
	}

	fmt.Println(put("worker 1", wildkey.Absent))
	fmt.Println(errors.Is(put("worker 2", wildkey.Absent), wildkey.ErrCondition))
	fmt.Println(put("worker 1, half done", wildkey.Equal([]byte("worker 1"))))
	value, err := cache.Take(ctx, key)
	fmt.Printf("%s, %v\n", value, err)
	// Output:
	// <nil>
	// true
	// <nil>
	// worker 1, half done, <nil>
}

// A job that just one of many workers does, although calls are sent twice: here
// each, as by go-redis where a connection breaks before the reply.
func Example_exactlyOnce() {
	ctx, client := context.Background(), luatest.New().Client()
	client.AddHook(sendTwice{})
	cache, err := wildkey.New(client, wildkey.Options{Namespace: "app", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	for job := range 2 {
		if err := cache.Put(ctx, wildkey.Record{Key: wildkey.K("job", job), Value: []byte("waiting")}); err != nil {
			log.Fatal(err)
		}
	}

	// Take finds the record gone that it has taken itself.
	_, err = cache.Take(ctx, wildkey.K("job", 0))
	fmt.Println(err)

	job := wildkey.K("job", 1)
	fmt.Println(claim(ctx, cache, job, "worker 1, claim 8c1f"))
	fmt.Println(claim(ctx, cache, job, "worker 2, claim 07ab"))
	// Worker 1 does the job, and then deletes it, as often as it takes.
	_, err = cache.Delete(ctx, job)
	fmt.Println(err)
	// Output:
	// wildkey: not found
	// true <nil>
	// false <nil>
	// <nil>
}

// claim turns the record, if it is waiting, into that of a claim, and reports
// whether it is. The text of a claim is one that no other claim has. After an
// error, claim may be called again with the same text, until there is none.
func claim(ctx context.Context, cache *wildkey.Cache, job wildkey.Key, text string) (bool, error) {
	record := wildkey.Record{Key: job, Value: []byte(text), If: wildkey.Equal([]byte("waiting"))}
	if err := cache.Put(ctx, record); !errors.Is(err, wildkey.ErrCondition) {
		return err == nil, err
	}
	// It is another's, or its own: written by this call, which was sent twice.
	value, err := cache.Get(ctx, job)
	if errors.Is(err, wildkey.ErrNotFound) {
		return false, nil
	}
	return string(value) == text, err
}

// sendTwice is a go-redis hook that loses the first reply of each script.
type sendTwice struct{}

func (sendTwice) DialHook(next redis.DialHook) redis.DialHook { return next }

func (sendTwice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil || cmd.Name() != "evalsha" {
			return err
		}
		return next(ctx, cmd)
	}
}

func (sendTwice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func ExampleCache_GetMany() {
	ctx, cache := context.Background(), newCache()
	err := cache.Put(ctx,
		wildkey.Record{Key: wildkey.K("price", "apple"), Value: []byte("3")},
		wildkey.Record{Key: wildkey.K("price", "air"), Value: nil, TTL: wildkey.NoExpiry},
	)
	if err != nil {
		log.Fatal(err)
	}
	values, err := cache.GetMany(ctx, wildkey.K("price", "apple"), wildkey.K("price", "pear"), wildkey.K("price", "air"))
	if err != nil {
		log.Fatal(err)
	}
	for _, value := range values {
		fmt.Printf("%q %t\n", value, value == nil)
	}
	// Output:
	// "3" false
	// "" true
	// "" false
}

// Pages for a user interface: the cursor may go through a URL and come back.
func ExampleCache_Page() {
	ctx, cache := context.Background(), newCache()
	for n := range 5 {
		if err := cache.Put(ctx, wildkey.Record{Key: wildkey.K("order", n)}); err != nil {
			log.Fatal(err)
		}
	}
	cursor := ""
	for {
		page, err := cache.Page(ctx, wildkey.MustParsePattern("order:*"), cursor, 2)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("a page of", len(page.Entries), "from", page.Entries[0].Key)
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	// Output:
	// a page of 2 from order:0
	// a page of 2 from order:2
	// a page of 1 from order:4
}

func ExampleParsePattern() {
	key := wildkey.K("user", 42, "session", "abc")
	for _, text := range []string{"user:*:session:*", "user:4*:**", "user:42", "user::session"} {
		pattern, err := wildkey.ParsePattern(text)
		fmt.Println(pattern.Matches(key), err)
	}
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
	// false wildkey: bad pattern: "user::session": term 2 is empty
}

func ExampleUnder() {
	fmt.Println(wildkey.Under(wildkey.K("file", "a/b.txt")))
	// Output: file:a%2Fb.txt:**
}

func ExampleK() {
	fmt.Println(wildkey.K("user", 42, "e-mail", "ann@example.com"))
	// Output: user:42:e-mail:ann%40example.com
}

func ExampleWriter() {
	ctx, cache := context.Background(), newCache()
	writer := wildkey.NewWriter(cache, wildkey.WriterOptions{
		OnError: func(err error, records []wildkey.Record, keys []wildkey.Key) {
			log.Printf("%d records and %d keys: %v", len(records), len(keys), err)
		},
	})
	for n := range 100 {
		if err := writer.Put(ctx, wildkey.Record{Key: wildkey.K("hit", n), Value: []byte("1")}); err != nil {
			log.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.Count(ctx, wildkey.MustParsePattern("hit:*")))
	// Output: 100 <nil>
}

// For servers where operators load the scripts: name and digest of each.
func ExampleScripts() {
	for _, script := range wildkey.Scripts() {
		fmt.Println(script.Name, len(script.SHA1))
	}
	// Output:
	// delete 40
	// match 40
	// put 40
	// sweep 40
	// touch 40
}
