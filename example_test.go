package wildkey_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

// newCache stands for the caller's set-up in the examples.
func newCache() *wildkey.Cache {
	cache, err := wildkey.New(luatest.Live().Client(), wildkey.Options{Namespace: "app", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	return cache
}

// A lock that only its holder can renew and release, whoever has it by then. The
// token is a text that no other holder has.
func ExampleCache_Apply_lock() {
	ctx, cache, lock := context.Background(), newCache(), wildkey.K("lock", "report")
	acquire := func(token string) error {
		return cache.Put(ctx, wildkey.Record{Key: lock, Value: []byte(token), TTL: time.Minute, If: wildkey.Absent()})
	}
	refresh := func(token string) (int, error) {
		return cache.Apply(ctx, wildkey.OpTouch(lock, time.Minute).If(wildkey.Equal([]byte(token))))
	}
	release := func(token string) (int, error) {
		return cache.Apply(ctx, wildkey.OpDelete(lock).If(wildkey.Equal([]byte(token))))
	}
	fmt.Println(acquire("worker 1, 8c1f"), acquire("worker 2, 07ab"))
	fmt.Println(refresh("worker 1, 8c1f"))
	fmt.Println(release("worker 2, 07ab"))
	fmt.Println(release("worker 1, 8c1f"))
	// Output:
	// <nil> wildkey: condition does not hold: number 1 of the call, lock:report
	// 1 <nil>
	// 0 wildkey: condition does not hold: number 1 of the call, lock:report
	// 1 <nil>
}

// Compare-and-set of a large value: the digest of the old one goes to the server in
// its place.
func ExampleEqualSHA1() {
	ctx, cache, key := context.Background(), newCache(), wildkey.K("document", 7)
	old, changed := bytes.Repeat([]byte("old "), 100_000), bytes.Repeat([]byte("new "), 100_000)
	fmt.Println(cache.Put(ctx, wildkey.Record{Key: key, Value: old}))

	replace := wildkey.Record{Key: key, Value: changed, TTL: wildkey.KeepTTL}
	replace.If = wildkey.EqualSHA1(fmt.Sprintf("%x", sha1.Sum(old)))
	fmt.Println(cache.Put(ctx, replace))
	fmt.Println(cache.Put(ctx, replace)) // the value is another by now
	// Output:
	// <nil>
	// <nil>
	// wildkey: condition does not hold: number 1 of the call, document:7
}

// Replace a profile and drop the views made from it, at once: no reader sees the
// new profile beside an old view.
func ExampleCache_Apply_views() {
	ctx, cache, user := context.Background(), newCache(), wildkey.K("user", 42)
	page, card := user.Child("view", "page"), user.Child("view", "card")
	fmt.Println(cache.Put(ctx, wildkey.Record{Key: page}, wildkey.Record{Key: user.Child("profile")}))

	profile := wildkey.Record{Key: user.Child("profile"), Value: []byte("Ann")}
	fmt.Println(cache.Apply(ctx, wildkey.OpPut(profile), wildkey.OpDelete(page), wildkey.OpDelete(card)))
	fmt.Println(cache.Count(ctx, wildkey.MustParsePattern("user:42:view:*")))
	// Output:
	// <nil>
	// 2 <nil>
	// 0 <nil>
}

// Store a session only if nobody has logged the user out meanwhile, which changes
// the user's epoch.
func ExampleOpCheck() {
	ctx, cache, user := context.Background(), newCache(), wildkey.K("user", 42)
	epoch := wildkey.Record{Key: user.Child("epoch"), Value: []byte("1"), TTL: wildkey.NoExpiry}
	session := wildkey.Record{Key: user.Child("session", "abc"), Value: []byte("laptop")}
	unchanged := wildkey.OpCheck(epoch.Key).If(wildkey.Equal([]byte("1")))
	fmt.Println(cache.Put(ctx, epoch))
	fmt.Println(cache.Apply(ctx, unchanged, wildkey.OpPut(session)))

	epoch.Value = []byte("2") // logged out everywhere
	fmt.Println(cache.Put(ctx, epoch))
	fmt.Println(cache.Apply(ctx, unchanged, wildkey.OpPut(session)))
	// Output:
	// <nil>
	// 1 <nil>
	// <nil>
	// 0 wildkey: condition does not hold: number 1 of the call, user:42:epoch
}

// A job that just one of many workers does, although calls are sent twice: here
// each, as by go-redis where a connection breaks before the reply.
func Example_exactlyOnce() {
	ctx, client := context.Background(), luatest.Live().Client()
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
		if err := next(ctx, cmd); err != nil || !strings.HasPrefix(cmd.Name(), "eval") {
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
	orders, options := wildkey.MustParsePattern("order:*"), wildkey.PageOptions{Limit: 2}
	for more := true; more; more = options.Cursor != "" {
		page, err := cache.Page(ctx, orders, options)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("a page of", len(page.Entries), "from", page.Entries[0].Key)
		options.Cursor = page.Cursor
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

// A pattern of what a user has typed: each term encodes what it is given.
func ExampleNewPattern() {
	for _, typed := range []string{"ann@*", ""} {
		pattern, err := wildkey.NewPattern(wildkey.Lit("user"), wildkey.Prefix(typed), wildkey.Rest())
		fmt.Println(pattern, err)
	}
	// Output:
	// user:ann%40%2A*:** <nil>
	//  wildkey: bad pattern: "user:*:**": term 2 is empty
}

// The days of a month, and all that lies beneath them.
func ExampleBetween() {
	march, err := wildkey.NewPattern(wildkey.Lit("day"), wildkey.Between("2024-03", "2024-04"), wildkey.Rest())
	fmt.Println(march, err)
	fmt.Println(march.Matches(wildkey.K("day", "2024-03-31", "visits")), march.Matches(wildkey.K("day", "2024-04-01")))
	// Output:
	// day:2024-03<2024-04:** <nil>
	// true false
}

// The users, however many sessions each of them has.
func ExampleCache_List() {
	ctx := context.Background()
	cache, err := wildkey.New(luatest.Live().Client(), wildkey.Options{TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range []wildkey.Key{wildkey.K("user", 1), wildkey.K("user", 1, "session", "a"), wildkey.K("user", 2, "session", "b")} {
		if err := cache.Put(ctx, wildkey.Record{Key: key}); err != nil {
			log.Fatal(err)
		}
	}
	for item, err := range cache.List(ctx, wildkey.MustParsePattern("user:*")) {
		fmt.Println(item.Key, item.Beneath, err)
	}
	// Output:
	// user:1 false <nil>
	// user:1 true <nil>
	// user:2 true <nil>
}

func ExampleUnder() {
	fmt.Println(wildkey.Under(wildkey.K("file", "a/b.txt")))
	// Output: file:a%2Fb.txt:**
}

func ExampleK() {
	fmt.Println(wildkey.K("user", 42, "e-mail", "ann@example.com"))
	// Output: user:42:e-mail:ann%40example.com
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
}
