"""Wildkey from Python: records under hierarchical keys in Redis, found by wildcard.

    cache = Wildkey(redis.Redis(), "app", ttl=timedelta(days=1))
    cache.put(Record(("user", 42, "session", "abc"), "laptop"))
    for entry in cache.match("user:42:session:*"):
        print(entry.key, entry.value)

The work is done by the Lua scripts in scripts/, which any number of clients in any language share. wildkey.asyncio
has the same verbs as coroutines.
"""

from ._batches import Outcomes
from ._cache import Wildkey
from ._errors import (
    BadArgument,
    BadPattern,
    ConditionError,
    CrossShard,
    FetchTimeout,
    InvalidKey,
    InvalidTTL,
    ScriptError,
    TooMany,
    UnexpectedReply,
    WildkeyError,
)
from ._fetch import Loaded, Stats
from ._fetcher import Fetcher
from ._keys import K, Key, KeyLike, Segment, decode_key, encode_key, hash_tag, shard
from ._operations import (
    ABSENT,
    ALWAYS,
    KEEP_TTL,
    NO_EXPIRY,
    PRESENT,
    Check,
    Condition,
    Delete,
    Entry,
    Item,
    Operation,
    Page,
    Record,
    Touch,
    Ttl,
    Value,
    equal,
    equal_sha1,
)
from ._patterns import ANY, REST, Pattern, Term, affix, between, literal, pattern, pattern_terms, prefix, suffix, under
from ._scripts import Script, read_scripts

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "ALWAYS",
    "ANY",
    "BadArgument",
    "BadPattern",
    "Check",
    "Condition",
    "ConditionError",
    "CrossShard",
    "Delete",
    "Entry",
    "FetchTimeout",
    "Fetcher",
    "InvalidKey",
    "InvalidTTL",
    "Item",
    "K",
    "KEEP_TTL",
    "Key",
    "KeyLike",
    "Loaded",
    "NO_EXPIRY",
    "Operation",
    "Outcomes",
    "PRESENT",
    "Page",
    "Pattern",
    "REST",
    "Record",
    "Script",
    "ScriptError",
    "Segment",
    "Stats",
    "Term",
    "TooMany",
    "Touch",
    "Ttl",
    "UnexpectedReply",
    "Value",
    "Wildkey",
    "WildkeyError",
    "affix",
    "between",
    "decode_key",
    "encode_key",
    "equal",
    "equal_sha1",
    "hash_tag",
    "literal",
    "pattern",
    "pattern_terms",
    "prefix",
    "read_scripts",
    "shard",
    "suffix",
    "under",
]
