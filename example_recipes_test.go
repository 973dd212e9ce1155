package wildkey_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/wildkey/wildkey"
)

// The sessions of a user: sign in, list the devices, log out everywhere.
func Example_sessions() {
	ctx, cache := context.Background(), newCache()
	user := wildkey.K("user", 42)
	for id, device := range map[string]string{"c1f8": "laptop", "07ab": "phone"} {
		session := wildkey.Record{Key: user.Child("session", id), Value: []byte(device), TTL: 30 * 24 * time.Hour}
		if err := cache.Put(ctx, session); err != nil {
			log.Fatal(err)
		}
	}

	sessions := wildkey.Under(user.Child("session"))
	for entry, err := range cache.Match(ctx, sessions) {
		fmt.Println(entry.Key, string(entry.Value), err)
	}

	// At each request: read the session, and give it another thirty days.
	device, err := cache.GetTouch(ctx, 30*24*time.Hour, user.Child("session", "07ab"))
	fmt.Println(string(device), err)

	loggedOut, err := cache.DeleteMatch(ctx, sessions)
	fmt.Println(loggedOut, err)
	// Output:
	// user:42:session:07ab phone <nil>
	// user:42:session:c1f8 laptop <nil>
	// phone <nil>
	// 2 <nil>
}

// A request that began before the logout must not write its session back.
func Example_sessionWrittenBack() {
	ctx, cache, key := context.Background(), newCache(), wildkey.K("user", 42, "session", "c1f8")
	session := wildkey.Record{Key: key, Value: []byte("cart: empty")}
	fmt.Println(cache.Put(ctx, session))

	_, err := cache.Delete(ctx, key) // the user logs out, while the request runs
	fmt.Println(err)

	session.Value = []byte("cart: a lamp")
	session.If = wildkey.Present()
	fmt.Println(cache.Put(ctx, session))
	// Output:
	// <nil>
	// <nil>
	// wildkey: condition does not hold: number 1 of the call, user:42:session:c1f8
}

// Who is active now, and how many were at each minute.
func Example_activeUsers() {
	ctx, cache := context.Background(), newCache()
	seen := func(user int, at time.Time) error {
		return cache.Put(ctx,
			wildkey.Record{Key: wildkey.K("active", "now", user), TTL: 5 * time.Minute},
			wildkey.Record{Key: wildkey.K("active", "at", at.UTC().Format("2006-01-02T15-04"), user)})
	}
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	fmt.Println(seen(1, noon), seen(2, noon), seen(1, noon.Add(time.Minute)))

	fmt.Println(cache.Count(ctx, wildkey.MustParsePattern("active:now:*")))
	hour := wildkey.MustParsePattern("active:at:2026-05-01T12-00<2026-05-01T13-00:*")
	fmt.Println(cache.Count(ctx, hour))
	for minute, err := range cache.List(ctx, wildkey.MustParsePattern("active:at:*")) {
		users, errCount := cache.Count(ctx, wildkey.Under(minute.Key))
		fmt.Println(minute.Key[2], users, err, errCount)
	}
	// Output:
	// <nil> <nil> <nil>
	// 2 <nil>
	// 3 <nil>
	// 2026-05-01T12-00 2 <nil> <nil>
	// 2026-05-01T12-01 1 <nil> <nil>
}
