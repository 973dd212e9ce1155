"""Tests wildkey.py on the empty server of REDIS_URL: see "Conformance" in clients/README.md.

    conformance.py vectors VECTORS.JSON
    conformance.py lines NAMESPACE PAGE_LIMIT [preloaded] < LINES
"""

import json
import os
import re
import sys
import time
from urllib.parse import quote, unquote_to_bytes

import redis

import wildkey


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
        tag = wildkey.hash_tag(row["namespace"], shard if row["shards"] > 1 else None)
        expect(row["tag"].decode(), tag, row)

    cache = wildkey.Wildkey(_client())
    raw = _client()
    raw.response_callbacks.clear()  # replies as the server gives them
    if raw.execute_command("DBSIZE"):
        sys.exit("the server of REDIS_URL is not empty, and the calls begin with FLUSHALL")
    for row in vectors["calls"]:
        words = [_time_of(word) for word in row["command"]]
        try:
            if words[0] in (b"EVALSHA", b"EVALSHA_RO"):
                first = 3 + int(words[2])
                reply = cache.call(words[1].decode(), words[3:first], words[first:])
            else:
                reply = raw.execute_command(*words)
        except redis.ResponseError as error:
            # The server may say more behind it, in which line of the script; redis-py cuts a first word that it knows.
            text = str(error).encode()
            want = row["reply"]["error"] if isinstance(row["reply"], dict) else b"no error"
            reply = {"error": want if text.startswith((want, want.partition(b" ")[2])) else text}
        expect(row["reply"], reply, (row["case"], row["command"]))
    return failures


def _bytes_of(value):
    """Each string of the vectors as the bytes that it stands for."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, list):
        return [_bytes_of(item) for item in value]
    if isinstance(value, dict):  # of a row: its names are plain text
        return {name: _bytes_of(item) for name, item in value.items()}
    return value


def _time_of(word):
    """@+60000 as the time that it stands for; another word as it is."""
    if re.fullmatch(rb"@[+-][0-9]+", word):
        return b"%d" % (time.time() * 1000 + int(word[1:]))
    return word


def run_lines(namespace, page_limit, preloaded=""):
    cache = wildkey.Wildkey(
        _client(),
        unquote_to_bytes(namespace),
        scripts=os.environ.get("WILDKEY_SCRIPTS"),
        preloaded=bool(preloaded),
        page_limit=int(page_limit),
    )
    key, value = wildkey.decode_key, unquote_to_bytes
    for line in sys.stdin:
        verb, *words = line.rstrip("\n").split(" ")
        try:
            if verb == "put":
                condition = words[2][:1].encode() + value(words[2][1:])
                cache.put(wildkey.Record(key(words[0]), value(words[3]), int(words[1]), condition))
                answer = ["ok"]
            elif verb == "get":
                found = cache.get(key(words[0]))
                answer = ["none" if found is None else "=" + quote(found, safe="")]
            elif verb == "delete":
                answer = [cache.delete(*map(key, words))]
            elif verb == "touch":
                answer = [cache.touch(int(words[0]), *map(key, words[1:]))]
            elif verb == "match":
                found = cache.match(words[0])
                answer = [f"{wildkey.encode_key(one)}={quote(text, safe='')}" for one, text in found] + ["end"]
            elif verb == "keys":
                answer = [wildkey.encode_key(one) for one in cache.match_keys(words[0])] + ["end"]
            elif verb == "load":
                cache.load()
                answer = ["ok"]
        except wildkey.ConditionError:
            answer = ["condition"]
        except ValueError:
            answer = ["refused"]
        except wildkey.ScriptError:
            answer = ["error"]
        print(*answer, sep="\n")


def _client():
    return redis.Redis.from_url(os.environ["REDIS_URL"])


if __name__ == "__main__":
    if sys.argv[1] == "vectors":
        found = check_vectors(sys.argv[2])
        print(*found, sep="\n")
        sys.exit(bool(found))
    run_lines(*sys.argv[2:])
