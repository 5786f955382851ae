"""Reads tables of a target file strictly: every fault is kept, none ends the reading. Pure."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.targets.description import Pairs, Ranges


class Key(NamedTuple):
    """One key of a table: its kind of value, and an example of its right form."""

    kind: str
    form: str


TEXT, FLAG, PAIRS, STATUSES, TEXTS, OBJECT, TABLE, SPAN = (
    *("text", "flag", "pairs", "statuses", "texts", "object", "table", "span"),
)
WHOLE_MAX = 1_000_000_000
_WORDS = {
    TEXT: "a text",
    FLAG: "true or false",
    PAIRS: "a table of texts",
    STATUSES: "a list of statuses",
    TEXTS: "a list of texts",
    OBJECT: "a table",
    TABLE: "a table",
    SPAN: "two whole numbers from 1 on",
}


class Faults:
    """What is wrong with a file, in the order found."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Keep one fault, once; `where` is the table, empty at the top."""
        line = f"[{where}] {what}" if where else what
        if line not in self.lines:
            self.lines.append(line)


class TableReader:
    """One table: hands out its values by key, and keeps what is wrong with them."""

    def __init__(self, where: str, table: Any, keys: Mapping[str, Key], faults: Faults) -> None:
        self._where, self._keys, self._faults = where, keys, faults
        self._table: Mapping[str, Any] = {}
        if not isinstance(table, Mapping):
            faults.add("", f"{where} must be a table, [{where}] with keys below it")
            return
        self._table = table
        for name in table:
            if name not in keys:
                faults.add(where, _unknown(name, keys))

    def __contains__(self, name: str) -> bool:
        return name in self._table

    def fault(self, what: str) -> None:
        """Keep a fault of this table."""
        self._faults.add(self._where, what)

    def _take(self, name: str, fits: bool) -> bool:
        if not fits:
            key = self._keys[name]
            self.fault(
                f"{name} must be {_WORDS[key.kind]}, as in {key.form}, not "
                f"{_shown(self._table[name])}"
            )
        return fits

    def text(self, name: str, default: str = "") -> str:
        """A text, `default` where the key is missing."""
        if name not in self._table:
            return default
        value = self._table[name]
        return value if self._take(name, isinstance(value, str)) else default

    def flag(self, name: str) -> bool:
        """A flag, false where the key is missing."""
        value = self._table.get(name, False)
        return bool(value) if name in self and self._take(name, isinstance(value, bool)) else False

    def pairs(self, name: str) -> Pairs:
        """Names and texts, in order; whole numbers may stand for texts."""
        value = self._table.get(name, {})
        if not self._take(name, _are_pairs(value)):
            return ()
        return tuple((key, str(inner)) for key, inner in value.items())

    def texts(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts, or one of them."""
        value = self._table.get(name, list(default))
        value = [value] if isinstance(value, str) else value
        fits = isinstance(value, list) and all(isinstance(inner, str) for inner in value)
        return tuple(value) if self._take(name, fits) else default

    def object(self, name: str, default: Any) -> Any:
        """A table of anything, as JSON has it."""
        value = self._table.get(name, default)
        return value if self._take(name, isinstance(value, Mapping)) else default

    def any(self, name: str) -> Any:
        """The value as it stands, None where the key is missing."""
        return self._table.get(name)

    def span(self, name: str) -> tuple[int, int] | None:
        """Least and most of a span of whole numbers, None where the key is missing."""
        if name not in self._table:
            return None
        low, _, high = str(self._table[name]).partition("-")
        numbers = [int(text) for text in (low, high or low) if re.fullmatch(r"[1-9]\d{0,9}", text)]
        fits = len(numbers) == 2 and numbers[0] <= numbers[1] <= WHOLE_MAX
        return (numbers[0], numbers[1]) if self._take(name, fits) else None

    def statuses(self, name: str, default: Ranges) -> Ranges:
        """A list of statuses: 200, "2xx", "200-204"; or one of them."""
        if name not in self._table:
            return default
        value = self._table[name]
        found = [_range_of(v) for v in (value if isinstance(value, list) else [value])]
        if not self._take(name, bool(found) and None not in found):
            return default
        return tuple(ranges for ranges in found if ranges is not None)


def _are_pairs(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(inner, str | int) and not isinstance(inner, bool) for inner in value.values()
    )


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 40 else f"{text[:37]}…"


def _unknown(name: str, keys: Mapping[str, Key]) -> str:
    near = difflib.get_close_matches(name.lower(), keys, n=1, cutoff=0.5)
    if near:
        return f"{name}: no such key; did you mean {near[0]}, as in {keys[near[0]].form}?"
    return f"{name}: no such key; there are {', '.join(keys)}"


def _range_of(value: Any) -> tuple[int, int] | None:
    if isinstance(value, bool):
        return None
    text = str(value).lower() if isinstance(value, str | int) else ""
    if len(text) == 3 and text.endswith("xx") and text[0] in "12345":
        low = int(text[0]) * 100
        return low, low + 99
    low_text, dash, high_text = text.partition("-")
    if not low_text.isdecimal() or (dash and not high_text.isdecimal()):
        return None
    low, high = int(low_text), int(high_text or low_text)
    return (low, high) if 100 <= low <= high <= 599 else None


def overlapping(named: Sequence[tuple[str, Ranges]]) -> str:
    """Two lists that claim one status, empty when none do."""
    for position, (name, ranges) in enumerate(named):
        for other, more in named[position + 1 :]:
            for low, high in ranges:
                for low2, high2 in more:
                    if low <= high2 and low2 <= high:
                        return f"{name} and {other} both have status {max(low, low2)}"
    return ""
