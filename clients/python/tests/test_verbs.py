from datetime import timedelta

import redis
from server import ServerTest, ServerTestOfAsyncio

from wildkey import (
    ABSENT,
    KEEP_TTL,
    NO_EXPIRY,
    PRESENT,
    BadArgument,
    BadPattern,
    Check,
    ConditionError,
    CrossShard,
    Delete,
    Entry,
    InvalidKey,
    InvalidTTL,
    K,
    Record,
    ScriptError,
    TooMany,
    Touch,
    equal,
    equal_sha1,
    under,
)

HOUR = timedelta(hours=1)


class VerbsTest(ServerTest):
    def test_by_key(self):
        cache = self.cache(ttl=HOUR)
        cache.put(Record(("user", 1), "Ann"), Record(("user", 2), b"\x00\xff", NO_EXPIRY), Record(("user", 3), ""))
        self.assertEqual(cache.get(("user", 1)), b"Ann")
        self.assertIsNone(cache.get(("user", 9)))
        self.assertEqual(cache.get_many(("user", 2), ("user", 9), ("user", 3)), [b"\x00\xff", None, b""])
        self.assertEqual(cache.get_many(), [])
        self.assertTrue(timedelta(minutes=59) < cache.ttl(("user", 1)) <= HOUR)
        self.assertIs(cache.ttl(("user", 2)), NO_EXPIRY)
        self.assertIsNone(cache.ttl(("user", 9)))
        self.assertEqual(cache.get_touch(NO_EXPIRY, ("user", 1)), b"Ann")
        self.assertIs(cache.ttl(("user", 1)), NO_EXPIRY)
        self.assertEqual(cache.get_touch(HOUR, ("user", 1)), b"Ann")
        self.assertTrue(timedelta(minutes=59) < cache.ttl(("user", 1)) <= HOUR)
        self.assertIsNone(cache.get_touch(HOUR, ("user", 9)))
        self.assertEqual(cache.touch(HOUR, ("user", 2), ("user", 9)), 1)
        self.assertEqual(cache.take(("user", 1)), b"Ann")
        self.assertIsNone(cache.take(("user", 1)))
        self.assertEqual(cache.delete(("user", 2), ("user", 9)), 1)
        self.assertEqual(cache.delete(), 0)

    def test_apply(self):
        cache = self.cache()
        self.assertEqual(cache.apply(), 0)
        self.assertEqual(cache.apply(Record(("a",), "1", HOUR, ABSENT), Check(("b",), ABSENT)), 1)
        with self.assertRaises(ConditionError) as raised:
            cache.apply(Delete(("a",)), Record(("b",), "2", HOUR, PRESENT))
        self.assertEqual((raised.exception.index, raised.exception.key), (1, ("b",)))
        sha1_of_1 = "356a192b7913b04c54574d18c28d46e6395428ab"
        done = cache.apply(Record(("a",), "2", KEEP_TTL, equal_sha1(sha1_of_1)), Record(("b",), "3", NO_EXPIRY))
        self.assertEqual(done, 2)
        self.assertEqual(cache.apply(Touch(("a",), NO_EXPIRY, equal("2")), Delete(("b",)), Delete(("c",))), 2)
        self.assertIs(cache.ttl(("a",)), NO_EXPIRY)
        for operation, error in (
            (Record(("a",), "v"), InvalidTTL),
            (Record(("a",), "v", 60), InvalidTTL),
            (Record(("a",), 5, HOUR), BadArgument),
            (Record(("a",), "v", HOUR, b"-"), BadArgument),
            (Record((None,), "v", HOUR), InvalidKey),
            (Check(("a",), None), BadArgument),
            (("a", "v"), BadArgument),
        ):
            with self.subTest(operation=operation), self.assertRaises(error):
                cache.apply(operation)
        with self.assertRaisesRegex(BadArgument, "comes twice"):
            cache.apply(Delete(("a",)), Delete(("a",)))
        self.assertEqual(cache.get(("a",)), b"2")
        self.assertRaises(BadArgument, equal_sha1, sha1_of_1.upper())

    def test_by_pattern(self):
        for options in ({}, {"shards": 5}, {"shards": 3, "shard_segments": 2}, {"page_limit": 2, "call_records": 3}):
            with self.subTest(options=options):
                self.client.flushall()
                cache = self.cache(ttl=HOUR, **options)
                keys = sorted((K("user", user, "session", n) for user in range(9) for n in range(5)), key=str)
                self.assertEqual(cache.put_each(Record(key, str(key)) for key in keys).done, 45)
                self.assertEqual(list(cache.match("user:*:session:*")), [Entry(key, str(key).encode()) for key in keys])
                self.assertEqual(list(cache.match_keys(under(("user", 3)))), keys[15:20])
                self.assertEqual(cache.collect("**"), list(cache.match("**")))
                self.assertTrue(all(entry.ttl <= HOUR for entry in cache.match("**", with_ttl=True)))
                self.assertEqual(cache.count("user:*:session:1"), 9)
                self.assertTrue(5 <= cache.estimate("user:3:**") <= 5 + 5)
                self.assertEqual([(str(item.key), item.beneath) for item in cache.list("user:*")],
                                 [(f"user:{user}", True) for user in range(9)])
                self.assertEqual(cache.touch_match(NO_EXPIRY, "user:3:**"), 5)
                self.assertTrue(all(entry.ttl is NO_EXPIRY for entry in cache.match("user:3:**", with_ttl=True)))
                self.assertEqual(cache.delete_match("user:*:session:1"), 9)
                self.assertEqual(cache.count("**"), 36)
                self.assertEqual(sum(cache.on_shard(shard).count("**") for shard in range(cache.shards)), 36)
                with self.assertRaises(BadPattern):
                    cache.estimate("user:*")
                with self.assertRaises(BadPattern):
                    list(cache.list("user:**"))

    def test_pages(self):
        for options in ({}, {"shards": 4}, {"declared_keys": True}, {"call_bytes": 30}):
            with self.subTest(options=options):
                self.client.flushall()
                cache = self.cache(ttl=HOUR, **options)
                cache.put_each(Record((n, "x"), "v") for n in range(10, 40))
                met, cursor, pages = [], b"", 0
                while cursor or not pages:
                    page = cache.page("**", cursor=cursor, limit=7)
                    self.assertLessEqual(len(page.entries), 7)
                    met += [str(entry.key) for entry in page.entries]
                    cursor, pages = page.cursor, pages + 1
                self.assertEqual(met, [f"{n}:x" for n in range(10, 40)])
                self.assertGreaterEqual(pages, 5)
                after = cache.page("**", after=(37, "y"), limit=7)
                self.assertEqual([str(entry.key) for entry in after.entries], ["38:x", "39:x"])
                for wrong in ({"after": (1,), "cursor": b">1"}, {"cursor": b"?"}, {"limit": 0}, {"limit": 100_000}):
                    with self.assertRaises(BadArgument):
                        cache.page("**", **wrong)

    def test_batches(self):
        cache = self.cache(ttl=HOUR, shards=3, call_records=4)
        outcomes = []
        result = cache.put_each(
            (Record((n % 10,), str(n), 60 if n == 5 else HOUR, ABSENT) for n in range(20)),
            lambda record, error: outcomes.append((record.value, type(error))),
        )
        failures = {str(n): ConditionError for n in range(10, 20) if n != 15}
        failures["5"] = InvalidTTL
        self.assertEqual(outcomes, [(str(n), failures.get(str(n), type(None))) for n in range(20)])
        self.assertEqual((result.done, result.failed), (10, []))
        self.assertEqual(cache.touch_each(NO_EXPIRY, [(n,) for n in range(30)]).done, 10)
        deleted = cache.delete_each([(1,), (), (2,), (99,)])
        self.assertEqual((deleted.done, [item for item, _ in deleted.failed]), (2, [()]))

        def failing():
            yield Record(("before",), "v")
            raise KeyError("the source")

        with self.assertRaises(KeyError):
            cache.put_each(failing())
        self.assertEqual(cache.get(("before",)), b"v")

    def test_one_refused_record_of_a_batch(self):
        cache = self.cache(ttl=HOUR)
        self.client.sadd("{test}:7", "a set")
        result = cache.put_each(Record((n,), "v", HOUR, equal("v") if n == 7 else ABSENT) for n in range(10))
        self.assertEqual((result.done, [record.key for record, _ in result.failed]), (9, [(7,)]))
        self.assertIsInstance(result.failed[0][1], redis.ResponseError)

    def test_bounds_of_a_call(self):
        cache = self.cache(shards=16, call_records=3)
        with self.assertRaises(CrossShard):
            cache.delete(*((n,) for n in range(3)))
        with self.assertRaises(TooMany):
            cache.delete(*((1, n) for n in range(4)))
        self.assertEqual(cache.get_many(*((n,) for n in range(3))), [None] * 3)

    def test_sweep(self):
        cache = self.cache(ttl=HOUR)
        cache.put(Record(("a",), "1"), Record(("b",), "2"))
        self.client.zadd("{test}/keys", {"!gone": 0, "gone": 0})
        self.client.delete("{test}:b")
        self.assertEqual(self.cache(leave_stale=True).count("**"), 1)
        self.assertEqual(self.client.zcard("{test}/keys"), 4)
        self.assertEqual(cache.sweep(), 3)
        self.assertEqual(self.client.zrange("{test}/keys", 0, -1), [b"a"])

    def test_declared_keys(self):
        cache = self.cache(ttl=HOUR, declared_keys=True)
        cache.put(Record(("a",), "1"), Record(("b",), "2"))
        self.client.delete("{test}:a")
        self.assertEqual(list(cache.match("*")), [Entry(K("b"), b"2")])
        self.assertEqual(list(cache.match_keys("*")), [K("b")])
        for refused in (
            lambda: cache.count("*"), lambda: list(cache.list("*")), lambda: cache.collect("*", with_ttl=True)
        ):
            with self.assertRaises(BadArgument):
                refused()
        self.assertEqual(cache.sweep(), 1)

    def test_preloaded(self):
        self.client.script_flush()
        cache = self.cache(ttl=HOUR, preloaded=True)
        for call in (cache.load, lambda: cache.put(Record(("a",), "1")), lambda: list(cache.match("**"))):
            with self.assertRaises(ScriptError):
                call()
        self.cache().load()
        cache.load()
        cache.put(Record(("a",), "1"))
        self.assertEqual(cache.count("**"), 1)


class AsyncioVerbsTest(ServerTestOfAsyncio, VerbsTest):
    """The same of wildkey.asyncio.Wildkey."""
