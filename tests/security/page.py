"""The section `security` of RESULTS.md: what was tried on the server, and what was found. Pure but
for reading the kept result files; nothing is attacked here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.report import judged, number, results_of
from harness.measure.machine import commit_of

SECTION = "security"
COMMAND = "python -m tests.security"
VERSION = 2
"""Of the result file: each part has its own commit, since parts may run at different times."""


def read_kept(file: Path) -> dict[str, Any]:
    """The kept document, or an empty one; one of another version counts as none."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        document = {}
    if document.get("version") != VERSION:
        return {"kind": "scoreboard-security", "version": VERSION, "parts": []}
    return dict(document)


def merged(
    document: Mapping[str, Any],
    name: str,
    rows: list[dict[str, Any]],
    machine: Mapping[str, Any],
    started_s: int,
    *,
    order: Sequence[str],
) -> dict[str, Any]:
    """The document with the rows of one part replaced."""
    new = {"name": name, "started_unix_s": started_s, "machine": machine, "rows": rows}
    parts = [part for part in document["parts"] if part["name"] != name]
    return {**document, "parts": sorted([*parts, new], key=lambda part: order.index(part["name"]))}


def added(
    document: Mapping[str, Any], name: str, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows with what the kept part has of the same: one run in slices is one row."""
    kept = {
        row["what"]: row
        for part in document["parts"]
        if part["name"] == name
        for row in part["rows"]
    }
    none = {"inputs": 0, "server_errors": 0, "finds": []}
    return [
        {**row, **{count: row[count] + kept.get(row["what"], none)[count] for count in none}}
        for row in rows
    ]


def section(document: Mapping[str, Any], source: str, kept: Path) -> str:
    """The tables; that of fairness from the comparison kept in the folder `kept`."""
    rows = [
        f"| {row['what']} | {row['inputs']:,} | {row['server_errors']} | {len(row['finds'])} |"
        f" {commit_of(part['machine'])} |"
        for part in document["parts"]
        for row in part["rows"]
    ]
    return "\n".join(
        [
            "## Security",
            "",
            f"Hostile and random inputs (`{COMMAND}`). A finding is an answer that the contract"
            " does not allow, an exception other than a refusal, or a broken invariant. Result"
            f" file: [`{source}`]({source}).",
            "",
            "| test | inputs | server errors | findings | commit |",
            "|---|---:|---:|---:|---|",
            *rows,
            *_fairness(kept / "peers.json"),
        ]
    )


def _fairness(file: Path) -> list[str]:
    """What one hostile user at full speed costs the others, as `make bench-peers` measured it."""
    measured = json.loads(file.read_text("utf-8"))
    commits = [
        commit_of(part["machine"])
        for part in measured["settings"].get("parts", [measured])
        if "fairness" in part.get("figures", measured["settings"]["groups"])
    ]
    rows = [
        f"| {result.target.what} | ≤ {number(result.target.bound)} {result.target.unit} |"
        f" {judged(result)} | {number(result.low)} – {number(result.high)} | {result.verdict} |"
        for result in results_of(measured)
        if result.target.group == "fairness"
    ]
    if not rows:
        return []
    return [
        "",
        "One hostile user at full speed, with batches of 500 on so many connections, beside users"
        f" who keep to their limits (`make bench-peers ONLY=fairness`, commit"
        f" {', '.join(commits)}). Result file: [`docs/results/{file.name}`]"
        f"(docs/results/{file.name}).",
        "",
        "| others | target | median | spread | verdict |",
        "|---|---|---:|---|---|",
        *rows,
    ]
