"""The verbs, as coroutines over any Transport: what wildkey.asyncio.Wildkey is, and what wildkey.Wildkey runs."""

from __future__ import annotations

import copy
import pathlib
from dataclasses import dataclass
from functools import partial
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence
from typing import TypeVar, Union

import redis

from ._batches import Outcomes, apply_each
from ._errors import BadArgument, BadPattern, ConditionError, CrossShard, InvalidKey, TooMany, UnexpectedReply
from ._keys import Key, KeyLike, Layout, Segment, decode_key, encode_key
from ._operations import AnyOperation, Delete, Entry, Item, Operation, Page, Record, Touch, Ttl
from ._operations import arguments, plain, ttl_argument, ttl_of
from ._patterns import EVERYTHING, REST, Pattern, PatternLike, pattern_of
from ._scripts import Caller, read_scripts
from ._transport import Items, Transport, Word

Self = TypeVar("Self", bound="Namespace")
MOST_OF_A_PAGE = 99_999  # records, and index entries, as match.lua has it
_WIDTHS = {"values": 2, "records": 3}  # of a result of match.lua


@dataclass
class State:
    """What the views of one namespace share."""

    transport: Transport
    caller: Caller
    layout: Layout
    ttl: Optional[Ttl]
    leave_stale: bool
    declared_keys: bool
    call_records: int
    call_bytes: int
    page_limit: int
    page_reads: int
    only: Optional[int] = None  # the shard where patterns look; None: all


class Namespace:
    """A namespace of records on a Redis server or cluster. It neither owns nor closes its client.

    ttl is for records that bring none; without it each must bring one. All programs that use a namespace agree on
    shards, the number of hash tags that it is spread over, and on shard_segments, how many leading segments of a key
    choose one. With preloaded, scripts are never sent or loaded. With leave_stale, as for a user who may not write,
    pages leave stale index entries alone. declared_keys is for servers that refuse a script a key that the call has
    not declared: a page is then two calls, and count, list and with_ttl are refused. scripts is a directory to read
    the scripts from in place of the package. The bounds are those of the Go package: call_records the most records of
    an atomic call, call_bytes the most bytes that a page returns, page_limit and page_reads the most records of a page
    and the most index entries that are read for it.
    """

    def __init__(
        self,
        client: Any,
        namespace: Segment = "cache",
        *,
        ttl: Optional[Ttl] = None,
        shards: int = 1,
        shard_segments: int = 1,
        preloaded: bool = False,
        leave_stale: bool = False,
        declared_keys: bool = False,
        call_records: int = 250,
        call_bytes: int = 1 << 20,
        page_limit: int = 500,
        page_reads: int = 1_000,
        scripts: Optional[Union[str, pathlib.Path]] = None,
    ):
        for name, value, most in (
            ("call_records", call_records, 10_000),
            ("call_bytes", call_bytes, 999_999_999),
            ("page_limit", page_limit, MOST_OF_A_PAGE),
            ("page_reads", page_reads, MOST_OF_A_PAGE),
        ):
            if not isinstance(value, int) or not 1 <= value <= most:
                raise BadArgument(f"{name} is {value!r}, but must be 1 to {most}")
        if ttl is not None:
            ttl_argument(ttl)
        transport = self._transport_of(client)
        self._state = State(
            transport,
            Caller(transport, read_scripts(scripts), preloaded),
            Layout(namespace, shards, shard_segments),
            ttl,
            leave_stale,
            declared_keys,
            call_records,
            call_bytes,
            page_limit,
            page_reads,
        )

    @staticmethod
    def _transport_of(client: Any) -> Transport:
        raise NotImplementedError

    @property
    def shards(self) -> int:
        """How many shards the namespace has."""
        return self._state.layout.shards

    @property
    def ttl_of_records(self) -> Optional[Ttl]:
        """The time to live of records that bring none."""
        return self._state.ttl

    def shard(self, key: KeyLike) -> int:
        """The number of the shard in which the key lies."""
        return self._state.layout.record(key).shard

    def on_shard(self: Self, shard: int) -> Self:
        """The namespace as one of its shards has it: what patterns find, and sweep sweeps, lies there alone."""
        if shard not in range(self.shards):
            raise BadArgument(f"there is no shard {shard!r} of {self.shards}")
        one = copy.copy(self)
        one._state = copy.copy(self._state)
        one._state.only = shard
        return one


