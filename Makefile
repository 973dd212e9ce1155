STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: demo redis-server test test-long cover lint tidy sums generated fuzz soak bench load scale faults versions dist release

# The folders of go.work, one module in each.
MODULES = $$(go list -m -f '{{.Dir}}')

# The main job, on the embedded engine or on the server that REDIS_URL names.
demo:
	go run ./internal/demo -zoneinfo "$$(go env GOROOT)/lib/time/zoneinfo.zip"

# One that is missing is installed where it may be.
redis-server:
	@command -v redis-server >/dev/null || sh .ci/install redis-server || \
		echo "No redis-server: tests against a real server are skipped, only the embedded engine is tested."

# What runs for longer than a change can wait for: test-long has it.
LONG = /internal/suites/|/clients$$|/scripts$$

# The tests of each package, in some 3 minutes; each starts its own redis-server.
# WILDKEY_SERVERS=/opt/redis-6.2/redis-server:valkey-server has them run on each of these.
# The comparisons of the engine with a server, …AgainstServer, have one goroutine: -race takes three times as long there
# and has nothing to say.
test: redis-server
	go test -race -timeout 20m -skip AgainstServer $$(go list ./... | grep -vE '$(LONG)')
	go test -timeout 20m -run AgainstServer ./luatest
	cd bench && go test -race -timeout 20m ./...

# Suites in which several goroutines use a Cache at once.
CONCURRENT = ./internal/suites/cluster ./internal/suites/fetch ./internal/suites/reference ./internal/suites/writer

