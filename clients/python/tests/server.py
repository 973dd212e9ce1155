"""The server of REDIS_URL, and the caches that the tests have on it."""

import asyncio
import os
import unittest
import warnings

import redis
import redis.asyncio

import wildkey
import wildkey.asyncio

URL = os.environ["REDIS_URL"]


class Blocking:
    """A Wildkey or Fetcher of asyncio, each call of which is run to its end: what both kinds do is then tested once."""

    def __init__(self, asynchronous, loop):
        self._asynchronous, self._loop = asynchronous, loop

    def __getattr__(self, name):
        attribute = getattr(self._asynchronous, name)
        if not callable(attribute):
            return attribute

        def call(*args, **kwargs):
            result = attribute(*args, **kwargs)
            if hasattr(result, "__aiter__"):
                result = _collect(result)
            if asyncio.iscoroutine(result):
                result = self._loop.run_until_complete(result)
            return Blocking(result, self._loop) if isinstance(result, wildkey.asyncio.Wildkey) else result

        return call


async def _collect(items):
    return [item async for item in items]


class ServerTest(unittest.TestCase):
    """A test that begins with an empty server."""

    def setUp(self):
        warnings.simplefilter("error", ResourceWarning)
        self.client = redis.Redis.from_url(URL)
        self.addCleanup(self.client.close)
        self.client.flushall()

    def cache(self, **options):
        return wildkey.Wildkey(self.client, "test", **options)


class ServerTestOfAsyncio(ServerTest):
    """The same test for the classes of asyncio."""

    def setUp(self):
        super().setUp()
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)
        asyncio.set_event_loop(self.loop)  # Python 3.9 asks for it when the client is made
        self.addCleanup(asyncio.set_event_loop, None)
        self.asynchronous_client = redis.asyncio.Redis.from_url(URL)
        self.addCleanup(lambda: self.loop.run_until_complete(self.asynchronous_client.connection_pool.disconnect()))

    def cache(self, **options):
        return Blocking(wildkey.asyncio.Wildkey(self.asynchronous_client, "test", **options), self.loop)
