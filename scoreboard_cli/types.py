"""Types of options whose errors say which form is right: numbers, ports, durations, folders."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    NumberType = click.ParamType[float]
    AnyType = click.ParamType[Any]
else:
    # Older releases, which an application with the client may have, know no type parameter.
    NumberType = AnyType = click.ParamType


BEYOND_ANY = 1 << 62
"""No option has a use for a greater number, and neither has what it is handed on to."""


class Number(NumberType):
    """A finite number from `least` (or above it, when `above`) to `most`, in words on error."""

    def __init__(
        self,
        metavar: str = "N",
        *,
        least: float | None = None,
        above: float | None = None,
        most: float | None = None,
        whole: bool = True,
    ) -> None:
        self.name = metavar
        self.least, self.above, self.most, self._whole = least, above, most, whole

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        del param, ctx
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = int(str(value)) if self._whole else float(value)
        except ValueError:
            number = math.nan
        fits = abs(number) <= BEYOND_ANY and not (
            (self.least is not None and number < self.least)
            or (self.above is not None and number <= self.above)
            or (self.most is not None and number > self.most)
        )
        if not fits:
            self.fail(f"must be {self.words}, not {str(value)!r}", param, ctx)
        return number

    @property
    def words(self) -> str:
        """`a whole number from 0 to 65535`."""
        kind = "a whole number" if self._whole else "a number"
        start = f" from {self.least}" if self.least is not None else ""
        start = f" above {self.above}" if self.above is not None else start
        return kind + start + (f" to {self.most}" if self.most is not None else "")


def whole(metavar: str = "N", *, least: int = 0, most: int | None = None) -> Number:
    """A whole number, from 0 unless `least` says otherwise."""
    return Number(metavar, least=least, most=most)


PORT = Number("PORT", least=0, most=65535)
SECONDS = Number("SECONDS", least=0, whole=False)


class Parsed(AnyType):
    """Whatever `parse` makes of the text; its ValueError says what is wrong."""

    def __init__(self, metavar: str, parse: Callable[[str], Any]) -> None:
        self.name = metavar
        self._parse = parse

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        del param, ctx
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parsed(metavar: str, parse: Callable[[str], Any]) -> Parsed:
    """A type made of a function that raises ValueError."""
    return Parsed(metavar, parse)


class Place(click.Path):
    """A file or a folder, whose name is not empty, as that of an unset variable would be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail(f"must name a {'file' if self.file_okay else 'folder'}", param, ctx)
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            # "File 'x' does not exist": the option says already what it names.
            self.fail(error.message.partition(" ")[2], param, ctx)


FOLDER = Place(file_okay=False, path_type=Path)
FILE = Place(dir_okay=False, path_type=Path)
INPUT_FILE = Place(exists=True, dir_okay=False, path_type=Path)
