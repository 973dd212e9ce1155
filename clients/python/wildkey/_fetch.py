"""Leases, and the protocol by which one caller among all processes loads a record.

It is that of the Go package fetch, so that programs in both languages fetch the same records. Flights, which make one
call of the concurrent ones in a process, are what threads and tasks do differently.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Union

import redis

from ._errors import BadArgument, ConditionError, FetchTimeout, InvalidTTL, WildkeyError, code_of
from ._keys import KeyLike
from ._operations import ABSENT, AnyOperation, Check, Condition, Delete, Expiry, OnLease, Operation, Record, Ttl, Value
from ._operations import changes, equal, ttl_argument, value_bytes
from ._patterns import Pattern, PatternLike, exactly, pattern_of
from ._verbs import Verbs

NONE = b"none"  # the text of a lease that says: there is nothing to load
FIRST_WAIT, LONGEST_WAIT = 0.004, 0.256  # the pauses of those who wait, in seconds, double from one to the other


STANDARD_LEASE = timedelta(seconds=10)
# What both kinds of Fetcher say of themselves.
ABOUT_FETCHERS = """Returns records of a Wildkey, or has one caller among all processes load and put them.

    A load may take as long as lease says; one that takes longer stores nothing. negative is for how long it is
    remembered that there is nothing to load; without it, it is not. refresh_ahead, from 0 to 1, is the share of the
    Wildkey's ttl below which the time left of a record has it loaded again in the background.

    Write and invalidate by a Fetcher what is fetched anywhere: its verbs void leases, and those of a Wildkey do not.
"""


class Loaded(NamedTuple):
    """A value that was loaded, with a ttl of its own."""

    value: Value
    ttl: Optional[Ttl] = None  # None: the ttl of the Wildkey


LoadResult = Union[None, Value, Loaded]  # None: there is no such thing


@dataclass
class Stats:
    """Counts since a Fetcher was made."""

    loads: int = 0  # calls of a load
    stored: int = 0  # values that a load returned and that were put
    refused: int = 0  # ends of a load that found its lease gone, or another record: what was loaded was not put
    failed: int = 0  # ends of a load of which the server said something else, or nothing
    unleased: int = 0  # loads without a lease, because the server refused it
    refreshes: int = 0  # loads in the background, ahead of the end of a record
    waits: int = 0  # pauses for the load of another process


class Counts:
    """Stats that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats = Stats()

    def add(self, name: str) -> None:
        with self._lock:
            setattr(self._stats, name, getattr(self._stats, name) + 1)

    def copy(self) -> Stats:
        with self._lock:
            return replace(self._stats)


class Abandoned(Exception):
    """Nobody waits for the flight any more."""


class Flight:
    """What one process does for all its callers of a key."""

    def __init__(self, deadline: Optional[float] = None):
        self.deadline = deadline  # when its caller stops to wait for another process, by time.monotonic
        self.value: Optional[bytes] = None
        self.reads = 0  # of the master and of the source, begun so far
        self.stored = False  # what came of it was put, or remembered
        self.loading = self.pausing = self.storing = False
        self.abandoned = False

    def answers(self, reads_when_joined: int, joined_while_storing: bool) -> bool:
        """Whether its value is an answer to a caller that joined it after it had begun.

        A caller that joined before the last read began has its answer. One that joined later may have come after an
        invalidation which that read did not see. What was put after it had joined is its answer all the same, as the
        lease still stood then.
        """
        if self.abandoned:
            return False
        return reads_when_joined < self.reads or self.stored and not joined_while_storing


class Lease:
    """The right to load a record, as long as the lease of its key has this token."""

    def __init__(self, key: KeyLike, ttl: timedelta):
        self.key, self.ttl = key, ttl
        self.token = secrets.token_urlsafe(16).encode()

    def take(self) -> OnLease:
        """Take the lease, if nobody has it."""
        return OnLease(Record(self.key, self.token, self.ttl, ABSENT))

    def give_back(self) -> OnLease:
        """Delete the lease, if it is still this one."""
        return OnLease(Delete(self.key, equal(self.token)))

    def remember(self, ttl: timedelta) -> OnLease:
        """Have the lease say that there is nothing to load, if it is still this one."""
        return OnLease(Record(self.key, NONE, ttl, equal(self.token)))


