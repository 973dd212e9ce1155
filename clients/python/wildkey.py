"""Wildkey from Python: records under hierarchical keys in Redis, found by wildcard.

    cache = Wildkey(redis.Redis(), namespace="app", ttl=86_400_000)
    cache.put(Record(("user", 42, "session", "abc"), "laptop"))
    for key, value in cache.match("user:42:session:*"):
        ...

The work is done by the Lua scripts in scripts/, which any number of clients in
any language share. A key is a list of segments: str (sent as UTF-8), int or
bytes. Times are whole milliseconds.
"""

import hashlib
import pathlib
import re
import zlib
from typing import Iterator, NamedTuple, Optional, Sequence, Tuple, Union
from urllib.parse import quote, unquote_to_bytes

import redis

Segment = Union[str, int, bytes]
Value = Union[str, bytes]

NO_EXPIRY = 0  # in the place of a ttl: the record never expires

# Conditions of a Record: what must be true for a put to write anything.
ALWAYS = b"*"
ABSENT = b"-"  # there is no live record
PRESENT = b"+"  # there is a live record


def equal(value: Value) -> bytes:
    """The condition that there is a live record with just this value."""
    return b"=" + _bytes(value)


class Record(NamedTuple):
    key: Sequence[Segment]
    value: Value
    ttl: Optional[int] = None  # None: the ttl of the Wildkey
    condition: bytes = ALWAYS


class Entry(NamedTuple):
    key: Tuple[bytes, ...]
    value: bytes


class ConditionError(Exception):
    """The condition of a record does not hold; nothing was written."""


class ScriptError(Exception):
    """A script is not what SHA1SUMS says, or is not on the server and may not be loaded."""


def _bytes(value: Union[Segment, Value]) -> bytes:
    if isinstance(value, bool) or not isinstance(value, (str, int, bytes)):
        raise TypeError(f"{value!r} is neither str, int nor bytes")
    return value if isinstance(value, bytes) else str(value).encode()


_MAX_ENCODED = 4096
# One segment in its only spelling: escaped is all that must be, and nothing else.
_SEGMENT = r"(?:[A-Za-z0-9._~-]|%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+"
_KEY = re.compile(f"{_SEGMENT}(?::{_SEGMENT})*")
_TERM = re.compile(rf"\*\*?|({_SEGMENT})(\*?)")


def encode_key(key: Sequence[Segment]) -> str:
    """The encoded key; ValueError if it has no segment, an empty one, or is too long."""
    if isinstance(key, (str, bytes)):
        raise TypeError("a key is a list of segments, not one string")
    segments = [_bytes(segment) for segment in key]
    encoded = ":".join(quote(segment, safe="") for segment in segments)
    if not segments or not all(segments) or len(encoded) > _MAX_ENCODED:
        raise ValueError(f"invalid key: {encoded[:100]!r}")
    return encoded


def decode_key(encoded: str) -> Tuple[bytes, ...]:
    """The segments; ValueError for any text that encode_key does not return."""
    if len(encoded) > _MAX_ENCODED or not _KEY.fullmatch(encoded):
        raise ValueError(f"not an encoded key: {encoded[:100]!r}")
    return tuple(unquote_to_bytes(segment) for segment in encoded.split(":"))


def pattern_terms(pattern: str) -> Sequence[str]:
    """The terms of match.lua for a pattern such as user:*:session:**; or ValueError."""
    terms, parts = [], pattern.split(":")
    for i, part in enumerate(parts):
        term = _TERM.fullmatch(part)
        if not term or (part == "**" and i < len(parts) - 1):
            raise ValueError(f"bad pattern: {pattern!r}: term {i + 1}")
        text, star = term.groups()
        terms.append(("^" if star else "=") + text if text else part)
    return terms


def shard(key: Sequence[Segment], shards: int, leading: int) -> int:
    """The shard of a key: the CRC-32 of its leading segments, encoded, modulo shards."""
    return zlib.crc32(encode_key(key[:leading]).encode()) % shards


def hash_tag(namespace: Segment, shard: Optional[int] = None) -> str:
    """The hash tag that all Redis keys of a namespace, or of one shard of it, begin with."""
    return "{" + encode_key([namespace]) + ("" if shard is None else f"#{shard}") + "}"


def read_scripts(directory: Optional[Union[str, pathlib.Path]] = None) -> dict:
    """Sources and digests of the scripts, {name: (source, sha1)}, as SHA1SUMS lists them.

    Without a directory, scripts/ is looked for beside this file, and then where
    Wildkey's own repository has it.
    """
    here = pathlib.Path(__file__).resolve().parent
    candidates = [pathlib.Path(directory)] if directory else [here / "scripts", here.parent.parent / "scripts"]
    found = next((path for path in candidates if (path / "SHA1SUMS").is_file()), None)
    if not found:
        raise ScriptError(f"no SHA1SUMS in {' or '.join(map(str, candidates))}")
    scripts = {}
    for line in (found / "SHA1SUMS").read_text().splitlines():
        digest, file = line.split()
        source = (found / file).read_bytes()
        if hashlib.sha1(source).hexdigest() != digest:
            raise ScriptError(f"{found / file} is not what SHA1SUMS says")
        scripts[file[: -len(".lua")]] = source, digest
    return scripts


