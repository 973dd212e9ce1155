"""Keys, how they are spelled, and the Redis keys that are made of them."""

from __future__ import annotations

import re
import zlib
from collections import abc
from enum import Enum
from typing import Iterable, List, NamedTuple, Sequence, Tuple, Union
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

from ._errors import BadArgument, InvalidKey

Segment = Union[str, bytes, bytearray, memoryview, int, UUID, Enum]
KeyLike = Sequence[Segment]

MAX_ENCODED = 4096
MAX_SHARDS = 16_384  # the hash slots of a cluster
# One segment in its only spelling: escaped is all that must be, and nothing else.
SEGMENT = r"(?:[A-Za-z0-9._~-]|%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+"
_KEY = re.compile(f"{SEGMENT}(?::{SEGMENT})*")


class Key(Tuple[bytes, ...]):
    """A key as the verbs return it: a tuple of its segments, which are bytes. str(key) is the encoded key."""

    __slots__ = ()

    def __new__(cls, segments: Iterable[Segment] = ()) -> Key:
        return tuple.__new__(cls, map(segment_bytes, segments))

    def __str__(self) -> str:
        return encode_key(self)

    @property
    def texts(self) -> Tuple[str, ...]:
        """The segments as text; UnicodeDecodeError if one of them is not UTF-8."""
        return tuple(segment.decode() for segment in self)

    def child(self, *segments: Segment) -> Key:
        """The key with these segments behind its own."""
        return Key([*self, *segments])


def K(*segments: Segment) -> Key:
    """The key of these segments: K("user", 42). A tuple or a list of them is a key as well."""
    return Key(segments)


def segment_bytes(segment: Segment) -> bytes:
    """The bytes that a segment stands for; InvalidKey where nobody can tell.

    Of a str, an int or bytes it is the value itself, whatever __str__ a subclass has.
    """
    if isinstance(segment, Enum):
        return segment_bytes(segment.value)
    if isinstance(segment, str):
        try:
            return str.encode(segment)
        except UnicodeEncodeError as error:
            raise InvalidKey(f"a segment of a key has no UTF-8: {error}") from None
    if isinstance(segment, bool):
        return b"true" if segment else b"false"
    if isinstance(segment, int):
        try:
            return int.__repr__(segment).encode()
        except ValueError as error:
            raise InvalidKey(f"a segment of a key is too large a number: {error}") from None
    if isinstance(segment, (bytes, bytearray, memoryview)):
        return bytes(segment)
    if isinstance(segment, UUID):
        return str(UUID(int=segment.int)).encode()
    raise InvalidKey(f"a segment of a key is str, bytes, int, bool, UUID or an Enum of these, not {segment!r:.100}")


def encode_segment(segment: Segment) -> str:
    return quote(segment_bytes(segment), safe="")


def encode_key(key: KeyLike) -> str:
    """The encoded key; InvalidKey if it has no segment, an empty one, or is too long."""
    if not isinstance(key, abc.Sequence) or isinstance(key, (str, bytes, bytearray, memoryview)):
        raise InvalidKey(f"a key is a tuple or list of segments, not {key!r:.100}", key)
    try:
        segments = [encode_segment(segment) for segment in key]
    except InvalidKey as error:
        error.key = key
        raise
    encoded = ":".join(segments)
    if not segments:
        raise InvalidKey("a key has at least one segment", key)
    if not all(segments):
        raise InvalidKey(f"{encoded[:100]!r}: segment {segments.index('') + 1} is empty", key)
    if len(encoded) > MAX_ENCODED:
        raise InvalidKey(f"a key has at most {MAX_ENCODED} bytes encoded, not {len(encoded)}", key)
    return encoded


def decode_key(encoded: str) -> Key:
    """The segments; InvalidKey for any text that encode_key does not return."""
    if len(encoded) > MAX_ENCODED or not _KEY.fullmatch(encoded):
        raise InvalidKey(f"not an encoded key: {encoded[:100]!r}")
    return Key(unquote_to_bytes(segment) for segment in encoded.split(":"))


def shard_of_head(encoded: Sequence[str], shards: int) -> int:
    """The shard that these leading segments, encoded, choose."""
    return zlib.crc32(":".join(encoded).encode()) % shards


def shard(key: KeyLike, shards: int, leading: int = 1) -> int:
    """The shard of a key: the CRC-32 of its leading segments, encoded, modulo shards."""
    return shard_of_head([encode_segment(segment) for segment in key[:leading]], shards)


def hash_tag(namespace: Segment, shard: int = 0, shards: int = 1, leading: int = 1) -> str:
    """The hash tag that all Redis keys of a namespace, or of one of its shards, begin with."""
    return "{" + encode_key([namespace]) + (f"#{shard}/{shards}/{leading}" if shards > 1 else "") + "}"


class Name(NamedTuple):
    """Where a record lies: the Redis key of its index, and its own."""

    shard: int
    redis_key: str


class Layout:
    """How a namespace names its Redis keys."""

    def __init__(self, namespace: Segment, shards: int, leading: int):
        if not isinstance(shards, int) or not 1 <= shards <= MAX_SHARDS:
            raise BadArgument(f"shards is {shards!r}, but must be 1 to {MAX_SHARDS}")
        if not isinstance(leading, int) or leading < 1:
            raise BadArgument(f"shard_segments is {leading!r}, but must be at least 1")
        self.shards, self.leading = shards, leading
        self._tags: List[str] = [hash_tag(namespace, number, shards, leading) for number in range(shards)]

    def shard(self, key: KeyLike) -> int:
        return shard(key, self.shards, self.leading) if self.shards > 1 else 0

    def index(self, shard: int) -> str:
        return self._tags[shard] + "/keys"

    def member(self, shard: int, member: Union[str, bytes]) -> Union[str, bytes]:
        """The Redis key of an index entry."""
        prefix = self._tags[shard] + ":"
        return prefix + member if isinstance(member, str) else prefix.encode() + member

    def record(self, key: KeyLike, lead: str = "") -> Name:
        """Where the record of the key lies or, with the lead of leases, its lease."""
        encoded = encode_key(key)
        number = shard_of_head(encoded.split(":")[: self.leading], self.shards)
        return Name(number, f"{self._tags[number]}:{lead}{encoded}")