class Query(NamedTuple):
    """What match.lua is asked for, page by page."""

    want: str  # values, records, keys, count, list or index
    pattern: Pattern
    limit: int
    from_master: bool = False  # as a verb must that will write what it finds
    sweep: bool = False  # the stale entries, even with leave_stale


class Found(NamedTuple):
    """A result of match.lua."""

    encoded: str  # with a colon behind it where it stands for what lies beneath
    entry: Entry


class Reply(NamedTuple):
    """A reply of match.lua."""

    found: List[Found]
    cursor: bytes
    stale: List[bytes]
    live: int = 0  # how many records match, of want=count
    swept: int = 0


class Head:
    """The matches that are still to come in one shard."""

    def __init__(self, shard: int, cursor: bytes, limit: int):
        self.shard, self.cursor, self.limit = shard, cursor, limit
        self.more = True
        self.found: List[Found] = []


class Verbs(Namespace):
    """The verbs of a namespace."""

    @classmethod
    def _with(cls, state: State) -> Verbs:
        verbs = cls.__new__(cls)
        verbs._state = state
        return verbs

    async def load(self) -> None:
        """Load all scripts on every node or, with preloaded, see that they are there. Verbs load what they need."""
        for script in self._state.caller.scripts.values():
            await self._state.caller.provide(script)

    async def put(self, *records: Record) -> None:
        """Write the records, all of them or none. ConditionError: a condition does not hold."""
        await self.apply(*records)

    async def apply(self, *operations: Operation) -> int:
        """Put, touch, delete and check records, each of them once: all that is asked, or nothing.

        Return how many were put, touched or deleted. ConditionError: a condition does not hold. The records lie in
        one shard.
        """
        return await self._apply(operations)

    async def _apply(self, operations: Sequence[AnyOperation]) -> int:
        words = [word for operation in operations for word in arguments(operation, self._state.ttl)]
        keys = [plain(operation).key for operation in operations]
        leads = ["" if operation is plain(operation) else "!" for operation in operations]
        names = self._names(keys, leads)
        if not operations:
            return 0
        done = self._whole("put", await self._state.caller.call("put", names, words))
        if done < 0:
            key = keys[-done - 1]
            raise ConditionError(-done - 1, key, encode_key(key))
        return done

    async def get(self, key: KeyLike) -> Optional[bytes]:
        """The value of the record, or None. It is a plain GET."""
        value: Optional[bytes] = await self._execute("GET", key)
        return value

    async def get_many(self, *keys: KeyLike) -> List[Optional[bytes]]:
        """The value of each key, or None, in the order of the keys. It is an MGET for each shard in which they lie."""
        self._check_number(keys)
        places: Dict[int, List[int]] = {}
        names = [self._state.layout.record(key) for key in keys]
        for place, name in enumerate(names):
            places.setdefault(name.shard, []).append(place)

        async def of_shard(shard: int) -> List[Optional[bytes]]:
            return await self._mget([names[place].redis_key for place in places[shard]])

        values: List[Optional[bytes]] = [None] * len(keys)
        found = await self._state.transport.together([partial(of_shard, shard) for shard in places])
        for shard, of_one in zip(places, found):
            for place, value in zip(places[shard], of_one):
                values[place] = value
        return values

    async def get_touch(self, ttl: Ttl, key: KeyLike) -> Optional[bytes]:
        """The value of the record, which is given a new ttl, or None. It is a plain GETEX."""
        argument = ttl_argument(ttl)
        expiry = ["PERSIST"] if argument == "never" else ["PX", argument]
        value: Optional[bytes] = await self._execute("GETEX", key, *expiry)
        return value

    async def ttl(self, key: KeyLike) -> Optional[Ttl]:
        """The time that the record has left, NO_EXPIRY, or None if there is no record. It is a plain PTTL."""
        left: int = await self._execute("PTTL", key)
        return None if left == -2 else ttl_of(left)

    async def delete(self, *keys: KeyLike) -> int:
        """Delete the records, all at once, and return how many of them were live."""
        names = self._names(keys)
        return await self._delete(names) if keys else 0

    async def _delete(self, names: Sequence[Word]) -> int:
        return self._whole("delete", await self._state.caller.call("delete", names, ["count"]))

    async def take(self, key: KeyLike) -> Optional[bytes]:
        """Delete the record and return the value that it had, or None. Of several callers one gets it."""
        values = await self._state.caller.call("delete", self._names([key]), ["values"])
        value: Optional[bytes] = values[0]
        return value

    async def touch(self, ttl: Ttl, *keys: KeyLike) -> int:
        """Give those of the records that live a new ttl, all at once, and return how many they are."""
        return await self.apply(*(Touch(key, ttl) for key in keys))

    async def put_each(
        self, records: Items[Record], outcome: Optional[Callable[[Record, Optional[Exception]], None]] = None
    ) -> Outcomes[Record]:
        """Write any number of records, in as few calls as their shards, call_records and call_bytes allow.

        Each meets what a put of its own, in its turn, would meet: one that fails keeps no other from being written.
        The function outcome is called for each, in their order, with None or the error; without one the result lists
        those that failed. An error of the iterable is raised, after the records before it are written.
        """
        return await apply_each(self, records, lambda record: record, outcome)

    async def delete_each(
        self, keys: Items[KeyLike], outcome: Optional[Callable[[KeyLike, Optional[Exception]], None]] = None
    ) -> Outcomes[KeyLike]:
        """Delete any number of records, in the way of put_each."""
        return await apply_each(self, keys, Delete, outcome)

    async def touch_each(
        self,
        ttl: Ttl,
        keys: Items[KeyLike],
        outcome: Optional[Callable[[KeyLike, Optional[Exception]], None]] = None,
    ) -> Outcomes[KeyLike]:
        """Give any number of records a new ttl, in the way of put_each."""
        return await apply_each(self, keys, lambda key: Touch(key, ttl), outcome)

    async def match(
        self, pattern: PatternLike, *, with_ttl: bool = False, from_master: bool = False
    ) -> AsyncIterator[Entry]:
        """Iterate over the records that match, in byte order of their encoded keys.

        Each page is one round trip and one snapshot, but the whole is not: a record that lives from start to end is
        met once, any other at most once. with_ttl has each tell the time that it has left. from_master reads what was
        just written, even if the client reads from replicas.
        """
        want = "records" if with_ttl else "values"
        query = Query(want, pattern_of(pattern), self._state.page_limit, from_master=from_master)
        async for found in self._walk(query):
            yield found.entry

    async def match_keys(self, pattern: PatternLike) -> AsyncIterator[Key]:
        """match without the values."""
        async for found in self._walk(Query("keys", pattern_of(pattern), self._state.page_limit)):
            yield found.entry.key

    async def collect(self, pattern: PatternLike, *, with_ttl: bool = False) -> List[Entry]:
        """All records that match meets, in memory."""
        return [entry async for entry in self.match(pattern, with_ttl=with_ttl)]

    async def page(
        self,
        pattern: PatternLike,
        *,
        cursor: bytes = b"",
        after: Optional[KeyLike] = None,
        limit: Optional[int] = None,
        with_ttl: bool = False,
    ) -> Page:
        """One page of the records that match: the first, the one at the cursor of another, or the one after a key.

        A page may be short, even empty, and have a cursor. If it has none it was the last.
        """
        terms = pattern_of(pattern)
        if limit is None:
            limit = self._state.page_limit
        elif not isinstance(limit, int) or not 1 <= limit <= MOST_OF_A_PAGE:
            raise BadArgument(f"limit is {limit!r}, but must be 1 to {MOST_OF_A_PAGE}")
        query = Query("records" if with_ttl else "values", terms, limit)
        if after is not None:
            if cursor:
                raise BadArgument("a page has a cursor or after, not both")
            cursor = f">{terms.lead}{encode_key(after)}".encode()
        shards = self._shards_of(terms)
        if len(shards) == 1:
            reply = await self._page(shards[0], query, cursor)
            return Page([found.entry for found in reply.found], reply.cursor)
        entries: List[Entry] = []
        size = 0
        async for encoded, entry in self._walk(query, cursor):
            size += len(encoded) + len(entry.value)
            if entries and (len(entries) >= query.limit or size > self._state.call_bytes):
                return Page(entries, f"[{terms.lead}{encoded}".encode())  # each shard goes on from there
            entries.append(entry)
        return Page(entries, b"")

    async def count(self, pattern: PatternLike) -> int:
        """How many records match."""
        query = Query("count", pattern_of(pattern), self._state.page_reads)
        return await self._sum_pages(query, lambda reply: reply.live)

    async def list(self, pattern: PatternLike) -> AsyncIterator[Item]:
        """Iterate over what lives at the depth of the pattern, as a file system lists a directory.

        user:* lists the users, however many records each has. A key that is a record and has others beneath it comes
        twice, once for each.
        """
        terms = pattern_of(pattern)
        if terms.terms[-1] == REST:
            raise BadPattern(f"{str(terms)!r:.100}: list takes no **; it reports by itself which keys have records beneath them")
        beneath = Pattern([*terms.terms, REST])  # in whatever shard it lies
        # An item takes a leap, and a leap the time of several entries in a row.
        query = Query("list", terms, (self._state.page_limit + 1) // 2)
        previous = ""
        async for encoded, entry in self._walk(query, shards=self._shards_of(beneath)):
            if encoded != previous:
                yield Item(entry.key, encoded.endswith(":"))
            previous = encoded

    async def estimate(self, pattern: PatternLike) -> int:
        """An upper bound of how many records match, at the same cost for ten and for a million.

        The pattern is ** or ends in it behind literals alone, as user:42:** does.
        """
        terms = pattern_of(pattern)
        text = str(terms)
        if not text.endswith("**") or any(mark in text[:-2] for mark in "*<"):
            raise BadPattern(f"{text!r:.100}: estimate needs literals and ** behind them")
        head = text[:-2]
        first, last, above = '["', "+", 0  # above all leases
        if head:
            first, last, above = f"[{head}", f"({head[:-1]};", 1  # the record above may live
        counts = await self._state.transport.together([
            partial(self._state.transport.execute, "ZLEXCOUNT", self._state.layout.index(shard), first, last)
            for shard in self._shards_of(terms)
        ])
        return sum(count + above for count in counts)

    async def delete_match(self, pattern: PatternLike) -> int:
        """Delete the records that match, call_records at a time, and return how many of them were live."""
        return await self._on_matches(pattern_of(pattern), self._delete)

    async def touch_match(self, ttl: Ttl, pattern: PatternLike) -> int:
        """Give the records that match a new ttl, call_records at a time, and return how many they were."""
        words = ["touch " + ttl_argument(ttl), "*", ""]

        async def touch(names: Sequence[Word]) -> int:
            return self._whole("put", await self._state.caller.call("put", names, words * (len(names) - 1)))

        return await self._on_matches(pattern_of(pattern), touch)

    async def sweep(self) -> int:
        """Drop the index entries whose record is gone, and return how many they were.

        Only a namespace into which nobody puts any more needs it.
        """
        want = "index" if self._state.declared_keys else "count"  # all entries are suspects where none may be looked at
        total = 0
        for pattern in (EVERYTHING, EVERYTHING.leases()):
            query = Query(want, pattern, self._state.page_reads, from_master=True, sweep=True)
            total += await self._sum_pages(query, lambda reply: reply.swept)
        return total

    async def _execute(self, command: str, key: KeyLike, *words: Word) -> Any:
        return await self._state.transport.execute(command, self._state.layout.record(key).redis_key, *words)

    async def _mget(self, names: Sequence[Word]) -> List[Optional[bytes]]:
        values: List[Optional[bytes]] = await self._state.transport.execute("MGET", *names)
        return values

    @staticmethod
    def _whole(script: str, reply: Any) -> int:
        if not isinstance(reply, int):
            raise UnexpectedReply(f"{script}.lua: unexpected reply {reply!r:.100}")
        return reply

    def _check_number(self, keys: Sequence[KeyLike]) -> None:
        if len(keys) > self._state.call_records:
            raise TooMany(f"{len(keys)} records in one call; call_records is {self._state.call_records}")

    def _names(self, keys: Sequence[KeyLike], leads: Optional[Sequence[str]] = None) -> List[Word]:
        """The KEYS of a script that writes these records, or leases where there is a lead."""
        self._check_number(keys)
        names = [self._state.layout.record(key, lead) for key, lead in zip(keys, leads or [""] * len(keys))]
        for name, key in zip(names, keys):
            if name.shard != names[0].shard:
                raise CrossShard(f"{names[0].redis_key} and {name.redis_key} lie in several shards", key)
        indexes = [self._state.layout.index(name.shard) for name in names[:1]]
        return [*indexes, *(name.redis_key for name in names)]

    def _shards_of(self, pattern: Pattern) -> List[int]:
        shards = pattern.shards(self._state.layout)
        return shards if self._state.only is None else [shard for shard in shards if shard == self._state.only]

    async def _sum_over(self, shards: Sequence[int], of_shard: Callable[[int], Awaitable[int]]) -> int:
        async def one(shard: int) -> int:
            return await of_shard(shard)

        return sum(await self._state.transport.together([partial(one, shard) for shard in shards]))

    async def _sum_pages(self, query: Query, of_page: Callable[[Reply], int]) -> int:
        async def of_shard(shard: int) -> int:
            return sum([of_page(reply) async for reply in self._pages(shard, query)])

        return await self._sum_over(self._shards_of(query.pattern), of_shard)

    async def _on_matches(self, pattern: Pattern, act: Callable[[Sequence[Word]], Awaitable[int]]) -> int:
        """Do the action on all that matches, call_records at a time, by the index: scripts look what is live."""
        query = Query("index", pattern, self._state.page_limit, from_master=True)

        async def of_shard(shard: int) -> int:
            index: List[Word] = [self._state.layout.index(shard)]
            names, total = index[:], 0
            async for reply in self._pages(shard, query):
                for found in reply.found:
                    names.append(self._state.layout.member(shard, pattern.lead + found.encoded))
                    if len(names) == 1 + self._state.call_records:
                        total, names = total + await act(names), index[:]
            return total + (await act(names) if len(names) > 1 else 0)

        return await self._sum_over(self._shards_of(pattern), of_shard)

    async def _walk(
        self, query: Query, cursor: bytes = b"", shards: Optional[Sequence[int]] = None
    ) -> AsyncIterator[Found]:
        """The matches in all shards that may have some, in order.

        The shards whose last page is used up are asked for the next one, together. What all of them know to come next
        is then known.
        """
        shards = self._shards_of(query.pattern) if shards is None else shards
        first = query.limit if len(shards) == 1 else min(query.limit, 8 + 2 * query.limit // max(1, len(shards)))
        heads = [Head(shard, cursor, first) for shard in shards]
        while heads:
            used_up = [head for head in heads if not head.found]
            await self._state.transport.together([partial(self._refill, head, query) for head in used_up])
            heads = [head for head in heads if head.found]
            last = min((head.found[-1].encoded for head in heads if head.more), default=None)
            batch: List[Found] = []
            for head in heads:
                known = [found for found in head.found if last is None or found.encoded <= last]
                batch += known
                head.found = head.found[len(known):]
            heads = [head for head in heads if head.found or head.more]
            for found in sorted(batch, key=lambda found: found.encoded):
                yield found

    async def _refill(self, head: Head, query: Query) -> None:
        while head.more and not head.found:
            reply = await self._page(head.shard, query._replace(limit=head.limit), head.cursor)
            head.found, head.cursor, head.more = reply.found, reply.cursor, bool(reply.cursor)
            head.limit = min(2 * head.limit, query.limit)

    async def _pages(self, shard: int, query: Query) -> AsyncIterator[Reply]:
        cursor, more = b"", True
        while more:
            reply = await self._page(shard, query, cursor)
            yield reply
            cursor, more = reply.cursor, bool(reply.cursor)

    async def _page(self, shard: int, query: Query, cursor: bytes) -> Reply:
        """One page, of which the stale entries that it met are swept.

        It is right with or without that: if the sweep fails, the next page that meets them asks for another.
        """
        reply = await self._ask(shard, query, cursor)
        stale = list(reply.stale)
        if query.sweep:
            stale += [(query.pattern.lead + found.encoded).encode() for found in reply.found]
        if not stale or self._state.leave_stale and not query.sweep:
            return reply
        names = [self._state.layout.index(shard), *(self._state.layout.member(shard, member) for member in stale)]
        try:
            return reply._replace(swept=self._whole("sweep", await self._state.caller.call("sweep", names, [])))
        except redis.RedisError:
            if query.sweep:
                raise
            return reply

    async def _ask(self, shard: int, query: Query, cursor: bytes) -> Reply:
        """Call match.lua."""
        state, want = self._state, query.want
        if state.declared_keys:
            if want not in ("values", "keys", "index"):
                raise BadArgument(f"want={want} of match.lua takes keys that declared_keys forbids")
            want = "index"
        words: List[Word] = [want, cursor, query.limit, state.page_reads, state.call_bytes, *query.pattern.arguments]
        raw = await state.caller.call("match", [state.layout.index(shard)], words, read_only=not query.from_master)
        if not isinstance(raw, list) or len(raw) != 4 or isinstance(raw[3], list) == (want == "count"):
            raise UnexpectedReply(f"match.lua: unexpected reply {raw!r:.100}")
        next_cursor, _, stale, results = raw
        # A cursor goes back only where the index holds other scores than 0.
        if next_cursor and cursor and (next_cursor == cursor or next_cursor[1:] < cursor[1:]):
            raise UnexpectedReply(f"match.lua: the cursor {next_cursor!r:.100} does not go on from {cursor!r:.100}")
        if want == "count":
            return Reply([], next_cursor, stale, results)
        found = list(_found(results, want, query.pattern.lead.encode()))
        if want != query.want and found:
            names = [state.layout.member(shard, one.encoded) for one in found]
            values = await self._mget(names)
            found = [
                one._replace(entry=one.entry._replace(value=value))
                for one, value in zip(found, values)
                if value is not None
            ]
        return Reply(found, next_cursor, stale)


def _found(results: Sequence[Any], want: str, lead: bytes) -> Iterable[Found]:
    """The results of match.lua, without those that no client of Wildkey wrote."""
    width = _WIDTHS.get(want, 1)
    for start in range(0, len(results), width):
        result: List[Any] = [*results[start:start + width], b"", None]
        member, value, left = result[0], result[1], result[2] if width == 3 else None
        beneath = want == "list" and member.endswith(b":")
        try:
            encoded = member[len(lead):].decode()
            key = decode_key(encoded[:-1] if beneath else encoded)
        except (UnicodeDecodeError, InvalidKey):
            continue
        yield Found(encoded, Entry(key, value, None if left is None else ttl_of(left)))