class Wildkey:
    """A namespace of records on a Redis server. It sends nothing until it is used.

    The client must not decode responses. With preloaded, scripts are never
    loaded; with read_only, as on a replica, stale index entries are left alone.
    """

    def __init__(
        self,
        client: Union[redis.Redis, redis.RedisCluster],
        namespace: Segment = "cache",
        ttl: Optional[int] = None,
        shard: Optional[int] = None,
        scripts: Optional[Union[str, pathlib.Path]] = None,
        preloaded: bool = False,
        read_only: bool = False,
        max_records: int = 250,
        page_limit: int = 500,
        page_reads: int = 1_000,
        page_bytes: int = 1 << 20,
    ):
        if client.get_connection_kwargs().get("decode_responses"):
            raise ValueError("keys and values are bytes: the client must not have decode_responses set")
        tag = hash_tag(namespace, shard)
        self._client = client
        self._indexes = [tag + "/keys", tag + "/expiry"]
        self._prefix = tag + ":"
        self._ttl = ttl
        self._scripts = read_scripts(scripts)
        self._preloaded = preloaded
        self._read_only = read_only
        self._max_records = max_records
        self._bounds = page_limit, page_reads, page_bytes
        self._eval_ro = "EVALSHA_RO"

    def load(self) -> None:
        """Load all scripts, or with preloaded see that they are there. Calls load what they need anyway."""
        for name in self._scripts:
            self._provide(name)

    def put(self, *records: Record) -> None:
        """Write the records, all of them or none. ConditionError: a condition does not hold."""
        if not records:
            return
        arguments = []
        for record in records:
            arguments += [_bytes(record.value), self._ttl_argument(record.ttl), record.condition]
        written = self.call("put", self._names(record.key for record in records), arguments)
        if written < 0:
            raise ConditionError(f"the condition of record {-written} does not hold; nothing was written")

    def get(self, key: Sequence[Segment]) -> Optional[bytes]:
        """The value of the record, or None."""
        return self._client.get(self._prefix + encode_key(key))

    def delete(self, *keys: Sequence[Segment]) -> int:
        """Delete the records, all at once, and return how many of them existed."""
        return self.call("delete", self._names(keys), ["count"]) if keys else 0

    def touch(self, ttl: Optional[int], *keys: Sequence[Segment]) -> int:
        """Give those of the records that live a new ttl, all at once, and return how many they are."""
        return self.call("touch", self._names(keys), [self._ttl_argument(ttl)] * len(keys)) if keys else 0

    def match(self, pattern: str) -> Iterator[Entry]:
        """Iterate over the records that match, in byte order of their encoded keys, page by page."""
        for results in self._pages("values", pattern):
            for encoded, value in zip(results[::2], results[1::2]):
                if key := _key_or_none(encoded):
                    yield Entry(key, value)

    def match_keys(self, pattern: str) -> Iterator[Tuple[bytes, ...]]:
        """match without the values: by the index alone, where an evicted record may still be."""
        for results in self._pages("keys", pattern):
            for encoded in results:
                if key := _key_or_none(encoded):
                    yield key

    def call(self, script: str, keys: Sequence, arguments: Sequence):
        """Call a script with these KEYS and ARGV by its digest, and once more after loading it if it was missing."""
        try:
            return self._evalsha(script, keys, arguments)
        except redis.exceptions.NoScriptError:
            if self._preloaded:
                raise ScriptError(f"not on the server: {script}.lua {self._scripts[script][1]}") from None
            self._provide(script)
            return self._evalsha(script, keys, arguments)

    def _evalsha(self, script, keys, arguments):
        words = [self._scripts[script][1], len(keys), *keys, *arguments]
        if script != "match":
            return self._client.execute_command("EVALSHA", *words)
        sent = self._eval_ro  # which another thread's call may change before the reply
        try:
            # match.lua never writes: replicas and users without write permission run it.
            return self._client.execute_command(sent, *words)
        except redis.RedisError as error:
            # Said by the server, or by redis.cluster, which asks it for its commands.
            unknown = "unknown command" in str(error) or "doesn't exist in Redis commands" in str(error)
            if not unknown or sent == "EVALSHA":
                raise
            self._eval_ro = "EVALSHA"  # Redis before 7.0
            return self._client.execute_command("EVALSHA", *words)

    def _provide(self, script):
        source, digest = self._scripts[script]
        if self._preloaded:
            if not self._client.script_exists(digest)[0]:
                raise ScriptError(f"not on the server: {script}.lua {digest}")
        elif self._client.script_load(source) != digest:
            raise ScriptError(f"the server has another digest for {script}.lua than {digest}")

    def _pages(self, want, pattern):
        terms, cursor = pattern_terms(pattern), b""
        while True:
            next_cursor, _, stale, results = self.call("match", self._indexes, [want, cursor, *self._bounds, *terms])
            if stale and not self._read_only:
                try:
                    self.call("sweep", self._indexes + [self._prefix.encode() + member for member in stale], [0])
                except redis.RedisError:
                    pass  # the page is right without it, and the next one to meet these entries asks again
            yield results
            if not next_cursor:
                return
            if cursor and (next_cursor == cursor or next_cursor[1:] < cursor[1:]):
                raise RuntimeError(f"the cursor {next_cursor!r} does not go on from {cursor!r}")
            cursor = next_cursor

    def _names(self, keys):
        names = [self._prefix + encode_key(key) for key in keys]
        if len(names) > self._max_records:
            raise ValueError(f"{len(names)} records in one call; max_records is {self._max_records}")
        return self._indexes + names

    def _ttl_argument(self, ttl):
        ttl = self._ttl if ttl is None else ttl
        if isinstance(ttl, bool) or not isinstance(ttl, int) or ttl < 0:
            raise ValueError(f"a ttl is whole milliseconds or NO_EXPIRY, not {ttl!r}")
        return ttl


def _key_or_none(encoded):
    try:
        return decode_key(encoded.decode())
    except ValueError:
        return None  # not written by a client of Wildkey
