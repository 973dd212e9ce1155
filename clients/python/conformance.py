"""Tests the package on the empty server of REDIS_URL: see "Conformance" in clients/README.md.

    conformance.py vectors VECTORS.JSON
    conformance.py lines NAMESPACE PAGE_LIMIT [preloaded] < LINES
"""

import json
import os
import re
import sys
from datetime import timedelta
from urllib.parse import quote, unquote_to_bytes

import redis

import wildkey
from wildkey._keys import Layout
from wildkey._operations import OnLease
from wildkey._transport import run


def check_vectors(path):
    with open(path, encoding="utf-8") as file:
        vectors = {name: _bytes_of(rows) for name, rows in json.load(file).items()}
    failures = []

    def expect(want, got, what):
        if want != got:
            failures.append(f"{what!r:.200}: got {got!r:.200}, want {want!r:.200}")

    def expect_refused(function, argument):
        try:
            failures.append(f"{function.__name__}({argument!r:.100}) is {function(argument)!r:.100}, not an error")
        except ValueError:
            pass

    for row in vectors["keys"]:
        encoded = row["encoded"].decode()
        expect(encoded, wildkey.encode_key(row["segments"]), row["segments"])
        expect(tuple(row["segments"]), wildkey.decode_key(encoded), encoded)
    for segments in vectors["refused_segments"]:
        expect_refused(wildkey.encode_key, segments)
    for text in vectors["refused_encoded"]:
        expect_refused(wildkey.decode_key, text.decode("latin-1"))
    for row in vectors["patterns"]:
        expect([term.decode() for term in row["terms"]], wildkey.pattern_terms(row["text"].decode()), row["text"])
    for text in vectors["refused_patterns"]:
        expect_refused(wildkey.pattern_terms, text.decode("latin-1"))
    for row in vectors["shards"]:
        shard = wildkey.shard(row["segments"], row["shards"], row["leading"])
        expect(row["shard"], shard, row)
        tag = wildkey.hash_tag(row["namespace"], shard, row["shards"], row["leading"])
        expect(row["tag"].decode(), tag, row)
    for row in vectors["leases"]:
        layout = Layout(row["namespace"], row["shards"], row["leading"])
        expect((row["shard"], row["lease"].decode()), layout.record(row["segments"], lead="!"), row)
    for row in vectors["lease_patterns"]:
        terms = wildkey.Pattern.parse(row["text"].decode()).leases().arguments
        expect([term.decode() for term in row["terms"]], terms, row["text"])
    for row in vectors["lease_calls"]:
        cache = wildkey.Wildkey(_client(), "app")
        sent = []

        async def call(script, keys, arguments):
            sent.append((script, *map(_sent, keys + arguments)))
            return 0

        cache._state.caller.call = call
        cache.apply(*map(_operation, row["operations"]))
        expect([("put", *row["keys"], *row["arguments"])], sent, row["call"])

    cache = wildkey.Wildkey(_client())
    raw = _client()
    raw.response_callbacks.clear()  # replies as the server gives them
    if raw.execute_command("DBSIZE"):
        sys.exit("the server of REDIS_URL is not empty, and the calls begin with FLUSHALL")
    for row in vectors["calls"]:
        words = row["command"]
        try:
            if words[0] in (b"EVALSHA", b"EVALSHA_RO"):
                first = 3 + int(words[2])
                read_only = words[0] == b"EVALSHA_RO"
                reply = run(cache._state.caller.call(words[1].decode(), words[3:first], words[first:], read_only))
            else:
                reply = raw.execute_command(*words)
        except (redis.ResponseError, wildkey.BadArgument) as error:
            # The server may say more behind it, in which line of the script; redis-py cuts a first word that it knows.
            text = str(error).encode()
            want = row["reply"]["error"] if isinstance(row["reply"], dict) else b"no error"
            reply = {"error": want if text.startswith((want, want.partition(b" ")[2])) else text}
        expect(row["reply"], reply, (row["case"], row["command"]))
    return failures


def _sent(word):
    return word.encode() if isinstance(word, str) else word


