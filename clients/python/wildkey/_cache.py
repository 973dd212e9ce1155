"""The synchronous Wildkey."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, List, Optional

from ._batches import Outcomes
from ._keys import Key, KeyLike
from ._operations import Entry, Item, Operation, Page, Record, Ttl
from ._patterns import PatternLike
from ._transport import BlockingTransport, Transport, iterate, run
from ._verbs import Namespace, Verbs


def document_as(twin: type, undocumented: type) -> None:
    """Give the methods of a class the texts of those of its twin."""
    for name, method in vars(undocumented).items():
        if callable(method) and not name.startswith("_"):
            method.__doc__ = method.__doc__ or getattr(twin, name).__doc__


class Wildkey(Namespace):
    __doc__ = f"""{Namespace.__doc__}
    The client is a redis.Redis, of a Sentinel that of master_for, or a redis.RedisCluster. It is as safe for use by
    several threads as its client is. Where several shards are asked, one is asked after another.
    """

    @staticmethod
    def _transport_of(client: Any) -> Transport:
        return BlockingTransport(client)

    @property
    def _verbs(self) -> Verbs:
        return Verbs._with(self._state)

    def load(self) -> None:
        run(self._verbs.load())

    def put(self, *records: Record) -> None:
        run(self._verbs.put(*records))

    def apply(self, *operations: Operation) -> int:
        return run(self._verbs.apply(*operations))

    def get(self, key: KeyLike) -> Optional[bytes]:
        return run(self._verbs.get(key))

    def get_many(self, *keys: KeyLike) -> List[Optional[bytes]]:
        return run(self._verbs.get_many(*keys))

    def get_touch(self, ttl: Ttl, key: KeyLike) -> Optional[bytes]:
        return run(self._verbs.get_touch(ttl, key))

    def ttl(self, key: KeyLike) -> Optional[Ttl]:
        return run(self._verbs.ttl(key))

    def delete(self, *keys: KeyLike) -> int:
        return run(self._verbs.delete(*keys))

    def take(self, key: KeyLike) -> Optional[bytes]:
        return run(self._verbs.take(key))

    def touch(self, ttl: Ttl, *keys: KeyLike) -> int:
        return run(self._verbs.touch(ttl, *keys))

    def put_each(
        self, records: Iterable[Record], outcome: Optional[Callable[[Record, Optional[Exception]], None]] = None
    ) -> Outcomes[Record]:
        return run(self._verbs.put_each(records, outcome))

    def delete_each(
        self, keys: Iterable[KeyLike], outcome: Optional[Callable[[KeyLike, Optional[Exception]], None]] = None
    ) -> Outcomes[KeyLike]:
        return run(self._verbs.delete_each(keys, outcome))

    def touch_each(
        self,
        ttl: Ttl,
        keys: Iterable[KeyLike],
        outcome: Optional[Callable[[KeyLike, Optional[Exception]], None]] = None,
    ) -> Outcomes[KeyLike]:
        return run(self._verbs.touch_each(ttl, keys, outcome))

    def match(self, pattern: PatternLike, *, with_ttl: bool = False, from_master: bool = False) -> Iterator[Entry]:
        return iterate(self._verbs.match(pattern, with_ttl=with_ttl, from_master=from_master))

    def match_keys(self, pattern: PatternLike) -> Iterator[Key]:
        return iterate(self._verbs.match_keys(pattern))

    def collect(self, pattern: PatternLike, *, with_ttl: bool = False) -> List[Entry]:
        return run(self._verbs.collect(pattern, with_ttl=with_ttl))

    def page(
        self,
        pattern: PatternLike,
        *,
        cursor: bytes = b"",
        after: Optional[KeyLike] = None,
        limit: Optional[int] = None,
        with_ttl: bool = False,
    ) -> Page:
        return run(self._verbs.page(pattern, cursor=cursor, after=after, limit=limit, with_ttl=with_ttl))

    def count(self, pattern: PatternLike) -> int:
        return run(self._verbs.count(pattern))

    def list(self, pattern: PatternLike) -> Iterator[Item]:
        return iterate(self._verbs.list(pattern))

    def estimate(self, pattern: PatternLike) -> int:
        return run(self._verbs.estimate(pattern))

    def delete_match(self, pattern: PatternLike) -> int:
        return run(self._verbs.delete_match(pattern))

    def touch_match(self, ttl: Ttl, pattern: PatternLike) -> int:
        return run(self._verbs.touch_match(ttl, pattern))

    def sweep(self) -> int:
        return run(self._verbs.sweep())


document_as(Verbs, Wildkey)
