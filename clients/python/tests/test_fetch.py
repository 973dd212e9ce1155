import asyncio
import contextvars
import threading
import time
import unittest
import warnings
from datetime import timedelta
from unittest import mock

import redis
import redis.asyncio
from server import URL, Blocking, ServerTest, ServerTestOfAsyncio

import wildkey.asyncio
from wildkey import (
    NO_EXPIRY,
    BadArgument,
    Delete,
    Fetcher,
    FetchTimeout,
    InvalidTTL,
    Loaded,
    Record,
    Touch,
    WildkeyError,
    Wildkey,
)

HOUR = timedelta(hours=1)
KEY = ("price", "lamp")
RECORD, LEASE = "{test}:price:lamp", "{test}:!price:lamp"


def unexpected_load():
    raise AssertionError("it was loaded")


def hold_lease(milliseconds):
    """Hold the lease as another process does."""
    with redis.Redis.from_url(URL) as client:
        client.zadd("{test}/keys", {LEASE.partition(":")[2]: 0})
        client.set(LEASE, "somebody", px=milliseconds)


class FetchTest(ServerTest):
    """What one caller sees."""

    def fetcher(self, cache=None, **options):
        return Fetcher(cache or self.cache(ttl=HOUR), **options)

    def test_load_and_hit(self):
        fetcher = self.fetcher()
        self.assertEqual(fetcher.get(KEY, lambda: "12"), b"12")
        self.assertEqual(fetcher.get(KEY, unexpected_load), b"12")
        self.assertEqual(self.client.get(RECORD), b"12")
        self.assertTrue(0 < self.client.pttl(RECORD) <= 3_600_000)
        self.assertEqual(self.client.zrange("{test}/keys", 0, -1), [b"price:lamp"])
        self.assertEqual((fetcher.stats().loads, fetcher.stats().stored), (1, 1))

    def test_the_ttl_of_a_load(self):
        fetcher = self.fetcher()
        self.assertEqual(fetcher.get(KEY, lambda: Loaded(b"", NO_EXPIRY)), b"")
        self.assertEqual(self.client.pttl(RECORD), -1)
        with self.assertRaises(InvalidTTL):
            fetcher.get(("other",), lambda: Loaded("v", 60))
        with self.assertRaises(WildkeyError):
            fetcher.get(("other",), lambda: 12)
        self.assertEqual(self.client.exists("{test}:!other"), 0)
        self.assertEqual(fetcher.get(("other",), lambda: "v"), b"v")

    def test_nothing_to_load(self):
        loads = []
        fetcher = self.fetcher()
        for _ in range(2):
            self.assertIsNone(fetcher.get(KEY, lambda: loads.append(1)))
        self.assertEqual(len(loads), 2)
        self.assertEqual(self.client.dbsize(), 0)
        remembering = self.fetcher(negative=HOUR)
        for _ in range(2):
            self.assertIsNone(remembering.get(KEY, lambda: loads.append(1)))
        self.assertEqual(len(loads), 3)
        self.assertEqual(self.client.get(LEASE), b"none")
        remembering.put(Record(KEY, "new"))
        self.assertEqual(remembering.get(KEY, unexpected_load), b"new")

    def test_an_error_gives_the_lease_back(self):
        def failing():
            self.assertEqual(self.client.exists(LEASE), 1)
            raise KeyError("the database")

        fetcher = self.fetcher()
        with self.assertRaises(KeyError):
            fetcher.get(KEY, failing)
        self.assertEqual(self.client.dbsize(), 0)
        # An error that a server may raise as well is that of the load.
        for error in (redis.ResponseError("OOM of another server"), redis.ConnectionError("gone")):
            with self.assertRaises(type(error)) as raised:
                fetcher.get(KEY, mock.Mock(side_effect=error))
            self.assertIs(raised.exception, error)
        self.assertEqual(fetcher.stats().unleased, 0)
        self.assertEqual(self.client.dbsize(), 0)

    def test_a_load_that_fetches_its_own_key(self):
        fetcher = Fetcher(Wildkey(self.client, "test", ttl=HOUR))
        with self.assertRaisesRegex(BadArgument, "would wait for itself"):
            fetcher.get(KEY, lambda: fetcher.get(KEY, unexpected_load))
        self.assertEqual(fetcher.get(KEY, lambda: fetcher.get(("other",), lambda: "v")), b"v")

    def test_no_late_fill(self):
        for invalidate in (
            lambda fetcher: fetcher.delete(KEY),
            lambda fetcher: fetcher.take(KEY),
            lambda fetcher: fetcher.delete_match("price:**"),
            lambda fetcher: fetcher.apply(Delete(KEY)),
            lambda fetcher: fetcher.put(Record(KEY, "new")),
        ):
            self.client.flushall()
            fetcher = self.fetcher()
            other = Fetcher(Wildkey(self.client, "test", ttl=HOUR))

            def load():
                invalidate(other)
                return "old"

            self.assertEqual(fetcher.get(KEY, load), b"old")
            self.assertIn(self.client.get(RECORD), (None, b"new"))
            self.assertEqual(self.client.exists(LEASE), 0)
            self.assertEqual((fetcher.stats().stored, fetcher.stats().refused), (0, 1))

    def test_a_touch_voids_nothing(self):
        fetcher = self.fetcher()
        other = Fetcher(Wildkey(self.client, "test", ttl=HOUR))

        def load():
            other.apply(Touch(KEY, HOUR))
            return "v"

        fetcher.get(KEY, load)
        self.assertEqual(fetcher.stats().stored, 1)

    def test_verbs_return_what_those_of_a_cache_do(self):
        fetcher = self.fetcher()
        fetcher.put(Record(KEY, "1"), Record(("price", "chair"), "2"))
        hold_lease(10_000)
        self.assertEqual(fetcher.delete(KEY, ("nobody",)), 1)
        self.assertEqual(self.client.exists(LEASE), 0)
        self.assertEqual(fetcher.take(("price", "chair")), b"2")
        self.assertIsNone(fetcher.take(("price", "chair")))
        fetcher.put(Record(KEY, "1"))
        self.assertEqual(fetcher.delete_match("**"), 1)

    def test_waits_for_who_has_the_lease(self):
        fetcher = self.fetcher()
        hold_lease(60)
        began = time.monotonic()
        self.assertEqual(fetcher.get(KEY, lambda: "mine"), b"mine")  # they have died
        self.assertGreater(time.monotonic() - began, 0.04)
        self.assertGreaterEqual(fetcher.stats().waits, 1)

        self.client.delete(RECORD)
        hold_lease(10_000)
        timer = threading.Timer(0.05, lambda: self.client.set(RECORD, "theirs"))
        timer.start()
        self.assertEqual(fetcher.get(KEY, unexpected_load), b"theirs")
        timer.join()

    def test_a_lease_that_the_index_has_lost(self):
        fetcher = self.fetcher()
        self.client.set(LEASE, "somebody", px=80)
        self.assertEqual(fetcher.get(KEY, lambda: "v"), b"v")
        self.assertTrue(1 <= fetcher.stats().waits < 10)

    def test_a_full_server(self):
        fetcher = self.fetcher()
        fetcher.put(Record(KEY, "1"))
        self.addCleanup(self.client.config_set, "maxmemory", 0)
        self.client.config_set("maxmemory", 1)
        self.assertEqual(fetcher.get(("other",), lambda: "v"), b"v")
        self.assertEqual((fetcher.stats().unleased, fetcher.stats().stored), (1, 0))
        self.assertIsNone(fetcher.get(("other",), lambda: None))
        self.assertEqual(fetcher.delete(KEY), 1)
        # A crowd is answered by few loads, though none of them is stored.
        crowd = [
            threading.Thread(target=fetcher.get, args=(("other",), lambda: time.sleep(0.02) or "v")) for _ in range(40)
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        self.assertLess(fetcher.stats().loads, 30)
        with self.assertRaisesRegex(redis.RedisError, "used memory"):
            fetcher.put(Record(KEY, "1"))

    def test_a_replica(self):
        try:
            self.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        except redis.ResponseError as error:
            self.skipTest(str(error))
        self.addCleanup(self.client.execute_command, "REPLICAOF", "NO", "ONE")
        fetcher = self.fetcher()
        self.assertEqual(fetcher.get(KEY, lambda: "v"), b"v")
        self.assertEqual((fetcher.stats().unleased, fetcher.stats().stored), (1, 0))
        self.assertEqual(self.cache().count("**"), 0)
        with self.assertRaisesRegex(redis.ResponseError, "read only replica"):
            fetcher.delete(KEY)

    def test_waits_out_the_move_of_a_slot(self):
        fetcher = self.fetcher()
        transport = self.protocol(fetcher).verbs._state.transport
        execute, refusals = transport.execute, ["1", "2", "3"]

        async def refusing(*words):
            if refusals:
                raise redis.ResponseError("TRYAGAIN Multiple keys request during rehashing of slot" + refusals.pop())
            return await execute(*words)

        with mock.patch.object(transport, "execute", refusing):
            fetcher.put(Record(KEY, "1"))
        self.assertEqual(self.client.get(RECORD), b"1")

    def test_a_lost_answer(self):
        """The call that takes the lease is done twice: the second time it meets its own token."""
        fetcher = self.fetcher()
        protocol = self.protocol(fetcher)
        apply = protocol.verbs._apply
        with mock.patch.object(protocol.verbs, "_apply") as doubled:
            async def twice(operations):
                doubled.side_effect = apply
                await apply(operations)
                return await apply(operations)

            doubled.side_effect = twice
            self.assertEqual(fetcher.get(KEY, lambda: "v"), b"v")
        self.assertEqual((fetcher.stats().stored, fetcher.stats().waits), (1, 0))

    def test_refresh_ahead(self):
        fetcher = self.fetcher(refresh_ahead=0.5)
        self.protocol(fetcher).is_sampled = lambda: True
        fetcher.put(Record(KEY, "old", timedelta(minutes=29)), Record(("fresh",), "old"))
        self.assertEqual(fetcher.get(("fresh",), unexpected_load), b"old")
        self.assertEqual(fetcher.get(KEY, lambda: "new"), b"old")
        self.until(lambda: self.client.get(RECORD) == b"new")
        self.assertGreater(self.client.pttl(RECORD), 3_000_000)
        self.assertEqual(fetcher.stats().refreshes, 1)
        # What is gone is deleted.
        fetcher.put(Record(KEY, "old", timedelta(minutes=29)))
        self.until(lambda: not fetcher._flights)
        self.assertEqual(fetcher.get(KEY, lambda: None), b"old")
        self.until(lambda: self.client.get(RECORD) is None)

    def test_one_hit_in_a_hundred_asks_for_the_time_left(self):
        protocol = self.protocol(self.fetcher(refresh_ahead=0.5))
        self.assertTrue(40 < sum(protocol.is_sampled() for _ in range(10_000)) < 200)
        self.assertFalse(any(self.protocol(self.fetcher()).is_sampled() for _ in range(1_000)))

    def protocol(self, fetcher):
        return fetcher._protocol

    def until(self, holds):
        deadline = time.monotonic() + 5
        while not holds():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)


