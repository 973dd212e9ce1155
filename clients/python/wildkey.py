"""Wildkey from Python: records under hierarchical keys in Redis, found by wildcard.

    cache = Wildkey(redis.Redis(), namespace="app", ttl=86_400_000)
    cache.put(Record(("user", 42, "session", "abc"), "laptop"))
    for key, value in cache.match("user:42:session:*"):
        ...

The work is done by the Lua scripts in scripts/, which any number of clients in
any language share. A key is a list of segments: str (sent as UTF-8), int or
bytes. A ttl is whole milliseconds above 0, or NO_EXPIRY.
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
Ttl = Union[int, str]  # milliseconds above 0, or one of these two:

NO_EXPIRY = "never"  # the record never expires
KEEP_TTL = "keep"  # of a Record alone: leave the time that the record has left; it must be live

# Conditions: what must be true of a record for a call to write anything.
ALWAYS = b"*"
ABSENT = b"-"  # there is no live record
PRESENT = b"+"  # there is a live record


def equal(value: Value) -> bytes:
    """The condition that there is a live record with just this value."""
    return b"=" + _bytes(value)


def equal_sha1(digest: str) -> bytes:
    """The condition that there is a live record whose value has this SHA-1, in lower-case hexadecimal."""
    return b"#" + digest.encode()


class Record(NamedTuple):
    key: Sequence[Segment]
    value: Value
    ttl: Optional[Ttl] = None  # None: the ttl of the Wildkey
    condition: bytes = ALWAYS


class Touch(NamedTuple):
    """Give the record, if it is live, a new ttl."""

    key: Sequence[Segment]
    ttl: Ttl
    condition: bytes = ALWAYS


class Delete(NamedTuple):
    """Delete the record, if it is live."""

    key: Sequence[Segment]
    condition: bytes = ALWAYS


class Check(NamedTuple):
    """Only test the condition."""

    key: Sequence[Segment]
    condition: bytes


Operation = Union[Record, Touch, Delete, Check]


class Entry(NamedTuple):
    key: Tuple[bytes, ...]
    value: bytes


class ConditionError(Exception):
    """A condition does not hold, or a ttl is to be kept of a record that is not live; nothing was written."""

    def __init__(self, index: int, key: Sequence[Segment]):
        super().__init__(index, key)
        self.index = index  # of the record or operation in the call, from 0
        self.key = key

    def __str__(self) -> str:
        return f"the condition of {encode_key(self.key)}, number {self.index + 1} of the call, does not hold"


class ScriptError(Exception):
    """A script is not what SHA1SUMS says, or is not on the server and may not be loaded."""


def _bytes(value: Union[Segment, Value]) -> bytes:
    if isinstance(value, bool) or not isinstance(value, (str, int, bytes)):
        raise TypeError(f"{value!r} is neither str, int nor bytes")
    return value if isinstance(value, bytes) else str(value).encode()


def _ttl_argument(ttl: Optional[Ttl]) -> str:
    if ttl == NO_EXPIRY:
        return NO_EXPIRY
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 0 < ttl < 10**15:
        raise ValueError(f"a ttl is whole milliseconds above 0 or NO_EXPIRY, not {ttl!r}")
    return str(ttl)


_MAX_ENCODED = 4096
# One segment in its only spelling: escaped is all that must be, and nothing else.
_SEGMENT = r"(?:[A-Za-z0-9._~-]|%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+"
_KEY = re.compile(f"{_SEGMENT}(?::{_SEGMENT})*")
_TERM = re.compile(rf"\*\*?|({_SEGMENT})|(?:{_SEGMENT})?([*<])(?:{_SEGMENT})?")


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
        if not term or part == "<" or (part == "**" and i < len(parts) - 1):
            raise ValueError(f"bad pattern: {pattern!r}: term {i + 1}")
        literal, wildcard = term.groups()
        mark = "" if part in ("*", "**") else "=" if literal else "^" if wildcard == "*" else "["
        terms.append(mark + part)
    return terms


def shard(key: Sequence[Segment], shards: int, leading: int) -> int:
    """The shard of a key: the CRC-32 of its leading segments, encoded, modulo shards."""
    return zlib.crc32(encode_key(key[:leading]).encode()) % shards


def hash_tag(namespace: Segment, shard: int = 0, shards: int = 1, leading: int = 1) -> str:
    """The hash tag that all Redis keys of a namespace, or of one of its shards, begin with."""
    return "{" + encode_key([namespace]) + (f"#{shard}/{shards}/{leading}" if shards > 1 else "") + "}"


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

    The client must not decode responses. Of a namespace with several shards it
    is one: number shard of so many shards, which the first shard_segments of a
    key choose. With preloaded, scripts are never loaded. With leave_stale, as
    for a user who may not write, pages leave stale index entries alone.
    """

    def __init__(
        self,
        client: Union[redis.Redis, redis.RedisCluster],
        namespace: Segment = "cache",
        ttl: Optional[Ttl] = None,
        shard: Optional[int] = None,
        shards: int = 1,
        shard_segments: int = 1,
        scripts: Optional[Union[str, pathlib.Path]] = None,
        preloaded: bool = False,
        leave_stale: bool = False,
        call_records: int = 250,
        page_limit: int = 500,
        page_reads: int = 1_000,
        call_bytes: int = 1 << 20,
    ):
        if client.get_connection_kwargs().get("decode_responses"):
            raise ValueError("keys and values are bytes: the client must not have decode_responses set")
        if shard is None and shards == 1:
            shard = 0
        if shard not in range(shards) or shard_segments < 1:
            raise ValueError(f"there is no shard {shard} of {shards} shards by {shard_segments} segments")
        tag = hash_tag(namespace, shard, shards, shard_segments)
        self._client = client
        self._index = tag + "/keys"
        self._prefix = tag + ":"
        self._shard, self._shards, self._shard_segments = shard, shards, shard_segments
        if ttl is not None:
            _ttl_argument(ttl)
        self._ttl = ttl
        self._scripts = read_scripts(scripts)
        self._preloaded = preloaded
        self._leave_stale = leave_stale
        self._call_records = call_records
        self._page_limit, self._page_reads, self._call_bytes = page_limit, page_reads, call_bytes
        self._eval_ro = "EVALSHA_RO"

    def load(self) -> None:
        """Load all scripts, or with preloaded see that they are there. Calls load what they need anyway."""
        for name in self._scripts:
            self._provide(name)

    def put(self, *records: Record) -> None:
        """Write the records, all of them or none. ConditionError: a condition does not hold."""
        self.apply(*records)

    def apply(self, *operations: Operation) -> int:
        """Put, touch, delete and check records, each of them once: all that is asked, or nothing.

        Return how many were put, touched or deleted. ConditionError: a condition does not hold.
        """
        if not operations:
            return 0
        arguments = [argument for operation in operations for argument in self._arguments(operation)]
        done = self.call("put", self._names(operation.key for operation in operations), arguments)
        if done < 0:
            raise ConditionError(-done - 1, operations[-done - 1].key)
        return done

    def get(self, key: Sequence[Segment]) -> Optional[bytes]:
        """The value of the record, or None."""
        return self._client.get(self._name(key))

    def delete(self, *keys: Sequence[Segment]) -> int:
        """Delete the records, all at once, and return how many of them were live."""
        return self.call("delete", self._names(keys), ["count"]) if keys else 0

    def take(self, key: Sequence[Segment]) -> Optional[bytes]:
        """Delete the record and return the value that it had, or None. Of several callers one gets it."""
        return self.call("delete", self._names([key]), ["values"])[0]

    def touch(self, ttl: Ttl, *keys: Sequence[Segment]) -> int:
        """Give those of the records that live a new ttl, all at once, and return how many they are."""
        return self.apply(*(Touch(key, ttl) for key in keys))

    def match(self, pattern: str) -> Iterator[Entry]:
        """Iterate over the records that match, in byte order of their encoded keys, page by page."""
        for results in self._pages("values", pattern, self._page_limit):
            for encoded, value in zip(results[::2], results[1::2]):
                if key := _key_or_none(encoded):
                    yield Entry(key, value)

    def match_records(self, pattern: str) -> Iterator[Record]:
        """match with the ttl that each record has left: milliseconds or NO_EXPIRY."""
        for results in self._pages("records", pattern, self._page_limit):
            for encoded, value, left in zip(results[::3], results[1::3], results[2::3]):
                if key := _key_or_none(encoded):
                    yield Record(key, value, NO_EXPIRY if left < 0 else max(left, 1))

    def match_keys(self, pattern: str) -> Iterator[Tuple[bytes, ...]]:
        """match without the values."""
        for results in self._pages("keys", pattern, self._page_limit):
            yield from filter(None, map(_key_or_none, results))

    def count(self, pattern: str) -> int:
        """How many records match."""
        return sum(self._pages("count", pattern, self._page_reads))

    def delete_match(self, pattern: str) -> int:
        """Delete the records that match, call_records at a time, and return how many of them were live."""
        return sum(self.call("delete", names, ["count"]) for names in self._indexed(pattern))

    def touch_match(self, ttl: Ttl, pattern: str) -> int:
        """Give the records that match a new ttl, call_records at a time, and return how many they were."""
        arguments = self._arguments(Touch((), ttl))
        return sum(self.call("put", names, arguments * (len(names) - 1)) for names in self._indexed(pattern))

    def call(self, script: str, keys: Sequence, arguments: Sequence, read_only: bool = False):
        """Call a script with these KEYS and ARGV by its digest, and once more after loading it if it was missing."""
        try:
            return self._evalsha(script, keys, arguments, read_only)
        except redis.exceptions.NoScriptError:
            if self._preloaded:
                raise ScriptError(f"not on the server: {script}.lua {self._scripts[script][1]}") from None
            self._provide(script)
            return self._evalsha(script, keys, arguments, read_only)

    def _evalsha(self, script, keys, arguments, read_only):
        words = [self._scripts[script][1], len(keys), *keys, *arguments]
        # Replicas, and users who may not write, run EVALSHA_RO. Another thread may change _eval_ro before the reply.
        sent = self._eval_ro if read_only else "EVALSHA"
        try:
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

    def _pages(self, want, pattern, limit):
        arguments = [limit, self._page_reads, self._call_bytes, *pattern_terms(pattern)]
        read_only = want != "index"  # which is read for what will be written, and so from a master
        cursor = b""
        while True:
            next_cursor, _, stale, results = self.call("match", [self._index], [want, cursor, *arguments], read_only)
            if stale and not self._leave_stale:
                try:
                    self.call("sweep", [self._index] + self._members(stale), [])
                except redis.RedisError:
                    pass  # the page is right without it, and the next one to meet these entries asks again
            yield results
            if not next_cursor:
                return
            if cursor and (next_cursor == cursor or next_cursor[1:] < cursor[1:]):
                raise RuntimeError(f"the cursor {next_cursor!r} does not go on from {cursor!r}")
            cursor = next_cursor

    def _indexed(self, pattern):
        """The KEYS of calls that change what matches, live or not: the scripts find that out."""
        for results in self._pages("index", pattern, self._call_records):
            members = [encoded for encoded in results if _key_or_none(encoded)]
            if members:
                yield [self._index] + self._members(members)

    def _members(self, members):
        return [self._prefix.encode() + member for member in members]

    def _name(self, key):
        name = self._prefix + encode_key(key)
        if self._shards > 1 and shard(key, self._shards, self._shard_segments) != self._shard:
            raise ValueError(f"the key lies in another shard than {name}")
        return name

    def _names(self, keys):
        names = [self._name(key) for key in keys]
        if len(names) > self._call_records:
            raise ValueError(f"{len(names)} records in one call; call_records is {self._call_records}")
        return [self._index] + names

    def _arguments(self, operation):
        """The ARGV of put.lua: action, condition, value."""
        value = b""
        if isinstance(operation, Record):
            action = self._ttl if operation.ttl is None else operation.ttl
            action = action if action == KEEP_TTL else _ttl_argument(action)
            value = _bytes(operation.value)
        elif isinstance(operation, Touch):
            action = "touch " + _ttl_argument(operation.ttl)
        elif isinstance(operation, (Delete, Check)):
            action = type(operation).__name__.lower()
        else:
            raise TypeError(f"{operation!r} is neither Record, Touch, Delete nor Check")
        return [action, operation.condition, value]


def _key_or_none(encoded):
    try:
        return decode_key(encoded.decode())
    except ValueError:
        return None  # not written by a client of Wildkey
