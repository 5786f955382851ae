"""Reads and writes result files, of this version and of earlier ones. Not what they say.

Whatever a file holds, reading it ends in a document or in one sentence.
"""

import logging
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.report.document import (
    KINDS,
    VERSION,
    Document,
    LoadResult,
    Result,
    SelfTestResult,
)

log = logging.getLogger(__name__)
CEILING_FILE = "ceiling.json"
"""Stands among the results, and is none."""
Kind = TypeVar("Kind", bound=Document)


class UnreadableResult(ValueError):
    """The file is no result document of a version known here; the message is one sentence."""


class _Head(msgspec.Struct):
    kind: str
    version: int = 1


def read_result(path: Path) -> Result:
    """The document in a file. Raises OSError and UnreadableResult."""
    return decode_result(path.read_bytes(), name=str(path))


def read_result_as(path: Path, kind: type[Kind]) -> Kind:
    """The document of that kind in a file. Raises OSError and UnreadableResult."""
    result = read_result(path)
    if not isinstance(result, kind):
        raise UnreadableResult(
            f"{path} holds a {result.__struct_config__.tag}, not a {kind.__struct_config__.tag}"
        )
    return result


def decode_result(content: bytes, *, name: str = "the document") -> Result:
    """The document in JSON of this version or an earlier one. Raises UnreadableResult."""
    try:
        head = msgspec.json.decode(content, type=_Head)
        kind = KINDS.get(head.kind)
        if kind is None:
            raise UnreadableResult(f"{name} is no result document: its kind is {head.kind[:40]!r}")
        if head.version < 1:
            raise UnreadableResult(f"{name} is no result document: no version is {head.version}")
        if head.version > VERSION:
            raise UnreadableResult(
                f"{name} has version {head.version}, this program reads up to version {VERSION}: "
                "use the newer one that wrote it"
            )
        if head.version == VERSION:
            found: Any = msgspec.json.decode(content, type=kind)
        else:
            old = msgspec.json.decode(content)
            if head.version == 1 and kind in UPGRADES:
                old = UPGRADES[kind](old)
            found = msgspec.convert({**_renamed(old), "version": VERSION}, kind, strict=False)
    except RecursionError:
        raise UnreadableResult(f"{name} is no result document: it is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise UnreadableResult(f"{name} is no result document: {error}") from None
    except UnreadableResult:
        raise
    except (AttributeError, TypeError, ValueError):
        # Only the upgrade touches values before their types are checked.
        raise UnreadableResult(f"{name} holds nothing that version {head.version} knew") from None
    result: Result = found
    return result


def encode_result(result: Document) -> bytes:
    """The bytes of a result file."""
    return msgspec.json.encode(result) + b"\n"


def write_result_file(result: Document, path: Path) -> None:
    """Write a result so that the file is there whole or not at all. Raises OSError."""
    write_whole(path, encode_result(result))


def keep_result(result: Document, path: Path) -> Path:
    """Write a result, to the folder for temporary files where it finds no room; where it is.

    Raises OSError when it can be written nowhere.
    """
    try:
        write_result_file(result, path)
    except OSError as error:
        # Asked for only now: where every such folder is full, asking is an error, too.
        elsewhere = Path(tempfile.gettempdir()) / path.name
        write_result_file(result, elsewhere)
        log.error("%s: %s; the result is %s", path, error.strerror or error, elsewhere)
        return elsewhere
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new. Raises OSError.

    A pipe or a device is written to instead, and a link stays one.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def schema() -> dict[str, Any]:
    """The JSON Schema of every result document."""
    (root,), definitions = msgspec.json.schema_components([Result], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Scoreboard result document, version {VERSION}",
        **root,
        "$defs": definitions,
    }


def _upgraded_run(old: dict[str, Any]) -> dict[str, Any]:
    """A load run of version 1 as version 2 has it.

    Version 1 held the counters of a second beside its other fields, called a limit that passed
    `kept`, and told findings apart from invariants.
    """
    verdict = dict(old.get("verdict", {}))
    verdict["limits"] = [
        {**limit, "passed": limit.get("passed", limit.get("kept"))}
        for limit in verdict.get("limits", ())
    ]
    findings = [_upgraded_finding(f) for f in old.get("findings", ())]
    findings += list(old.get("invariants", ()))
    if "correct" in verdict:
        violated = any(finding.get("verdict") == "false" for finding in findings)
        wrong = "false" if violated or not old.get("converged", True) else "unknown"
        verdict.setdefault("correctness", "true" if verdict["correct"] else wrong)
    return {
        **old,
        "verdict": verdict,
        "findings": findings,
        "seconds": [_upgraded_second(second) for second in old.get("seconds", ())],
    }


def _upgraded_finding(old: dict[str, Any]) -> dict[str, Any]:
    counts = old.get("counts", {})
    return {
        "invariant": old.get("witness"),
        "verdict": "false" if old.get("problems") else "true",
        "looked_at": ", ".join(f"{n.replace('_', ' ')} {v:,}" for n, v in counts.items() if v),
        "explanations": old.get("problems", []),
        "counts": counts,
    }


def _upgraded_second(old: dict[str, Any]) -> dict[str, Any]:
    named = ("t", "times", "heat")
    return {
        **{name: old[name] for name in named if name in old},
        "counters": {name: value for name, value in old.items() if name not in named},
    }


def _renamed(old: Any) -> Any:
    """A value of version 2 with the names of version 3, in keys and in texts.

    Version 2 called the processes of the harness flood, swarm and conductor.
    """
    if isinstance(old, dict):
        return {FIELDS.get(key) or _renamed(key): _renamed(value) for key, value in old.items()}
    if isinstance(old, list):
        return [_renamed(value) for value in old]
    if isinstance(old, str):
        return PROCESS.sub(lambda found: PROCESSES[found[0]], old)
    return old


FIELDS = {"swarm": "listener_cost", "flood_s": "load_s"}
PROCESSES = {"flood": "submitters", "swarm": "listeners", "conductor": "coordinator"}
PROCESS = re.compile(rf"\b(?:{'|'.join(PROCESSES)})\b")


def _upgraded_self_test(old: dict[str, Any]) -> dict[str, Any]:
    """Version 1 held each percentile of the stall in a field such as `p99_ms`."""
    stall = old.get("stall", {})
    reports = [
        {
            **report,
            "times_ms": {n.removesuffix("_ms"): v for n, v in report.items() if n.endswith("_ms")},
        }
        for report in stall.get("reports", ())
    ]
    return {**old, "stall": {**stall, "reports": reports}}


UPGRADES: dict[type[Document], Callable[[dict[str, Any]], dict[str, Any]]] = {
    LoadResult: _upgraded_run,
    SelfTestResult: _upgraded_self_test,
}
"""What makes a document of version 1 one of version 2."""