class AsyncioFetchTest(ServerTestOfAsyncio, FetchTest):
    """The same of wildkey.asyncio.Fetcher."""

    def fetcher(self, cache=None, **options):
        cache = cache or self.cache(ttl=HOUR)
        return Blocking(wildkey.asyncio.Fetcher(cache._asynchronous, **options), self.loop)

    def protocol(self, fetcher):
        return fetcher._asynchronous._protocol

    def until(self, holds):
        async def wait():
            while not holds():
                await asyncio.sleep(0.005)

        self.loop.run_until_complete(asyncio.wait_for(wait(), 5))


class ThreadsTest(ServerTest):
    """Threads of one process that fetch the same key."""

    def setUp(self):
        super().setUp()
        self.fetcher = Fetcher(self.cache(ttl=HOUR))
        self.loading, self.go_on = threading.Event(), threading.Event()
        self.threads = []
        self.addCleanup(lambda: [thread.join() for thread in self.threads])
        self.addCleanup(self.go_on.set)

    def slow_load(self, result="v"):
        def load():
            self.loading.set()
            self.go_on.wait(10)
            if isinstance(result, BaseException):
                raise result
            return result

        return load

    def start(self, load, results, **options):
        def get():
            try:
                results.append(self.fetcher.get(KEY, load, **options))
            except BaseException as error:
                results.append(error)

        self.threads.append(threading.Thread(target=get))
        self.threads[-1].start()

    def finish(self):
        self.go_on.set()
        for thread in self.threads:
            thread.join()

    def test_one_load(self):
        results = []
        self.start(self.slow_load(), results)
        self.loading.wait()
        for _ in range(5):
            self.start(unexpected_load, results)
        self.finish()
        self.assertEqual(results, [b"v"] * 6)
        self.assertEqual(self.fetcher.stats().loads, 1)

    def test_one_error(self):
        results, error = [], KeyError("the database")
        self.start(self.slow_load(error), results)
        self.loading.wait()
        self.start(lambda: "v", results)
        self.wait_for_latecomers(1)
        self.finish()
        self.assertEqual(results, [error] * 2)

    def test_who_comes_late_does_not_take_what_was_not_stored(self):
        results, late = [], []
        self.start(self.slow_load("old"), results)
        self.loading.wait()
        self.fetcher.delete(KEY)
        self.start(lambda: "new", late)
        self.wait_for_latecomers(1)
        self.finish()
        self.assertEqual((results, late), ([b"old"], [b"new"]))
        self.assertEqual(self.client.get(RECORD), b"new")

    def test_timeout(self):
        results = []
        self.start(self.slow_load(), results)
        self.loading.wait()
        with self.assertRaises(FetchTimeout):
            self.fetcher.get(KEY, unexpected_load, timeout=0.02)
        other = Fetcher(self.cache(ttl=HOUR))
        with self.assertRaises(TimeoutError):
            other.get(KEY, unexpected_load, timeout=0.02)
        self.finish()
        self.assertEqual(results, [b"v"])
        self.assertEqual(self.fetcher.get(KEY, unexpected_load, timeout=0), b"v")

    def test_the_timeout_of_one_ends_the_waiting_of_no_other(self):
        hold_lease(800)
        impatient, patient = [], []
        self.start(unexpected_load, impatient, timeout=0.05)
        self.wait_for_flight()
        self.start(lambda: "v", patient)
        self.finish()
        self.assertIsInstance(impatient[0], FetchTimeout)
        self.assertEqual(patient, [b"v"])

    def test_an_interrupt_ends_the_waiting_of_no_other(self):
        interrupted, other = [], []
        self.start(self.slow_load(KeyboardInterrupt()), interrupted)
        self.loading.wait()
        self.start(lambda: "v", other)
        self.wait_for_latecomers(1)
        self.finish()
        self.assertIsInstance(interrupted[0], KeyboardInterrupt)
        self.assertEqual(other, [b"v"])

    def test_the_thread_and_context_of_a_load(self):
        self.assertEqual(self.fetcher.get(KEY, lambda: threading.current_thread().name).decode(), "MainThread")
        variable = contextvars.ContextVar("variable")
        variable.set("mine")
        renewing = Fetcher(self.cache(ttl=HOUR), refresh_ahead=1)
        renewing._protocol.is_sampled = lambda: True
        renewing.put(Record(KEY, "old", timedelta(minutes=1)))
        self.assertEqual(renewing.get(KEY, variable.get), b"old")
        deadline = time.monotonic() + 5
        while self.client.get(RECORD) != b"mine" and time.monotonic() < deadline:
            time.sleep(0.005)
        self.assertEqual(self.client.get(RECORD), b"mine")

    def wait_for_flight(self):
        while not self.fetcher._flights:
            time.sleep(0.001)

    def wait_for_latecomers(self, count):
        """Wait until so many threads wait for the flight."""
        self.wait_for_flight()
        (flight,) = self.fetcher._flights.values()
        while len(flight.done._cond._waiters) < count:
            time.sleep(0.001)


