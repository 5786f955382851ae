"""Writes a bill of materials (CycloneDX 1.5) of what is shipped, and prints its licences.

`make sbom`, or `python scripts/sbom.py --extra stack --output FILE`. Reads the installed packages:
the project's dependencies and theirs, as the environment has them. Not the programs of the system
(MariaDB, Redis), which the image does not contain.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "scoreboard"
UNSTATED = "not stated"


def closure(project: str, extras: set[str]) -> Iterator[Distribution]:
    """The distributions that `project` with `extras` needs here, itself first."""
    seen: set[tuple[str, str]] = set()
    told: set[str] = set()
    waiting = [(project, {"", *extras})]
    while waiting:
        name, wanted = waiting.pop()
        found = distribution(name)
        if canonicalize_name(name) not in told:
            told.add(canonicalize_name(name))
            yield found
        for extra in wanted - {had for key, had in seen if key == canonicalize_name(name)}:
            seen.add((canonicalize_name(name), extra))
            for text in found.requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append((needed.name, {"", *needed.extras}))


def licence(found: Distribution) -> str:
    """As SPDX where the package says so, else its own words."""
    metadata = found.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classified = [
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or ()
        if each.startswith("License :: ") and each.count("::") > 1
    ]
    # Some packages put the whole text there; it begins with its name.
    words = str(metadata.get("License") or "").strip().partition("\n")[0]
    return words or " AND ".join(classified) or UNSTATED


def component(found: Distribution, kind: str = "library") -> dict[str, Any]:
    """One entry of the bill."""
    name, version = found.metadata["Name"], found.version
    address = f"pkg:pypi/{canonicalize_name(name)}@{version}"
    entry = {"type": kind, "name": name, "version": version, "purl": address, "bom-ref": address}
    if (stated := licence(found)) != UNSTATED:
        entry["licenses"] = [{"license": {"name": stated}}]
    return entry


def main() -> int:
    """Entry point; exit status 1 when a package states no licence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--extra", action="append", default=[])
    parser.add_argument("--output", type=Path, default=Path("dist/sbom.cdx.json"))
    options = parser.parse_args()
    project, *parts = closure(PROJECT, set(options.extra))
    parts.sort(key=lambda each: canonicalize_name(each.metadata["Name"]))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(project, "application")},
        "components": [component(each) for each in parts],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(bill, indent=2) + "\n", "utf-8")
    width = max(len(each.metadata["Name"]) for each in parts)
    for each in parts:
        print(f"{each.metadata['Name']:{width}}  {each.version:12}  {licence(each)}")
    print(f"{len(parts)} packages; written to {options.output}", file=sys.stderr)
    return int(any(licence(each) == UNSTATED for each in parts))


if __name__ == "__main__":
    sys.exit(main())
