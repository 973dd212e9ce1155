STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: demo test cover lint sums generated fuzz soak bench load scale faults

# The main job, on the embedded engine or on the server that REDIS_URL names.
demo:
	go run ./internal/demo -zoneinfo "$$(go env GOROOT)/lib/time/zoneinfo.zip"

# Tests of one goroutine that work for long: -race would have them work for several times as long.
SEQUENTIAL = ^Test(MatchIsAFilter|HostileCalls|Worst.*|Model|Faults|EveryByte|ValuesOfAnySize|FlawIdleNight.*|CallBudgets|AuditACL|Clients.*)$$

# All tests; each starts its own redis-server, which is installed where it may be.
# WILDKEY_SERVERS=/opt/redis-6.2/redis-server:valkey-server has them run on each of these.
test:
	@command -v redis-server >/dev/null || sh .ci/install redis-server || \
		echo "No redis-server: tests against a real server are skipped, only the embedded engine is tested."
	go test -race -skip '$(SEQUENTIAL)' ./...
	go test -run '$(SEQUENTIAL)' .
	cd cmd/wildkey && go test -race ./...
	cd bench && go test -race ./...
	cd faults && go test -race ./...

# What the offline tests run of the scripts, line by line, and a table.
cover:
	go test -count=1 -run '^TestScriptCoverage$$' -listing

# luacheck, luac5.1 and luac5.4 come with Debian's lua-check, lua5.1 and lua5.4 (see .ci/run).
lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	go vet ./...
	cd bench && go vet ./... && go run $(STATICCHECK) ./...
	cd cmd/wildkey && go vet ./... && go run $(STATICCHECK) ./...
	cd faults && go vet ./... && go run $(STATICCHECK) ./...
	go run $(STATICCHECK) ./...
	for script in scripts/*.lua; do luac5.1 -p $$script && luac5.4 -p $$script || exit 1; done
	luacheck --config .luacheckrc scripts/*.lua
	cd scripts && sha1sum --quiet -c SHA1SUMS

# The digests that operators pin, after a change of a script.
sums:
	cd scripts && sha1sum *.lua > SHA1SUMS

# All that is made from the scripts, after a change of one: look at what it rewrites before it is committed.
generated: sums
	go test -run 'TestCorpus$$|TestVectors$$|TestScriptWork$$|TestAudit$$' -update .

# Each fuzz target for a while.
FUZZTIME = 30s
fuzz:
	for target in FuzzKey FuzzPattern FuzzMatch FuzzScripts; do \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) . || exit 1; done

# The long forms of random tests, each with its seed: patterns against a plain filter, some 20 minutes; all verbs
# against a model, and commands and scripts on the engine against servers, some 10 minutes a server; calls that no
# client makes, some 10 minutes; and the long form of make faults, with -race.
soak:
	go test -run TestMatchIsAFilter -timeout 2h -v . -match-cases 200000
	go test -run TestModel -timeout 2h -v . -model-ops 100000
	go test -run TestHostileCalls -timeout 2h -v . -hostile-rounds 5000
	go test -run TestRandomAgainstServer -timeout 2h -v ./luatest -random-commands 1000000
	cd faults && go test -count=1 -race -timeout 1h -long

# What servers are done in real life, what their clients are told and what is found after: a table.
faults:
	cd faults && go test -count=1 -timeout 1h -long

# Side by side with what else people would use, on its own redis-server: some 12 minutes.
bench:
	cd bench && go run . -out results

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