class TasksTest(unittest.IsolatedAsyncioTestCase):
    """Tasks of one process that fetch the same key, and are cancelled."""

    async def asyncSetUp(self):
        warnings.simplefilter("error", ResourceWarning)
        self.client = redis.asyncio.Redis.from_url(URL)
        await self.client.flushall()
        self.cache = wildkey.asyncio.Wildkey(self.client, "test", ttl=HOUR)
        self.fetcher = wildkey.asyncio.Fetcher(self.cache)
        self.loading, self.go_on = asyncio.Event(), asyncio.Event()

    async def asyncTearDown(self):
        await self.client.close()
        await self.client.connection_pool.disconnect()

    async def slow_load(self):
        self.loading.set()
        await self.go_on.wait()
        return "v"

    async def fetch(self, count=1, fetcher=None):
        """Tasks that wait for the load."""
        tasks = [asyncio.ensure_future((fetcher or self.fetcher).get(KEY, self.slow_load)) for _ in range(count)]
        await self.loading.wait()
        await asyncio.sleep(0.05)
        return tasks

    async def test_one_load(self):
        tasks = await self.fetch(6)
        self.go_on.set()
        self.assertEqual(await asyncio.gather(*tasks), [b"v"] * 6)
        self.assertEqual(self.fetcher.stats().loads, 1)

    async def test_who_is_cancelled_ends_no_load_of_others(self):
        first, second = await self.fetch(2)
        first.cancel()
        self.go_on.set()
        self.assertEqual(await second, b"v")
        self.assertTrue(first.cancelled())

    async def test_a_load_goes_on_without_callers(self):
        (only,) = await self.fetch()
        only.cancel()
        await asyncio.sleep(0)
        self.go_on.set()
        while not await self.client.exists(RECORD):
            await asyncio.sleep(0.005)
        self.assertTrue(only.cancelled())
        self.assertEqual(self.fetcher.stats().stored, 1)

    async def test_the_last_caller_ends_the_load_if_it_shall(self):
        fetcher = wildkey.asyncio.Fetcher(self.cache, end_with_caller=True)
        tasks = await self.fetch(2, fetcher)
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        self.assertEqual(await self.client.exists(LEASE), 1)
        tasks[1].cancel()
        while await self.client.exists(LEASE):
            await asyncio.sleep(0.005)
        self.assertEqual(await self.client.exists(RECORD), 0)
        self.assertEqual(await fetcher.get(KEY, lambda: "next"), b"next")

    async def test_a_timeout_ends_the_waiting_for_another_process(self):
        await asyncio.to_thread(hold_lease, 10_000)
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(self.fetcher.get(KEY, unexpected_load), 0.03)
        self.assertEqual(self.fetcher._flights, {})
        while self.fetcher._tasks:
            await asyncio.sleep(0.005)
        self.assertEqual(self.fetcher.stats().loads, 0)

    async def test_a_caller_that_is_cancelled_in_any_command_leaves_no_lease(self):
        for steps in range(60):
            call = asyncio.ensure_future(self.fetcher.get(KEY, lambda: None))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait({call})
            while self.fetcher._tasks:
                await asyncio.sleep(0.001)
            self.assertEqual(await self.client.exists(LEASE), 0)

    async def test_another_caller_does_not_wait_for_what_was_ended(self):
        await asyncio.to_thread(hold_lease, 500)
        first = asyncio.ensure_future(self.fetcher.get(KEY, unexpected_load))
        await asyncio.sleep(0.02)
        first.cancel()
        self.assertEqual(await self.fetcher.get(KEY, lambda: "v"), b"v")

    async def test_a_load_that_fetches_its_own_key(self):
        with self.assertRaisesRegex(BadArgument, "would wait for itself"):
            await self.fetcher.get(KEY, lambda: self.fetcher.get(KEY, unexpected_load))
        value = await self.fetcher.get(KEY, lambda: self.fetcher.get(("other",), lambda: "v"))
        self.assertEqual(value, b"v")

    async def test_who_joins_while_it_is_stored_asks_again(self):
        execute, stored = self.client.execute_command, asyncio.Event()

        async def slow_to_answer(*words, **options):
            reply = await execute(*words, **options)
            if b"v" in words:  # the value is put, and the answer is under way
                stored.set()
                await self.go_on.wait()
            return reply

        self.client.execute_command = slow_to_answer
        first = asyncio.ensure_future(self.fetcher.get(KEY, lambda: "v"))
        await stored.wait()
        self.client.execute_command = execute
        await self.fetcher.delete(KEY)
        late = asyncio.ensure_future(self.fetcher.get(KEY, lambda: "new"))
        await asyncio.sleep(0.05)
        self.go_on.set()
        self.assertEqual((await first, await late), (b"v", b"new"))

    async def test_an_error_of_a_load_is_that_of_all(self):
        error = KeyError("the database")

        async def failing():
            await asyncio.sleep(0.02)
            raise error

        calls = [self.fetcher.get(KEY, failing) for _ in range(3)]
        self.assertEqual(await asyncio.gather(*calls, return_exceptions=True), [error] * 3)
        self.assertEqual(await self.client.dbsize(), 0)
