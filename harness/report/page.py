"""Renders the pages of the harness from templates, with one style sheet. Knows no run.

Pages are self-contained: no font, no address of another host, one small inline script.
"""

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.plots import STYLE

TEMPLATES = Path(__file__).with_name("templates")
Cell = tuple[str, str]
"""Text and class of a table's cell: `text`, a verdict, or nothing for a number."""
Row = tuple[str, Sequence[Cell]]
SIGNS = {"true": "✓", "false": "✗", "unknown": "?", "not asked": "–"}


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, *, title: str, about: str, **values: Any) -> str:
    """A page. All text is escaped; only charts come as markup."""
    style = (TEMPLATES / "page.css").read_text("utf-8") + STYLE
    page = _templates().get_template(template)
    return page.render(title=title, about=about, style=style, **values)


def card(word: str, verdict: str, reasons: Sequence[str], explanation: str) -> dict[str, Any]:
    """A verdict's card: `verdict` is true, false or unknown; reasons are for the last two."""
    prefix = {"true": "", "false": "not ", "unknown": "unknown whether "}[verdict]
    return {
        "verdict": verdict,
        "words": f"{SIGNS[verdict]} {prefix}{word}",
        "reasons": [] if verdict == "true" else list(reasons),
        "explanation": explanation,
    }


def verdict_cell(verdict: str) -> Cell:
    """The cell for true, false, unknown or not asked."""
    words = {"true": "holds", "false": "violated"}
    return f"{SIGNS[verdict]} {words.get(verdict, verdict)}", verdict.replace(" ", "-")


def when(unix_s: float) -> str:
    """A point in time, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_s))
