"""Many rules -> questions about some of them each, none longer than the store reads well."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from cdp_segmenter.rules.ast import Rule

T = TypeVar("T")
# The server refuses 256 KiB of text, or 50,000 elements of at times less than two characters; and its analysis of
# 200,000 characters takes a minute, of half of that a few seconds.
LONGEST_TEXT: Final = 80_000


def in_short(rules: Sequence[Rule], made: Callable[[Sequence[Rule]], T], length: Callable[[T], int]) -> list[T]:
    """What is made of all rules together, or of each half of them where that is too long, in the order of the rules."""
    whole = made(rules)
    if len(rules) < 2 or length(whole) <= LONGEST_TEXT:
        return [whole]
    middle = len(rules) // 2
    return [*in_short(rules[:middle], made, length), *in_short(rules[middle:], made, length)]
