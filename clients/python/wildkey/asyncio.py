"""Wildkey for asyncio: the verbs of wildkey.Wildkey and wildkey.Fetcher as coroutines and asynchronous iterators."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import Any, Awaitable, Callable, Coroutine, Dict, List, Optional, Sequence, Set, Tuple, TypeVar, Union

import redis
import redis.asyncio

from ._batches import MOST_SHARDS_AT_A_TIME
from ._cache import document_as
from ._errors import BadArgument
from ._fetch import ABOUT_FETCHERS, STANDARD_LEASE, Abandoned, Flight, LoadResult, Protocol, Stats
from ._fetcher import Fetcher as ThreadFetcher
from ._keys import KeyLike, encode_key
from ._operations import Delete, Operation, Record
from ._patterns import PatternLike
from ._transport import Transport, Word, check_client
from ._verbs import Namespace, Verbs

T = TypeVar("T")
Load = Callable[[], Union[LoadResult, Awaitable[LoadResult]]]


class AwaitingTransport:
    """Carries commands by a client of redis.asyncio."""

    def __init__(self, client: Any):
        check_client(
            client,
            [redis.asyncio.Redis, redis.asyncio.RedisCluster],
            [redis.asyncio.client.Pipeline, redis.asyncio.cluster.ClusterPipeline],
            "those of redis itself are for wildkey.Wildkey, and of a Sentinel there is master_for",
        )
        self._client = client
        self.is_cluster = isinstance(client, redis.asyncio.RedisCluster)

    async def execute(self, *words: Word) -> Any:
        return await self._to_its_end(self._client.execute_command(*words))

    async def execute_everywhere(self, *words: Word) -> Any:
        nodes = {"target_nodes": redis.asyncio.RedisCluster.ALL_NODES} if self.is_cluster else {}
        return await self._to_its_end(self._client.execute_command(*words, **nodes))

    @staticmethod
    async def _to_its_end(command: Coroutine[Any, Any, T]) -> T:
        """Await a command, which goes on if its caller is cancelled.

        redis-py before 4.5.5 puts the connection of a cancelled command back into its pool, and the next command there
        would take the reply of this one for its own.
        """
        task = asyncio.ensure_future(command)
        task.add_done_callback(_note_error)
        return await asyncio.shield(task)

    async def together(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> List[T]:
        gate = asyncio.Semaphore(MOST_SHARDS_AT_A_TIME)

        async def one(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
            async with gate:
                return await call()

        if len(calls) == 1:
            return [await calls[0]()]
        tasks = [asyncio.ensure_future(one(call)) for call in calls]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def load(self, function: Callable[[], Any]) -> Any:
        result = function()
        return await result if inspect.isawaitable(result) else result


def _note_error(task: asyncio.Future[Any]) -> None:
    """Look at the error of a task, of which asyncio complains where nobody does: its callers may have gone."""
    if not task.cancelled():
        task.exception()


class Wildkey(Verbs):
    __doc__ = f"""{Namespace.__doc__}
    The client is one of redis.asyncio: a Redis, of a Sentinel that of master_for, or a RedisCluster. Where several
    shards are asked, they are asked at a time. The iterables of put_each, delete_each and touch_each may be
    asynchronous ones. If a call is cancelled, its command may still be done.
    """

    @staticmethod
    def _transport_of(client: Any) -> Transport:
        return AwaitingTransport(client)


class TaskFlight(Flight):
    """A flight is a task of its own, for which its callers wait."""

    task: asyncio.Task[Optional[bytes]]
    waiting = 0  # callers that have not given up


class Fetcher:
    __doc__ = f"""{ABOUT_FETCHERS}
    A caller that is cancelled ends no load that others wait for. With end_with_caller the last one ends it; otherwise
    the load goes on, and its value is stored. A Fetcher belongs to one event loop.
    """

    def __init__(
        self,
        cache: Wildkey,
        *,
        lease: timedelta = STANDARD_LEASE,
        negative: Optional[timedelta] = None,
        refresh_ahead: float = 0,
        end_with_caller: bool = False,
    ):
        if not isinstance(cache, Wildkey):
            raise BadArgument(f"a wildkey.asyncio.Fetcher is over a wildkey.asyncio.Wildkey, not {cache!r:.100}")
        self._protocol = Protocol(cache, lease, negative, refresh_ahead)
        self._end_with_caller = end_with_caller
        self._flights: Dict[str, TaskFlight] = {}  # by encoded key
        self._tasks: Set[asyncio.Task[Optional[bytes]]] = set()  # asyncio itself keeps none alive

    def stats(self) -> Stats:
        return self._protocol.counts.copy()

    async def get(self, key: KeyLike, load: Load) -> Optional[bytes]:
        """The value of the record. Without one it is what load returns, which one caller among all processes calls.

        load is a function that returns the value or, as a coroutine function does, something to await for it. None, of
        load as of get, says that there is no such thing. An error of load is that of all callers in this process which
        wait for it.
        """
        while True:
            value = await self._protocol.verbs.get(key)
            if value is not None:
                self._refresh_ahead(key, value, load)
                return value
            answered, value = await self._join(key, load)
            if answered:
                return value

    async def put(self, *records: Record) -> None:
        await self._protocol.put(records, None)

    async def apply(self, *operations: Operation) -> int:
        return await self._protocol.apply(operations, None)

    async def delete(self, *keys: KeyLike) -> int:
        return await self.apply(*map(Delete, keys))

    async def take(self, key: KeyLike) -> Optional[bytes]:
        return await self._protocol.take(key, None)

    async def delete_match(self, pattern: PatternLike) -> int:
        return await self._protocol.delete_match(pattern)

    async def _join(self, key: KeyLike, load: Load) -> Tuple[bool, Optional[bytes]]:
        """Have one task at a time fetch the key, and wait for it: whether what came of it is an answer, and that."""
        name = encode_key(key)
        flight = self._flights.get(name)
        begun, reads, late = flight is not None, flight.reads if flight else 0, bool(flight and flight.storing)
        if flight is None:
            flight = self._begin(name, lambda own: self._protocol.fetch(own, key, load))
        if flight.task is asyncio.current_task():
            raise BadArgument(f"the load of {name} fetches {name}, and would wait for itself", key)
        flight.waiting += 1
        try:
            await asyncio.wait({flight.task})
        except asyncio.CancelledError:
            self._give_up(name, flight)
            raise
        if flight.task.cancelled() or isinstance(flight.task.exception(), Abandoned):
            return False, None
        value = flight.task.result()
        return not begun or flight.answers(reads, late), value

    def _begin(self, name: str, do: Callable[[TaskFlight], Coroutine[Any, Any, Optional[bytes]]]) -> TaskFlight:
        flight = self._flights[name] = TaskFlight()
        flight.task = asyncio.ensure_future(do(flight))
        self._tasks.add(flight.task)

        def end(task: asyncio.Task[Optional[bytes]]) -> None:
            _note_error(task)
            self._tasks.discard(task)
            self._forget(name, flight)

        flight.task.add_done_callback(end)
        return flight

    def _forget(self, name: str, flight: TaskFlight) -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]

    def _give_up(self, name: str, flight: TaskFlight) -> None:
        """Count a caller out. A flight without callers goes on only if it loads."""
        flight.waiting -= 1
        if flight.waiting > 0 or flight.loading and not self._end_with_caller:
            return
        self._forget(name, flight)  # who comes now is not to wait for what has been ended
        flight.abandoned = True
        if flight.loading or flight.pausing:
            flight.task.cancel()  # in a command it sees for itself: the command may be the one that takes the lease

    def _refresh_ahead(self, key: KeyLike, served: bytes, load: Load) -> None:
        """Now and then look how long the record still lives and, if that is little, load it in the background."""
        name = encode_key(key)
        if self._protocol.is_sampled() and name not in self._flights:
            self._begin(name, lambda own: self._protocol.renew(own, key, served, load))


document_as(ThreadFetcher, Fetcher)
