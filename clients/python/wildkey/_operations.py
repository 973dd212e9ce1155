"""Records, operations on them, their conditions and times to live, and the ARGV of put.lua for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import List, NamedTuple, Optional, Union

from ._errors import BadArgument, InvalidTTL
from ._keys import Key, KeyLike, segment_bytes

Value = Union[str, bytes, bytearray, memoryview]


class Expiry(Enum):
    """The times to live that are no timedelta."""

    NO_EXPIRY = "never"
    KEEP_TTL = "keep"


NO_EXPIRY = Expiry.NO_EXPIRY  # the record never expires
KEEP_TTL = Expiry.KEEP_TTL  # of a Record alone: leave the time that the record has left; it must be live
Ttl = Union[timedelta, Expiry]

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Condition:
    """What must be true of a record for a call to write anything: ALWAYS, ABSENT, PRESENT, equal or equal_sha1."""

    argument: bytes  # as put.lua takes it


ALWAYS = Condition(b"*")
ABSENT = Condition(b"-")  # there is no live record
PRESENT = Condition(b"+")  # there is a live record


def equal(value: Value) -> Condition:
    """There is a live record with just this value."""
    return Condition(b"=" + value_bytes(value))


def equal_sha1(digest: str) -> Condition:
    """There is a live record whose value has this SHA-1, in lower-case hexadecimal."""
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{40}", digest):
        raise BadArgument(f"a SHA-1 is 40 lower-case hexadecimal digits, not {digest!r:.100}")
    return Condition(b"#" + digest.encode())


class Record(NamedTuple):
    """A key and its value, as put writes them. As an operation of apply it puts the record."""

    key: KeyLike
    value: Value
    ttl: Optional[Ttl] = None  # None: the ttl of the Wildkey
    condition: Condition = ALWAYS


class Touch(NamedTuple):
    """Give the record, if it is live, a new ttl."""

    key: KeyLike
    ttl: Ttl
    condition: Condition = ALWAYS


class Delete(NamedTuple):
    """Delete the record, if it is live."""

    key: KeyLike
    condition: Condition = ALWAYS


class Check(NamedTuple):
    """Only test the condition."""

    key: KeyLike
    condition: Condition


Operation = Union[Record, Touch, Delete, Check]


class OnLease(NamedTuple):
    """An operation that is done to the lease of its key in place of its record. It is not counted."""

    operation: Operation


AnyOperation = Union[Operation, OnLease]


class Entry(NamedTuple):
    """A record that a pattern has matched. ttl is the time that it has left, if that was asked for."""

    key: Key
    value: bytes
    ttl: Optional[Ttl] = None


class Item(NamedTuple):
    """What list finds at one depth: a record or, if beneath, a key beneath which records live."""

    key: Key
    beneath: bool


class Page(NamedTuple):
    """Some of the records that a pattern matches, and where the next page starts; empty: this was the last."""

    entries: List[Entry]
    cursor: bytes


def plain(operation: AnyOperation) -> Operation:
    return operation.operation if isinstance(operation, OnLease) else operation


def changes(operation: Operation) -> bool:
    """Whether the operation may change the value of its record, and so voids its lease."""
    return isinstance(operation, (Record, Delete))


def value_bytes(value: Value) -> bytes:
    if isinstance(value, str):
        try:
            return str.encode(value)
        except UnicodeEncodeError as error:
            raise BadArgument(f"a value has no UTF-8: {error}") from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise BadArgument(f"a value is str or bytes, not {value!r:.100}")


def ttl_argument(ttl: Optional[Ttl]) -> str:
    """A time to live as put.lua takes it."""
    if ttl is NO_EXPIRY:
        return "never"
    if ttl is None:
        raise InvalidTTL("no time to live is given; NO_EXPIRY says that a record never expires")
    if ttl is KEEP_TTL:
        raise InvalidTTL("KEEP_TTL is the ttl of a Record alone")
    if not isinstance(ttl, timedelta):
        raise InvalidTTL(
            f"a time to live is a timedelta or NO_EXPIRY, not {ttl!r:.100}: a number does not say of what it is"
        )
    milliseconds = ttl // MILLISECOND
    if not 0 < milliseconds < 10**15:
        raise InvalidTTL(f"a time to live is at least a millisecond and below {10**15} of them, not {ttl}")
    return str(milliseconds)


def ttl_of(milliseconds: int) -> Ttl:
    """The time to live for a reply of PTTL of a live record."""
    if milliseconds < 0:
        return NO_EXPIRY
    return timedelta(milliseconds=max(1, min(milliseconds, timedelta.max // MILLISECOND)))


def arguments(operation: AnyOperation, standard_ttl: Optional[Ttl]) -> List[Union[str, bytes]]:
    """The ARGV of put.lua for an operation: action, condition, value."""
    one = plain(operation)
    value = b""
    try:
        if isinstance(one, Record):
            ttl = standard_ttl if one.ttl is None else one.ttl
            action = "keep" if ttl is KEEP_TTL else ttl_argument(ttl)
            value = value_bytes(one.value)
        elif isinstance(one, Touch):
            action = "touch " + ttl_argument(one.ttl)
        elif isinstance(one, (Delete, Check)):
            action = type(one).__name__.lower()
        else:
            raise BadArgument(f"{one!r:.100} is neither Record, Touch, Delete nor Check")
        if not isinstance(one.condition, Condition):
            raise BadArgument(f"a condition is ABSENT, PRESENT, equal() or equal_sha1(), not {one.condition!r:.100}")
        if isinstance(one, Check) and one.condition == ALWAYS:
            raise BadArgument("a Check needs a condition")
    except BadArgument as error:
        error.key = getattr(one, "key", None)
        raise
    return [action, one.condition.argument, value]


def size_of(operation: Operation) -> int:
    """How much of call_bytes the operation takes: the bytes of its key, its value and its condition."""
    size = len(operation.condition.argument) + sum(1 + len(segment_bytes(segment)) for segment in operation.key)
    return size + len(value_bytes(operation.value)) if isinstance(operation, Record) else size
