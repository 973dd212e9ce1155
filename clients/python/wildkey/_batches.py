"""Any number of operations, in as few calls as they fit into."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, Generic, List, Optional, Sequence, Tuple, TypeVar

import redis

from ._errors import ConditionError, WildkeyError, code_of
from ._keys import encode_key
from ._operations import Operation, arguments, size_of
from ._transport import Items, each

if TYPE_CHECKING:
    from ._verbs import Verbs

T = TypeVar("T")
MOST_SHARDS_AT_A_TIME = 16


@dataclass
class Outcomes(Generic[T]):
    """What came of a batch: how many records were put, touched or deleted, and the items that failed, each with why."""

    done: int = 0
    failed: List[Tuple[T, Exception]] = field(default_factory=list)


async def apply_each(
    verbs: Verbs,
    items: Items[T],
    operation_of: Callable[[T], Operation],
    outcome: Optional[Callable[[T, Optional[Exception]], None]],
) -> Outcomes[T]:
    """Do an operation for each item of an iterable, of which some are held at a time."""
    state = verbs._state
    calls = min(state.layout.shards, MOST_SHARDS_AT_A_TIME)
    outcomes: Outcomes[T] = Outcomes()
    held: List[T] = []
    held_bytes = 0

    async def flush() -> None:
        nonlocal held, held_bytes
        taken, held, held_bytes = held, [], 0
        batch = Batch(verbs, [operation_of(item) for item in taken])
        outcomes.done += await batch.apply()
        for item, error in zip(taken, batch.errors):
            if outcome:
                outcome(item, error)
            elif error:
                outcomes.failed.append((item, error))

    try:
        async for item in each(items):
            held.append(item)
            held_bytes += _size_or_zero(operation_of(item))
            if len(held) >= calls * state.call_records or held_bytes >= calls * state.call_bytes:
                await flush()
    except Exception:
        await flush()  # of the items before the one that the iterable failed to give
        raise
    await flush()
    return outcomes


def _size_or_zero(operation: Operation) -> int:
    try:
        return size_of(operation)
    except Exception:
        return 0  # whatever it is, it is refused when it is applied


class Batch:
    """Operations, and the error of each that failed."""

    def __init__(self, verbs: Verbs, operations: Sequence[Operation]):
        self.verbs, self.operations = verbs, operations
        self.errors: List[Optional[Exception]] = [None] * len(operations)

    async def apply(self) -> int:
        """Do the operations, in all shards at a time, and return how many records were put, touched or deleted."""
        state = self.verbs._state
        places: Dict[int, List[int]] = {}
        for place, operation in enumerate(self.operations):
            try:
                arguments(operation, state.ttl)
                places.setdefault(state.layout.record(operation.key).shard, []).append(place)
            except WildkeyError as error:
                self.errors[place] = error
        return sum(await state.transport.together([partial(self._apply, of_one) for of_one in places.values()]))

    async def _apply(self, places: List[int]) -> int:
        """Do the operations that have these places, all of one shard.

        A failed condition costs a call or two: the operations before it go again, and the next call is for half as
        many. A refused call is halved until the refused operation is alone. Calls that succeed double.
        """
        most = self.verbs._state.call_records
        done, size = 0, most
        while places:
            call = self._that_fit(places[:size])
            failure: Optional[Exception] = None
            try:
                done += await self.verbs.apply(*(self.operations[place] for place in call))
                size = min(2 * size, most)
            except ConditionError as error:
                if error.index > 0:  # those before it would be done, it would not
                    size = error.index
                    continue
                failure, call, size = error, call[:1], max(size // 2, 1)
            except (WildkeyError, redis.RedisError) as error:
                if len(call) > 1 and _refused(error):  # perhaps for one of them
                    size = len(call) // 2
                    continue
                failure, size = error, min(2 * size, most)
            for place in call:
                self.errors[place] = failure
            places = places[len(call):]
        return done

    def _that_fit(self, places: Sequence[int]) -> List[int]:
        """The first of the places that fit into one call, which takes each key once."""
        met = set()
        size = 0
        call: List[int] = []
        for place in places:
            encoded = encode_key(self.operations[place].key)
            size += size_of(self.operations[place])
            if encoded in met or call and size > self.verbs._state.call_bytes:
                break
            met.add(encoded)
            call.append(place)
        return call


def _refused(error: Exception) -> bool:
    """Whether a server has refused a call, and might not refuse another that names other records.

    Those are records that the user may write, or that a slot which moves has here. A full server refuses all alike.
    """
    if isinstance(error, redis.RedisError):
        return code_of(error) in ("NOPERM", "TRYAGAIN", "WRONGTYPE")
    return isinstance(error, ValueError)
