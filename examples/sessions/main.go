// Command sessions is a web page that lists the devices on which a user is signed in, and
// logs out one of them or all.
package main

import (
	"errors"
	"flag"
	"log"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to serve on")
	flag.Parse()
	client, err := connect(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	cache, err := wildkey.New(client, wildkey.Options{Namespace: "sessions"})
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("Serving http://%s", *addr)
	log.Fatal(http.ListenAndServe(*addr, newApp(cache).handler()))
}

// connect returns a client of the server, or of the embedded engine if none is given.
func connect(url string) (wildkey.Client, error) {
	if url == "" {
		log.Print("Sessions end with this process. Set REDIS_URL to keep them on a server.")
		return luatest.Live().Client(), nil
	}
	options, err := redis.ParseURL(url)
	if err != nil { // it may show the password
		return nil, errors.New("REDIS_URL is not the URL of a Redis server")
	}
	return redis.NewClient(options), nil
}