# The suites, the clients in other languages and the audit of the scripts; then the tools, which start many servers, and
# more schedules of fetch. Of one goroutine, -race has nothing to say.
test-long: redis-server
	go test -race -timeout 1h $(CONCURRENT)
	go test -timeout 1h $$(go list ./... | grep -E '$(LONG)' | grep -v $(CONCURRENT:./%=-e /%$$))
	go test -race -timeout 1h -run TestExplore ./fetch -explore-schedules 500
	cd cmd/wildkey && go test -race -timeout 1h ./...
	cd faults && go test -race -timeout 1h ./...
	cd internal/suites/miniredis && go test ./...
	for example in examples/*/; do (cd $$example && go test -race -timeout 20m ./...) || exit 1; done

# The lines of the scripts that the offline tests run, and a table.
cover:
	go test -count=1 -run '^TestScriptCoverage$$' ./internal/suites/scripts -listing

# luacheck, luac5.1, luac5.4, mypy and shellcheck come with Debian's lua-check, lua5.1, lua5.4, mypy and shellcheck, and what
# clients/node needs with npm ci there (see .ci/run).
lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	for module in $(MODULES); do (cd $$module && go vet ./... && go run $(STATICCHECK) ./...) || exit 1; done
	for script in scripts/*.lua; do luac5.1 -p $$script && luac5.4 -p $$script || exit 1; done
	luacheck --config .luacheckrc scripts/*.lua
	shellcheck -s sh clients/shell/*.sh .ci/install
	shellcheck .ci/run .ci/release
	cd scripts && sha1sum --quiet -c SHA1SUMS
	cd clients/python && mypy --cache-dir /dev/null
	cd clients/node && npm run --silent lint

# go mod tidy ignores go.work, so each go.mod has a replace directive while it runs. It must not stay: go install refuses it.
tidy:
	for module in $(MODULES); do (cd $$module && \
		go mod edit -replace github.com/wildkey/wildkey=$(CURDIR) && go mod tidy; code=$$?; \
		go mod edit -dropreplace github.com/wildkey/wildkey && exit $$code) || exit 1; done

# The digests that operators pin, and the scripts that the Python package brings, after a change of a script.
sums:
	cd scripts && sha1sum *.lua > SHA1SUMS
	cp scripts/*.lua scripts/SHA1SUMS clients/python/wildkey/scripts

# All that is made from the scripts, after a change of one: look at what it rewrites before it is committed.
generated: sums
	go test -run 'TestCorpus$$' . -update
	go test -run 'TestVectors$$' ./clients -update
	go test -run 'TestScriptWork$$' ./internal/suites/scripts -update
	go test -run 'TestAudit$$' ./scripts -update

# Each fuzz target for a while.
FUZZTIME = 30s
fuzz:
	go test -run '^$$' -fuzz '^FuzzKey$$' -fuzztime $(FUZZTIME) .
	go test -run '^$$' -fuzz '^FuzzPattern$$' -fuzztime $(FUZZTIME) .
	go test -run '^$$' -fuzz '^FuzzMatch$$' -fuzztime $(FUZZTIME) ./internal/suites/match
	go test -run '^$$' -fuzz '^FuzzScripts$$' -fuzztime $(FUZZTIME) ./internal/suites/rawcalls

# The long forms of random tests, each with its seed: patterns against a plain filter, some 2 hours; all verbs
# against a model, and commands, scripts and programs of Lua on the engine against servers, some 15 minutes a server;
# calls that no client makes, some 10 minutes; the steps of fetch in every order; and the long form of make faults, with
# -race.
soak:
	go test -run TestMatchIsAFilter -timeout 8h -v ./internal/suites/match -match-cases 200000
	go test -run TestModel -timeout 2h -v ./internal/suites/model -model-ops 100000
	go test -run TestRawCalls -timeout 2h -v ./internal/suites/rawcalls -raw-rounds 2000
	go test -run TestRandomAgainstServer -timeout 2h -v ./luatest -random-commands 1000000
	go test -run TestProgramsAgainstServer -timeout 2h -v ./luatest -programs 100000
	go test -run TestExplore -timeout 2h -v ./fetch -explore-schedules 100000
	cd faults && go test -count=1 -race -timeout 1h -long

# What servers are done in real life, what their clients are told and what is found after: a table.
faults:
	cd faults && go test -count=1 -timeout 1h -long

# Every test that talks to a server, on each of SERVERS, and the table of docs/versions.md: some 10 minutes a server;
# for some packages alone PACKAGES='luatest internal/suites/cluster'. Beside a server lies its own redis-cli or valkey-cli.
SERVERS = $(WILDKEY_SERVERS)
PACKAGES =
versions:
	WILDKEY_SERVERS='$(SERVERS)' go run ./internal/versions $(PACKAGES)

# Side by side with what else people would use, on its own redis-server: some 25 minutes and 5 GB of memory; with
# BENCH='-scale quick -out /tmp/bench' some 3 minutes.
BENCH = -out results
bench:
	cd bench && go run . $(BENCH) && go test -count=1 -run "^TestPages$$" . -update

# 64 clients and all verbs at once, on one server and on a cluster of three masters with 1 and with 48 shards: some 8
# minutes; with LOAD='-scale quick -out /tmp/load' half a minute. An error, a breach or too much garbage fails it.
LOAD = -out results
load:
	cd bench && go run . -mode load $(LOAD)

# The constants of docs/scale.md, from 10,000 to 3,000,000 records, held against 5,000,000; it writes the tables of the
# page. Some 15 minutes, and 6 GB of memory; up to 1,000,000 records with -scale middle, some 5 minutes and 1 GB;
# with SCALE='-scale quick -out /tmp/scale' a minute, and no page.
SCALE = -out results -page ../docs/scale.md
scale:
	cd bench && go run . -mode model $(SCALE)

# The files of a release, in dist/: static binaries of the tool, completions and checksums. The same commit and the same
# version of Go give the same bytes in any folder. The binaries have the dependencies that go install takes, from the tool's
# go.mod; go.work may raise them.
dist: export GOFLAGS = -trimpath -modfile=../../dist/wildkey.mod
dist: export CGO_ENABLED = 0
dist: export GOWORK = off
dist:
	rm -rf dist && mkdir dist
	cp cmd/wildkey/go.mod dist/wildkey.mod
	cp cmd/wildkey/go.sum dist/wildkey.sum
	GOFLAGS= go mod edit -replace github.com/wildkey/wildkey=../.. dist/wildkey.mod
	for arch in amd64 arm64; do (cd cmd/wildkey && \
		GOOS=linux GOARCH=$$arch go build -buildvcs=true -ldflags='-s -w' -o ../../dist/wildkey-linux-$$arch .) || exit 1; done
	for shell in bash zsh fish; do (cd cmd/wildkey && go run . completion $$shell > ../../dist/wildkey.$$shell) || exit 1; done
	rm dist/wildkey.mod dist/wildkey.sum
	cd dist && sha256sum * > SHA256SUMS

# The tags of a release, VERSION=vX.Y.Z; .ci/release says how they are made.
release:
	.ci/release $(VERSION)
