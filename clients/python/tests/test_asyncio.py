import asyncio
import unittest
import warnings
from datetime import timedelta

import redis.asyncio
from server import URL, ServerTest

from wildkey import K, Record
from wildkey.asyncio import Wildkey


class AsyncioTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        warnings.simplefilter("error", ResourceWarning)
        self.client = redis.asyncio.Redis.from_url(URL)
        await self.client.flushall()
        self.cache = Wildkey(self.client, "test", ttl=timedelta(hours=1), shards=20)

    async def asyncTearDown(self):
        await self.client.close()
        await self.client.connection_pool.disconnect()

    async def test_iterators(self):
        async def records():
            for n in range(40):
                await asyncio.sleep(0)
                yield Record((n,), str(n))

        self.assertEqual((await self.cache.put_each(records())).done, 40)
        met = [entry.value async for entry in self.cache.match("*")]
        self.assertEqual(met, sorted(str(n).encode() for n in range(40)))
        async for key in self.cache.match_keys("*"):
            self.assertEqual(key, K(0))
            break  # leaves the rest

    async def test_several_calls_at_a_time(self):
        await asyncio.gather(*(self.cache.put(Record((n,), str(n))) for n in range(50)))
        values = await asyncio.gather(*(self.cache.get((n,)) for n in range(50)))
        self.assertEqual(values, [str(n).encode() for n in range(50)])

    async def test_shards_are_asked_together(self):
        await self.cache.put_each([Record((n,), "v") for n in range(40)])
        under_way = most = 0
        execute = self.client.execute_command

        async def counting(*words, **options):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await execute(*words, **options)
            finally:
                under_way -= 1

        self.client.execute_command = counting
        self.assertEqual(await self.cache.count("*"), 40)
        self.assertEqual(most, 16)

    async def test_a_cancelled_call_leaves_no_reply_to_another(self):
        await self.cache.put(Record(("mine",), "mine"), )
        await self.cache.put(Record(("other",), "other"))
        for steps in range(40):
            call = asyncio.ensure_future(self.cache.get(("other",)))
            for _ in range(steps % 8):
                await asyncio.sleep(0)
            call.cancel()
            self.assertEqual(await self.cache.get(("mine",)), b"mine")
            try:
                self.assertEqual(await call, b"other")
            except asyncio.CancelledError:
                pass

    async def test_an_error_in_one_shard_ends_the_call(self):
        await self.cache.put_each([Record((n,), "v") for n in range(40)])
        for shard in range(20):
            await self.client.delete(f"{{test#{shard}/20/1}}/keys")
        await self.client.set("{test#7/20/1}/keys", "no index")
        with self.assertRaisesRegex(redis.asyncio.RedisError, "WRONGTYPE"):
            await self.cache.count("*")
        with self.assertRaisesRegex(redis.asyncio.RedisError, "WRONGTYPE"):
            await self.cache.collect("*")


class BlockingIteratorTest(ServerTest):
    def test_inside_a_running_loop(self):
        cache = self.cache(ttl=timedelta(hours=1), page_limit=2)
        cache.put(*(Record((n,), "v") for n in range(9)))

        async def main():
            first = next(iter(cache.match("*")))  # the rest is left
            return first.key, len(list(cache.match("*")))

        self.assertEqual(asyncio.run(main()), (K(0), 9))
