// Command demo does Wildkey's main job, on the embedded engine or, with
// REDIS_URL set, on a server: the sessions of a few users, and then every zone
// name of Go's own tz database. It uses the namespace wildkey-demo, which it
// empties at the start and at the end. It exits with an error when an answer is
// not what the plain list of names says.
package main

import (
	"archive/zip"
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

func main() {
	log.SetFlags(0)
	zones := flag.String("zoneinfo", "", "path of Go's zoneinfo.zip")
	flag.Parse()
	if err := run(context.Background(), *zones); err != nil {
		log.Fatal("demo: ", err)
	}
}

func run(ctx context.Context, zoneinfo string) error {
	client, err := connect()
	if err != nil {
		return err
	}
	defer client.Close()
	cache, err := wildkey.New(client, wildkey.Options{Namespace: "wildkey-demo", TTL: time.Hour})
	if err != nil {
		return err
	}
	everything := wildkey.MustParsePattern("**")
	for _, part := range []func() error{
		func() error { return sessions(ctx, cache) },
		func() error { return timeZones(ctx, cache, zoneinfo) },
	} {
		if _, err := cache.DeleteMatch(ctx, everything); err != nil {
			return err
		}
		if err := part(); err != nil {
			return err
		}
	}
	_, err = cache.DeleteMatch(ctx, everything)
	return err
}

func connect() (*redis.Client, error) {
	url := os.Getenv("REDIS_URL")
	if url == "" {
		fmt.Println("On the embedded engine (set REDIS_URL for a server).")
		return luatest.Live().Client(), nil
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	fmt.Println("On the server at", options.Addr)
	return redis.NewClient(options), nil
}

func sessions(ctx context.Context, cache *wildkey.Cache) error {
	fmt.Println("\nThree users log in from two devices each.")
	for _, user := range []int{4, 42, 420} {
		err := cache.Put(ctx,
			wildkey.Record{Key: wildkey.K("user", user, "name"), Value: fmt.Appendf(nil, "user %d", user), TTL: wildkey.NoExpiry},
			wildkey.Record{Key: wildkey.K("user", user, "session", "laptop"), Value: []byte("Lisbon")},
			wildkey.Record{Key: wildkey.K("user", user, "session", "phone"), Value: []byte("Porto")},
		)
		if err != nil {
			return err
		}
	}
	if err := list(ctx, cache, "user:42:session:**", 2); err != nil {
		return err
	}

	n, err := cache.Touch(ctx, 24*time.Hour, wildkey.K("user", 42, "session", "phone"))
	if err := expect("\nRenewed for a day: user:42:session:phone", n, 1, err); err != nil {
		return err
	}
	n, err = cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:42:session:**"))
	if err := expect("Logged out everywhere, in one call: user:42:session:**", n, 2, err); err != nil {
		return err
	}
	return list(ctx, cache, "**", 7)
}

func list(ctx context.Context, cache *wildkey.Cache, pattern string, want int) error {
	entries, err := cache.Collect(ctx, wildkey.MustParsePattern(pattern))
	if err := expect("\n"+pattern, len(entries), want, err); err != nil {
		return err
	}
	for _, entry := range entries {
		fmt.Printf("  %s = %s\n", entry.Key, entry.Value)
	}
	return nil
}

func timeZones(ctx context.Context, cache *wildkey.Cache, zoneinfo string) error {
	archive, err := zip.OpenReader(zoneinfo)
	if err != nil {
		return fmt.Errorf("%w (use: make demo)", err)
	}
	defer archive.Close()
	var zones []wildkey.Key
	var records []wildkey.Record
	for _, file := range archive.File {
		if strings.HasSuffix(file.Name, "/") {
			continue
		}
		zone := wildkey.Key(strings.Split(file.Name, "/"))
		zones = append(zones, zone)
		records = append(records, wildkey.Record{Key: zone, Value: fmt.Append(nil, file.UncompressedSize64)})
	}
	for batch := range slices.Chunk(records, 250) { // what one atomic call takes
		if err := cache.Put(ctx, batch...); err != nil {
			return err
		}
	}
	fmt.Printf("\n%d time zones put. Those that match, and by the plain list:\n", len(zones))
	for _, question := range []struct {
		pattern string
		matches func(zone wildkey.Key) bool
	}{
		{"**", func(wildkey.Key) bool { return true }},
		{"America:**", func(zone wildkey.Key) bool { return zone[0] == "America" }},
		{"*:Port*", func(zone wildkey.Key) bool { return len(zone) == 2 && strings.HasPrefix(zone[1], "Port") }},
		{"*:*:*", func(zone wildkey.Key) bool { return len(zone) == 3 }},
		{"America:Argentina:Ushuaia", func(zone wildkey.Key) bool {
			return strings.Join(zone, "/") == "America/Argentina/Ushuaia"
		}},
	} {
		want := 0
		for _, zone := range zones {
			if question.matches(zone) {
				want++
			}
		}
		pattern := wildkey.MustParsePattern(question.pattern)
		entries, err := cache.Collect(ctx, pattern)
		counted, errCount := cache.Count(ctx, pattern)
		if err := cmp.Or(err, errCount); err != nil {
			return err
		}
		fmt.Printf("  %-26s %4d %4d\n", pattern, len(entries), want)
		if len(entries) != want || counted != want {
			return fmt.Errorf("%s: %d found, %d counted, and the list has %d", pattern, len(entries), counted, want)
		}
	}
	return nil
}

// expect prints a count and checks it.
func expect(what string, got, want int, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Printf("%s: %d\n", what, got)
	if got != want {
		return fmt.Errorf("%s: %d, want %d", what, got, want)
	}
	return nil
}
