package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// findMaster returns the address of the master, by the first Sentinel that knows it. The
// client finds the master for itself, anew after each failover, but does not tell.
func findMaster(ctx context.Context, options *redis.FailoverOptions) (string, error) {
	var failed []error
	for _, address := range options.SentinelAddrs {
		sentinel := redis.NewClient(&redis.Options{
			Addr: address, Username: options.SentinelUsername, Password: options.SentinelPassword,
			TLSConfig: options.TLSConfig, DialTimeout: options.DialTimeout, ReadTimeout: options.ReadTimeout,
		})
		defer sentinel.Close()
		reply, err := sentinel.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.MasterName).StringSlice()
		switch {
		case err == nil && len(reply) == 2:
			return net.JoinHostPort(reply[0], reply[1]), nil
		case err == redis.Nil:
			err = fmt.Errorf("it has no master %s, but %s", plain(options.MasterName), plain(some(mastersOf(ctx, sentinel))))
		}
		failed = append(failed, fmt.Errorf("asking Sentinel %s: %w", address, err))
	}
	return "", errors.Join(failed...)
}

// mastersOf returns the names of the masters that a Sentinel has, if it tells.
func mastersOf(ctx context.Context, sentinel *redis.Client) (names []string) {
	replies, _ := sentinel.Do(ctx, "SENTINEL", "MASTERS").Slice()
	for _, reply := range replies {
		names = append(names, factsOf(reply)["name"])
	}
	return names
}

// isSentinel reports whether a server that has not said what it is, is a Sentinel: one has
// no SELECT, so that it refuses the first call at another database than 0.
func isSentinel(ctx context.Context, options redis.Options) bool {
	if options.DB == 0 {
		return false
	}
	options.DB = 0
	client := redis.NewClient(&options)
	defer client.Close()
	about, err := ask(ctx, client)
	return err == nil && about.mode == "sentinel"
}

// refuseSentinel says what the URL of the master is.
func refuseSentinel(ctx context.Context, options *redis.Options) error {
	sentinel := redis.NewClient(&redis.Options{
		Addr: options.Addr, Username: options.Username, Password: options.Password, TLSConfig: options.TLSConfig,
	})
	defer sentinel.Close()
	scheme, db, names := "redis-sentinel", "", mastersOf(ctx, sentinel)
	if options.TLSConfig != nil {
		scheme = "rediss-sentinel"
	}
	if options.DB != 0 {
		db = fmt.Sprintf("/%d", options.DB)
	}
	if len(names) == 0 {
		names = []string{"NAME"} // it has none, or does not tell
	}
	var urls []string
	for _, name := range names {
		urls = append(urls, fmt.Sprintf("%s://%s/%s%s", scheme, options.Addr, url.PathEscape(name), db))
	}
	return fmt.Errorf("%s is a Sentinel, which has no records: the URL of its master is %s",
		options.Addr, strings.Join(urls, " or "))
}
