"""The synchronous Fetcher."""

from __future__ import annotations

import contextvars
import threading
import time
from datetime import timedelta
from typing import Callable, Dict, Optional, Tuple

from ._cache import Wildkey
from ._errors import BadArgument, FetchTimeout
from ._fetch import ABOUT_FETCHERS, STANDARD_LEASE, Flight, LoadResult, Protocol, Stats
from ._keys import KeyLike, encode_key
from ._operations import Delete, Operation, Record
from ._patterns import PatternLike
from ._transport import run

Load = Callable[[], LoadResult]


class ThreadFlight(Flight):
    """A flight of the thread that began it, for which other threads wait."""

    def __init__(self, deadline: Optional[float] = None):
        super().__init__(deadline)
        self.done = threading.Event()
        self.error: Optional[Exception] = None
        self.thread: Optional[int] = None  # that loads


class Fetcher:
    __doc__ = f"""{ABOUT_FETCHERS}
    timeout is in seconds, as everywhere in Python, and bounds the waiting for others; a command that is under way is
    bounded by the client's socket_timeout. A Fetcher may be used by several threads.
    """

    def __init__(
        self,
        cache: Wildkey,
        *,
        lease: timedelta = STANDARD_LEASE,
        negative: Optional[timedelta] = None,
        refresh_ahead: float = 0,
    ):
        if not isinstance(cache, Wildkey):
            raise BadArgument(f"a wildkey.Fetcher is over a wildkey.Wildkey, not {cache!r:.100}")
        self._protocol = Protocol(cache._verbs, lease, negative, refresh_ahead)
        self._lock = threading.Lock()
        self._flights: Dict[str, ThreadFlight] = {}  # by encoded key

    def stats(self) -> Stats:
        """The counts so far."""
        return self._protocol.counts.copy()

    def get(self, key: KeyLike, load: Load, timeout: Optional[float] = None) -> Optional[bytes]:
        """The value of the record. Without one it is what load returns, which one caller among all processes calls.

        None, of load as of get, says that there is no such thing. load runs in the thread of its caller, and of a load
        of one's own timeout does not end the waiting. FetchTimeout: the load of another thread or process took longer.
        An error of load is that of all callers in this process which wait for it.
        """
        deadline = _deadline(timeout)
        while True:
            value = run(self._protocol.verbs.get(key))
            if value is not None:
                self._refresh_ahead(key, value, load)
                return value
            answered, value = self._join(key, load, deadline)
            if answered:
                return value

    def put(self, *records: Record, timeout: Optional[float] = None) -> None:
        """Write the records, all of them or none, and void their leases."""
        run(self._protocol.put(records, _deadline(timeout)))

    def apply(self, *operations: Operation, timeout: Optional[float] = None) -> int:
        """Do all that is asked, or nothing, and void the leases of what is put or deleted.

        While the slot of the records moves between nodes of a cluster it waits until the move is over.
        """
        return run(self._protocol.apply(operations, _deadline(timeout)))

    def delete(self, *keys: KeyLike, timeout: Optional[float] = None) -> int:
        """Delete the records and void their leases, all at once, and return how many records were live."""
        return self.apply(*map(Delete, keys), timeout=timeout)

    def take(self, key: KeyLike, timeout: Optional[float] = None) -> Optional[bytes]:
        """Void the lease, delete the record and return the value that it had, or None."""
        return run(self._protocol.take(key, _deadline(timeout)))

    def delete_match(self, pattern: PatternLike) -> int:
        """Void the leases that the pattern matches, delete the records that it matches, and return how many they were.

        A load that began before stores nothing that it read before.
        """
        return run(self._protocol.delete_match(pattern))

    def _join(self, key: KeyLike, load: Load, deadline: Optional[float]) -> Tuple[bool, Optional[bytes]]:
        """Have one thread at a time fetch the key, and wait for it: whether what came of it is an answer, and that."""
        name = encode_key(key)
        with self._lock:
            flight = self._flights.get(name)
            if flight is None:
                own = self._flights[name] = ThreadFlight(deadline)
        reads, late = (flight.reads, flight.storing) if flight is not None else (0, False)
        if flight is None:
            return True, self._fly(name, own, lambda: run(self._protocol.fetch(own, key, load)))
        if flight.thread == threading.get_ident():
            raise BadArgument(f"the load of {name} fetches {name}, and would wait for itself", key)
        if not flight.done.wait(None if deadline is None else deadline - time.monotonic()):
            raise FetchTimeout("another thread has not loaded the value within the timeout", key)
        if flight.error is not None:
            raise flight.error
        return flight.answers(reads, late), flight.value

    def _fly(self, name: str, flight: ThreadFlight, do: Callable[[], Optional[bytes]]) -> Optional[bytes]:
        flight.thread = threading.get_ident()
        try:
            flight.value = do()
            return flight.value
        except FetchTimeout:
            flight.abandoned = True  # the patience of this caller alone has ended, and there is no value
            raise
        except Exception as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[name]
            flight.done.set()

    def _refresh_ahead(self, key: KeyLike, served: bytes, load: Load) -> None:
        """Now and then look how long the record still lives and, if that is little, load it in the background."""
        if not self._protocol.is_sampled():
            return
        name = encode_key(key)
        with self._lock:
            if name in self._flights:
                return
            flight = self._flights[name] = ThreadFlight()

        def renew() -> None:
            try:
                self._fly(name, flight, lambda: run(self._protocol.renew(flight, key, served, load)))
            except Exception:
                pass  # all are served the old value, and the next one that asks for the time left tries again

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(renew,), name=f"wildkey renews {name}", daemon=True).start()


def _deadline(timeout: Optional[float]) -> Optional[float]:
    return None if timeout is None else time.monotonic() + timeout
