import asyncio
import unittest
from datetime import timedelta

import redis
import redis.asyncio
import redis.sentinel

import wildkey
import wildkey.asyncio
from wildkey import KEEP_TTL, NO_EXPIRY, BadArgument, InvalidKey, InvalidTTL, ScriptError, WildkeyError


class ConstructionTest(unittest.TestCase):
    def setUp(self):
        self.client = redis.Redis()
        self.addCleanup(self.client.close)
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        asyncio.set_event_loop(loop)  # Python 3.9 asks for it when a client is made
        self.addCleanup(asyncio.set_event_loop, None)

    def test_clients_of_the_other_kind(self):
        asynchronous = redis.asyncio.Redis()
        with self.assertRaisesRegex(BadArgument, "wildkey.asyncio"):
            wildkey.Wildkey(asynchronous)
        with self.assertRaisesRegex(BadArgument, "wildkey.Wildkey"):
            wildkey.asyncio.Wildkey(self.client)
        with self.assertRaises(BadArgument):
            wildkey.asyncio.Fetcher(wildkey.Wildkey(self.client))
        with self.assertRaises(BadArgument):
            wildkey.Fetcher(wildkey.asyncio.Wildkey(asynchronous))

    def test_pipelines(self):
        with self.assertRaisesRegex(BadArgument, "only once it is executed"):
            wildkey.Wildkey(self.client.pipeline())
        with self.assertRaisesRegex(BadArgument, "only once it is executed"):
            wildkey.asyncio.Wildkey(redis.asyncio.Redis().pipeline())

    def test_no_clients(self):
        sentinel = redis.sentinel.Sentinel([("127.0.0.1", 1)])
        for client in (None, "redis://localhost", sentinel, redis.Redis, self.client.connection_pool):
            with self.subTest(client=client), self.assertRaisesRegex(BadArgument, "master_for"):
                wildkey.Wildkey(client)
        wildkey.Wildkey(sentinel.master_for("main"))  # asks no sentinel yet

    def test_clients_that_decode(self):
        with self.assertRaisesRegex(BadArgument, "decode_responses"):
            wildkey.Wildkey(redis.Redis(decode_responses=True))
        with self.assertRaisesRegex(BadArgument, "decode_responses"):
            wildkey.asyncio.Wildkey(redis.asyncio.Redis(decode_responses=True))
        with self.assertRaisesRegex(BadArgument, "decode_responses"):
            wildkey.asyncio.Wildkey(redis.asyncio.RedisCluster("127.0.0.1", decode_responses=True))

    def test_options(self):
        for options in (
            {"shards": 0},
            {"shards": 16_385},
            {"shard_segments": 0},
            {"call_records": 0},
            {"call_records": 10_001},
            {"page_limit": 100_000},
            {"call_bytes": "1"},
        ):
            with self.subTest(options=options), self.assertRaises(BadArgument):
                wildkey.Wildkey(self.client, **options)
        with self.assertRaises(InvalidKey):
            wildkey.Wildkey(self.client, "")
        with self.assertRaises(ScriptError):
            wildkey.Wildkey(self.client, scripts="/nowhere")
        with self.assertRaises(BadArgument):
            wildkey.Wildkey(self.client, shards=2).on_shard(2)

    def test_ttls(self):
        for ttl in (60, 60.0, True, "never", timedelta(0), timedelta(microseconds=999), -timedelta(1), KEEP_TTL):
            with self.subTest(ttl=ttl), self.assertRaises(InvalidTTL):
                wildkey.Wildkey(self.client, ttl=ttl)
        wildkey.Wildkey(self.client, ttl=NO_EXPIRY)

    def test_fetchers(self):
        cache = wildkey.Wildkey(self.client)
        for options in (
            {"lease": 10},
            {"lease": NO_EXPIRY},
            {"negative": timedelta(0)},
            {"refresh_ahead": 2},
            {"refresh_ahead": 0.1},  # of a cache without a ttl
        ):
            with self.subTest(options=options), self.assertRaises(WildkeyError):
                wildkey.Fetcher(cache, **options)

    def test_every_verb_has_its_twin_and_its_text(self):
        for blocking, asynchronous in (
            (wildkey.Wildkey, wildkey.asyncio.Wildkey),
            (wildkey.Fetcher, wildkey.asyncio.Fetcher),
        ):
            names = {name for name in dir(blocking) if not name.startswith("_")}
            self.assertEqual(names, {name for name in dir(asynchronous) if not name.startswith("_")})
            for name in names:
                self.assertTrue(getattr(blocking, name).__doc__, name)
                self.assertTrue(getattr(asynchronous, name).__doc__, name)
        self.assertTrue(asyncio.iscoroutinefunction(wildkey.asyncio.Wildkey.get))
