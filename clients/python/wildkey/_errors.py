"""The errors of this package."""

from __future__ import annotations

import re
from typing import Optional

import redis


class WildkeyError(Exception):
    """The base of all errors of this package. What the server says beyond them is an error of redis-py.

    key is the key that the error is about, as its caller gave it, or None.
    """

    def __init__(self, message: str, key: Optional[object] = None):
        super().__init__(message)
        self.key = key


class BadArgument(WildkeyError, ValueError):
    """An argument is wrong, and nothing was written. Where a script has found it, __cause__ is the server's error."""


class InvalidKey(BadArgument):
    """A key has no segment, an empty or odd one, or is too long; or a text is not the spelling of a key."""


class InvalidTTL(BadArgument):
    """A time to live is missing, below a millisecond, or no timedelta."""


class BadPattern(BadArgument):
    """A pattern has no term, an empty one, ** before its end or odd spelling, or is too long for any key."""


class CrossShard(BadArgument):
    """The records of one atomic call lie in several shards."""


class TooMany(BadArgument):
    """An atomic call names more records than call_records."""


class ConditionError(WildkeyError):
    """A condition does not hold, or a ttl is to be kept of a record that is not live; nothing was written."""

    def __init__(self, index: int, key: object, encoded: str):
        super().__init__(f"the condition of {encoded}, number {index + 1} of the call, does not hold", key)
        self.index = index  # of the record or operation in the call, from 0


class ScriptError(WildkeyError):
    """A script is not what SHA1SUMS says, or is not on the server and may not be loaded."""


class UnexpectedReply(WildkeyError):
    """The server answered what no script of Wildkey answers."""


class FetchTimeout(WildkeyError, TimeoutError):
    """The value did not come within the timeout of the call."""


# redis-py takes the first word from the text of the errors that it has a class for.
_CODES = {
    "NoScriptError": "NOSCRIPT",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
# What Redis 6.2 puts before an error that a script has raised, or passed on.
_WRAPPING = re.compile(r"^(?:(?:ERR )?Error running script .*)?@user_script: ?\d+: -?", re.DOTALL)


def code_of(error: redis.RedisError) -> str:
    """The first word of what the server said."""
    code = _CODES.get(type(error).__name__)
    return code or _WRAPPING.sub("", str(error)).partition(" ")[0]


def text_of(error: redis.RedisError) -> str:
    return _WRAPPING.sub("", str(error))