class Protocol:
    """Fetches records, and writes them with their leases voided, as coroutines over any Transport."""

    def __init__(
        self, verbs: Verbs, lease: timedelta, negative: Optional[timedelta], refresh_ahead: float
    ):
        for name, ttl in (("lease", lease), ("negative", negative)):
            if isinstance(ttl, Expiry):
                raise InvalidTTL(f"{name} is a timedelta, not {ttl}")
            if ttl is not None or name == "lease":
                ttl_argument(ttl)
        if not 0 <= refresh_ahead <= 1:
            raise BadArgument(f"refresh_ahead is {refresh_ahead!r}, but must be 0 to 1")
        ttl_of_records = verbs.ttl_of_records
        self.refresh_below = timedelta(0)  # the time left below which a record is loaded ahead
        if refresh_ahead:
            if not isinstance(ttl_of_records, timedelta):
                raise BadArgument("refresh_ahead is a share of the ttl of the Wildkey, which has none")
            self.refresh_below = refresh_ahead * ttl_of_records
        self.verbs, self.lease, self.negative = verbs, lease, negative
        self.counts = Counts()

    def is_sampled(self) -> bool:
        """Whether a hit asks for the time left: one in a hundred does."""
        return bool(self.refresh_below) and random.randrange(100) == 0

    async def put(self, records: Sequence[Record], deadline: Optional[float]) -> None:
        await self.apply(records, deadline)

    async def apply(self, operations: Sequence[Operation], deadline: Optional[float]) -> int:
        voided = [OnLease(Delete(operation.key)) for operation in operations if changes(operation)]
        return await self._apply_when_settled([*operations, *voided], deadline)

    async def take(self, key: KeyLike, deadline: Optional[float]) -> Optional[bytes]:
        # A load that begins between the two calls finds the record.
        await self._apply_when_settled([OnLease(Delete(key))], deadline)
        return await self.verbs.take(key)

    async def delete_match(self, pattern: PatternLike) -> int:
        pattern = pattern_of(pattern)
        await self.verbs.delete_match(pattern.leases())
        return await self.verbs.delete_match(pattern)

    async def _apply_when_settled(self, operations: Sequence[AnyOperation], deadline: Optional[float]) -> int:
        """Apply the operations once the slot of the records no longer moves: TRYAGAIN is for a lease that is absent."""
        wait = FIRST_WAIT
        while True:
            try:
                return await self.verbs._apply(operations)
            except redis.RedisError as error:
                if code_of(error) != "TRYAGAIN":
                    raise
                if deadline is not None and time.monotonic() + wait > deadline:
                    raise
            await self._pause(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def fetch(self, flight: Flight, key: KeyLike, load: Callable[[], Any]) -> Optional[bytes]:
        """Load the record, or wait for who does."""
        wait, out_of_sight = FIRST_WAIT, False
        while True:
            lease = Lease(key, self.lease)
            try:
                await self.verbs._apply([Check(key, ABSENT), lease.take()])
            except ConditionError as error:
                failed = error.index
            except redis.RedisError as error:
                # The server is full, a replica, or moves the slot.
                if code_of(error) not in ("OOM", "READONLY", "TRYAGAIN"):
                    raise
                self.counts.add("unleased")
                break
            else:
                return await self._load(flight, lease, load, ABSENT)
            flight.reads += 1
            if failed == 0:  # there is a record by now
                held = await self._on_master(exactly(key))
                if held is None:
                    held = await self.verbs.get(key)  # put by hand, and so not in the index
                if held is not None:
                    return held
            else:
                held = await self._on_master(exactly(key).leases())
                if held == NONE:
                    return None
                if held == lease.token:  # the call was done twice, as its first answer was lost
                    return await self._load(flight, lease, load, ABSENT)
            # What is not there has ended between the two calls. If that comes twice, the index has been lost.
            if held is not None or out_of_sight:
                self.counts.add("waits")
                await self._wait(flight, wait)
                wait = min(2 * wait, LONGEST_WAIT)
            out_of_sight = held is None
        loaded = await self._call(flight, load)
        return None if loaded is None else value_bytes(loaded.value)

    async def renew(self, flight: Flight, key: KeyLike, served: bytes, load: Callable[[], Any]) -> Optional[bytes]:
        """Load a record that was hit once more, if it has little time left and nobody else does."""
        left = await self.verbs.ttl(key)
        if not isinstance(left, timedelta) or left >= self.refresh_below:
            return served
        lease, still = Lease(key, self.lease), equal(served)
        try:
            await self.verbs._apply([Check(key, still), lease.take()])
        except (ConditionError, redis.RedisError):
            return served  # somebody else loads, or has put another value
        self.counts.add("refreshes")
        return await self._load(flight, lease, load, still)

    async def _on_master(self, pattern: Pattern) -> Optional[bytes]:
        """The one value that the pattern finds, or None. A replica may not know yet what was just written."""
        value = None
        async for entry in self.verbs.match(pattern, from_master=True):
            value = entry.value
        return value

    async def _load(
        self, flight: Flight, lease: Lease, load: Callable[[], Any], still: Condition
    ) -> Optional[bytes]:
        """Load, and store what was loaded, if the lease still stands and the record is as the condition has it.

        What can't be stored is returned all the same.
        """
        record: Optional[Record] = None
        try:
            if flight.abandoned:
                raise Abandoned()
            loaded = await self._call(flight, load)
            if loaded is not None:
                record = Record(lease.key, value_bytes(loaded.value), loaded.ttl, still)
                ttl_argument(self.verbs.ttl_of_records if loaded.ttl is None else loaded.ttl)
        except GeneratorExit:
            raise  # the event loop is gone, and no call can be made
        except BaseException:
            await self._settle(lease, [lease.give_back()])
            raise
        flight.storing = True
        if record is not None:
            flight.stored = await self._settle(lease, [lease.give_back(), record])
            if flight.stored:
                self.counts.add("stored")
            return value_bytes(record.value)
        operations: List[AnyOperation] = [lease.remember(self.negative) if self.negative else lease.give_back()]
        if still != ABSENT:  # the record that was to be renewed is of what is gone
            operations.append(Delete(lease.key, still))
        flight.stored = await self._settle(lease, operations)
        return None

    async def _call(self, flight: Flight, load: Callable[[], Any]) -> Optional[Loaded]:
        flight.loading = True
        flight.reads += 1
        self.counts.add("loads")
        result = await self.verbs._state.transport.load(load)
        return result if result is None or isinstance(result, Loaded) else Loaded(result)

    async def _settle(self, lease: Lease, operations: Sequence[AnyOperation]) -> bool:
        """Do what ends a load, and return whether it was done.

        If it was not, the lease is given back, or nobody would load before it ends by itself.
        """
        try:
            await self.verbs._apply(operations)
            return True
        except ConditionError:
            self.counts.add("refused")
        except (WildkeyError, redis.RedisError):
            self.counts.add("failed")
        if len(operations) > 1:
            try:
                await self.verbs._apply([lease.give_back()])
            except (WildkeyError, redis.RedisError):
                pass  # it ends by itself
        return False

    async def _wait(self, flight: Flight, wait: float) -> None:
        """Pause for about so many seconds, for the load of another process."""
        if flight.abandoned:
            raise Abandoned()
        if flight.deadline is not None:
            left = flight.deadline - time.monotonic()
            if left <= 0:
                raise FetchTimeout("another process has not loaded the value within the timeout")
            wait = min(wait, left)
        flight.pausing = True
        try:
            await self._pause(wait)
        finally:
            flight.pausing = False

    async def _pause(self, wait: float) -> None:
        # All who wait must not ask at the same moments.
        await self.verbs._state.transport.pause(wait * random.uniform(0.5, 1.5))
