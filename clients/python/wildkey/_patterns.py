"""Patterns, and the terms that match.lua takes for them."""

from __future__ import annotations

import re
from typing import List, Sequence, Tuple, Union

from ._errors import BadArgument, BadPattern, InvalidKey
from ._keys import MAX_ENCODED, SEGMENT, KeyLike, Layout, Segment, encode_key, encode_segment, shard_of_head

_TERM = re.compile(rf"\*\*?|({SEGMENT})|(?:{SEGMENT})?([*<])(?:{SEGMENT})?")


class Term:
    """What a pattern asks of one segment: see literal, prefix, suffix, affix, between, ANY and REST."""

    __slots__ = ("argument",)

    def __init__(self, argument: str):
        self.argument = argument  # as match.lua takes it

    @property
    def text(self) -> str:
        return self.argument.lstrip("=^[")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and other.argument == self.argument

    def __hash__(self) -> int:
        return hash(self.argument)

    def __repr__(self) -> str:
        return f"Term({self.argument!r})"


ANY = Term("*")  # any one segment
REST = Term("**")  # zero or more segments, last only


def literal(segment: Segment) -> Term:
    """Matches this segment."""
    return Term("=" + encode_segment(segment))


def prefix(start: Segment) -> Term:
    """Matches a segment that starts so."""
    return affix(start, "")


def suffix(end: Segment) -> Term:
    """Matches a segment that ends so."""
    return affix("", end)


def affix(start: Segment, end: Segment) -> Term:
    """Matches a segment that starts and ends so, where the two do not overlap; one of them may be empty."""
    return Term(f"^{encode_segment(start)}*{encode_segment(end)}")


def between(first: Segment, end: Segment) -> Term:
    """Matches a segment at or after first and before end, in byte order as encoded; one of them may be empty."""
    return Term(f"[{encode_segment(first)}<{encode_segment(end)}")


class Pattern:
    """A list of terms that a key is held against, segment by segment. str(pattern) is its text."""

    __slots__ = ("terms",)

    def __init__(self, terms: Sequence[Term]):
        self.terms: Tuple[Term, ...] = tuple(terms)
        self._check()

    def __str__(self) -> str:
        return ":".join(term.text for term in self.terms)

    def __repr__(self) -> str:
        return f"Pattern.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.terms == self.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """The pattern of a text such as user:*:session:**; an invalid one is BadPattern, and never a literal."""
        if not isinstance(text, str):
            raise BadPattern(f"a pattern is a text or a Pattern, not {text!r:.100}")
        terms: List[Term] = []
        for number, part in enumerate(text.split(":"), 1):
            term = _TERM.fullmatch(part)
            if not term:
                raise BadPattern(f"{text!r:.100}: term {number} is no term of a pattern, in its only spelling")
            whole, wildcard = term.groups()
            mark = "" if part in ("*", "**") else "=" if whole else "^" if wildcard == "*" else "["
            terms.append(Term(mark + part))
        return cls(terms)

    def _check(self) -> None:
        if not self.terms:
            raise BadPattern("a pattern has at least one term")
        shortest = -1  # of the encoded keys that could match
        for number, term in enumerate(self.terms, 1):
            start, is_range, end = term.text.partition("<")
            if term.argument in ("=", "^*", "[<"):
                raise BadPattern(f"{str(self)!r:.100}: term {number} is empty")
            if term == REST and number < len(self.terms):
                raise BadPattern(f"{str(self)!r:.100}: term {number}, **, is not last")
            if is_range and end and start >= end:
                raise BadPattern(f"{str(self)!r:.100}: term {number}, a range, ends before it begins")
            if is_range:
                shortest += 2
            elif term != REST:
                start = ""
                shortest += 1 + max(1, len(term.text.replace("*", "", 1)))
            if max(shortest, len(start), len(end)) > MAX_ENCODED:
                raise BadPattern(f"the pattern asks for keys of more than {MAX_ENCODED} bytes encoded")

    @property
    def arguments(self) -> List[str]:
        return [term.argument for term in self.terms]

    @property
    def lead(self) -> str:
        """What the entries of the index that match have before their keys."""
        return "!" if self.terms[0].text.startswith("!") else ""

    def leases(self) -> Pattern:
        """The pattern of the leases of the keys that match, whether or not these have a record."""
        first, rest = self.terms[0].argument, self.terms[1:]
        if first == "**":
            first, rest = "^*", self.terms
        elif first == "*":
            first = "^*"
        return Pattern([Term(f"{first[0]}!{first[1:]}"), *rest])

    def shards(self, layout: Layout) -> List[int]:
        """The shards that may hold what matches: one, if literals choose it, else all."""
        head = [term.argument for term in self.terms[: layout.leading]]
        if not all(argument.startswith("=") for argument in head):
            return list(range(layout.shards))
        return [shard_of_head([argument[1:].lstrip("!") for argument in head], layout.shards)]


PatternLike = Union[str, Pattern]

EVERYTHING = Pattern([REST])


def pattern_of(text_or_pattern: PatternLike) -> Pattern:
    return text_or_pattern if isinstance(text_or_pattern, Pattern) else Pattern.parse(text_or_pattern)


def pattern(*parts: Union[Term, Segment]) -> Pattern:
    """The pattern of these terms; a segment stands for the literal. What users send can hold no wildcard here."""
    try:
        return Pattern([part if isinstance(part, Term) else literal(part) for part in parts])
    except BadPattern:
        raise
    except BadArgument as error:
        raise BadPattern(str(error)) from error


def under(key: KeyLike) -> Pattern:
    """The pattern of the record and of all records beneath it."""
    return Pattern([*exactly(key).terms, REST])


def exactly(key: KeyLike) -> Pattern:
    """The pattern that matches this key and no other."""
    try:
        return Pattern([Term("=" + segment) for segment in encode_key(key).split(":")])
    except InvalidKey as error:
        raise BadPattern(str(error), key) from error


def pattern_terms(text: str) -> List[str]:
    """The terms of match.lua for a text; BadPattern if it is none."""
    return Pattern.parse(text).arguments