def _operation(row):
    """The operation of a row of lease_calls."""
    key, condition = row["segments"], wildkey.Condition(row["condition"])
    if row["op"] == b"put":
        operation = wildkey.Record(key, row["value"], timedelta(milliseconds=int(row["ttl"])), condition)
    else:
        operation = {b"delete": wildkey.Delete, b"check": wildkey.Check}[row["op"]](key, condition)
    return OnLease(operation) if row["lease"] else operation


def _bytes_of(value):
    """Each string of the vectors as the bytes that it stands for."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, list):
        return [_bytes_of(item) for item in value]
    if isinstance(value, dict):  # of a row: its names are plain text
        return {name: _bytes_of(item) for name, item in value.items()}
    return value


def run_lines(namespace, page_limit, preloaded=""):
    cache = wildkey.Wildkey(
        _client(),
        unquote_to_bytes(namespace),
        scripts=os.environ.get("WILDKEY_SCRIPTS"),
        preloaded=bool(preloaded),
        page_limit=int(page_limit),
    )
    key, text = wildkey.decode_key, wildkey.encode_key

    def pattern_of(word):
        return wildkey.Pattern.parse(word[1:]).leases() if word.startswith("!") else word

    def ttl(word):
        if re.fullmatch("-?[0-9]+", word):
            return timedelta(milliseconds=int(word))
        return {"never": wildkey.NO_EXPIRY, "keep": wildkey.KEEP_TTL}[word]

    def ttl_word(ttl):
        return "never" if ttl is wildkey.NO_EXPIRY else ttl // timedelta(milliseconds=1)

    def condition(word):
        return wildkey.Condition(word[:1].encode() + unquote_to_bytes(word[1:]))

    def get(word):
        if not word.startswith("!"):
            return equals(cache.get(key(word)))
        entries = cache.collect(pattern_of(word))  # of a key, which is a pattern of literals
        return equals(entries[0].value if entries else None)

    def operation(verb, name, *words):
        if name.startswith("!"):
            return OnLease(operation(verb, name[1:], *words))
        if verb == "put":
            return wildkey.Record(key(name), unquote_to_bytes("".join(words[2:])), ttl(words[0]), condition(words[1]))
        if verb == "touch":
            return wildkey.Touch(key(name), ttl(words[0]), *map(condition, words[1:]))
        return {"delete": wildkey.Delete, "check": wildkey.Check}[verb](key(name), *map(condition, words))

    def equals(value):
        return "none" if value is None else "=" + quote(value, safe="")

    def apply(*words):
        return cache.apply(*(operation(*one.split()) for one in " ".join(words).split(";")))

    verbs = {
        "put": lambda *words: cache.put(operation("put", *words)) or "ok",
        "apply": apply,
        "get": get,
        "take": lambda name: equals(cache.take(key(name))),
        "delete": lambda *names: cache.delete(*map(key, names)),
        "touch": lambda word, *names: cache.touch(ttl(word), *map(key, names)),
        "match": lambda pattern: [text(entry.key) + equals(entry.value) for entry in cache.match(pattern)],
        "records": lambda pattern: [
            f"{text(record.key)}{equals(record.value)} {ttl_word(record.ttl)}"
            for record in cache.match(pattern, with_ttl=True)
        ],
        "keys": lambda pattern: [text(name) for name in cache.match_keys(pattern_of(pattern))],
        "count": lambda pattern: cache.count(pattern_of(pattern)),
        "delete-match": lambda pattern: cache.delete_match(pattern_of(pattern)),
        "touch-match": lambda word, pattern: cache.touch_match(ttl(word), pattern),
        "load": lambda: cache.load() or "ok",
    }
    for line in sys.stdin:
        verb, *words = line.rstrip("\n").split(" ")
        try:
            answer = verbs[verb](*words)
        except wildkey.ConditionError as error:
            answer = "condition" if verb == "put" else -1 - error.index
        except ValueError:
            answer = "refused"
        except wildkey.ScriptError:
            answer = "error"
        print(*(answer + ["end"] if isinstance(answer, list) else [answer]), sep="\n")


def _client():
    return redis.Redis.from_url(os.environ["REDIS_URL"])


if __name__ == "__main__":
    if sys.argv[1] == "vectors":
        found = check_vectors(sys.argv[2])
        print(*found, sep="\n")
        sys.exit(bool(found))
    run_lines(*sys.argv[2:])
