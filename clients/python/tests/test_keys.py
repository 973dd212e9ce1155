import enum
import unittest
import uuid

import wildkey
from wildkey import ANY, REST, BadPattern, InvalidKey, K, Key, Pattern, between, encode_key, pattern, prefix, under


class Color(enum.Enum):
    RED = "red"
    NOTHING = None


class Level(enum.IntEnum):
    HIGH = 3


class Kind(str, enum.Enum):
    SESSION = "session"


class Masked(str):
    def __str__(self):
        return "***"


class Count(int):
    def __repr__(self):
        return "many"

    __str__ = __repr__


class KeyTest(unittest.TestCase):
    def test_segments_mean_what_their_author_meant(self):
        identity = uuid.UUID("12345678-1234-5678-1234-567812345678")
        for segment, encoded in (
            ("é", "%C3%A9"),
            (42, "42"),
            (-1, "-1"),
            (True, "true"),
            (False, "false"),
            (b"\xff", "%FF"),
            (bytearray(b"a:b"), "a%3Ab"),
            (memoryview(b"ab"), "ab"),
            (identity, str(identity)),
            (Color.RED, "red"),
            (Level.HIGH, "3"),
            (Kind.SESSION, "session"),
            (Masked("secret"), "secret"),
            (Count(7), "7"),
        ):
            with self.subTest(segment=segment):
                self.assertEqual(encode_key(["k", segment]), "k:" + encoded)

    def test_other_segments_are_refused(self):
        for segment in (None, 1.5, Color.NOTHING, ("a",), object(), {}, "", b"", "\ud800", 10**5000):
            with self.subTest(segment=repr(segment)[:20] if not isinstance(segment, int) else "a large number"):
                with self.assertRaises(InvalidKey) as raised:
                    encode_key(["k", segment])
                self.assertEqual(raised.exception.key, ["k", segment])
                with self.assertRaises(BadPattern):
                    under(["k", segment])

    def test_a_text_is_no_key(self):
        for key in ("user:42", b"user", 42, None, {"user"}, [], ()):
            with self.subTest(key=key), self.assertRaises(InvalidKey):
                encode_key(key)

    def test_key(self):
        key = K("user", 42, "é")
        self.assertEqual(key, (b"user", b"42", "é".encode()))
        self.assertEqual(str(key.child(True)), "user:42:%C3%A9:true")
        self.assertEqual(key.texts, ("user", "42", "é"))
        self.assertIsInstance(wildkey.decode_key("user:42"), Key)
        self.assertRaises(UnicodeDecodeError, lambda: K(b"\xff").texts)


class PatternTest(unittest.TestCase):
    def test_what_users_send_holds_no_wildcard(self):
        self.assertEqual(str(pattern("file", prefix("a:*"), REST)), "file:a%3A%2A*:**")
        self.assertEqual(str(pattern("**", ANY, between("2024-03", ""))), "%2A%2A:*:2024-03<")
        self.assertEqual(str(under(("user", 42))), "user:42:**")
        self.assertEqual(Pattern.parse("user:*:**"), pattern("user", ANY, REST))

    def test_refused(self):
        for build in (
            lambda: pattern(),
            lambda: pattern(""),
            lambda: pattern(prefix("")),
            lambda: pattern(between("", "")),
            lambda: pattern(between("b", "a")),
            lambda: pattern(REST, ANY),
            lambda: pattern(*"a" * 2049),
            lambda: pattern(None),
            lambda: Pattern.parse(b"a"),
            lambda: Pattern.parse("a*b*"),
        ):
            with self.assertRaises(BadPattern):
                build()
