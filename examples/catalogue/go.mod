module github.com/wildkey/wildkey/examples/catalogue

go 1.24.0

require (
	github.com/redis/go-redis/v9 v9.22.0
	github.com/wildkey/wildkey v0.0.0-00010101000000-000000000000
	golang.org/x/sync v0.16.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/yuin/gopher-lua v1.1.2 // indirect
	go.uber.org/atomic v1.11.0 // indirect
	golang.org/x/sys v0.30.0 // indirect
)
