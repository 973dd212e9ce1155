"""What carries commands to the server.

All logic of this package is written once, as coroutines over a Transport. That of wildkey.asyncio awaits. That of the
synchronous classes blocks and never awaits anything, so that its coroutines end at their first step: see run.
"""

from __future__ import annotations

import time
from typing import Any, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, List, Protocol, Sequence
from typing import TypeVar, Union

import redis

from ._errors import BadArgument

T = TypeVar("T")
Word = Union[str, bytes, int]
Items = Union[Iterable[T], AsyncIterable[T]]  # asynchronous ones are for asyncio alone


class Transport(Protocol):
    """The ways in which coroutines wait."""

    is_cluster: bool

    async def execute(self, *words: Word) -> Any:
        """Send a command to where its first key lies."""

    async def execute_everywhere(self, *words: Word) -> Any:
        """Send a command that names no key to every node."""

    async def together(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> List[T]:
        """What the calls return, which need not wait for each other."""

    async def pause(self, seconds: float) -> None:
        """Wait."""

    async def load(self, function: Callable[[], Any]) -> Any:
        """Call a function of the user."""


def check_client(client: Any, servers: Sequence[type], pipelines: Sequence[type], other_kind: str) -> None:
    """Refuse what is no client of these classes, or one whose replies are no bytes."""
    named = f"{type(client).__module__}.{type(client).__qualname__}"
    if isinstance(client, tuple(pipelines)):
        raise BadArgument(f"a {named} answers only once it is executed; give the client itself")
    if not isinstance(client, tuple(servers)):
        names = " or ".join(f"{server.__module__}.{server.__qualname__}" for server in servers)
        raise BadArgument(f"the client is a {names}, not a {named}; {other_kind}")
    if client.get_encoder().decode_responses:
        raise BadArgument("keys and values are bytes: the client must not have decode_responses set")


class BlockingTransport:
    """Carries commands by a client of redis-py, and blocks until the answer is there."""

    def __init__(self, client: Any):
        check_client(
            client,
            [redis.Redis, redis.RedisCluster],
            [redis.client.Pipeline, redis.cluster.ClusterPipeline],
            "those of redis.asyncio are for wildkey.asyncio, and of a Sentinel there is master_for",
        )
        self._client = client
        self.is_cluster = isinstance(client, redis.RedisCluster)

    async def execute(self, *words: Word) -> Any:
        return self._client.execute_command(*words)

    async def execute_everywhere(self, *words: Word) -> Any:
        nodes = {"target_nodes": redis.RedisCluster.ALL_NODES} if self.is_cluster else {}
        return self._client.execute_command(*words, **nodes)

    async def together(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> List[T]:
        return [await call() for call in calls]  # one after another

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    async def load(self, function: Callable[[], Any]) -> Any:
        return function()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine over a BlockingTransport."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine over a blocking transport has awaited something")


async def _next(items: AsyncIterator[T]) -> T:
    return await items.__anext__()


def iterate(items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous iterator over a BlockingTransport."""
    while True:
        try:
            item = run(_next(items))
        except StopAsyncIteration:
            return
        yield item


async def each(items: Items[T]) -> AsyncIterator[T]:
    """The items of an iterable, or of an asynchronous one."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
