module github.com/wildkey/wildkey

go 1.23

require (
	github.com/google/go-cmp v0.7.0
	github.com/redis/go-redis/v9 v9.18.0
	github.com/yuin/gopher-lua v1.1.2
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dgryski/go-rendezvous v0.0.0-20200823014737-9f7001d12a5f // indirect
	go.uber.org/atomic v1.11.0 // indirect
)
