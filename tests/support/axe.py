"""axe-core, which judges the accessibility of a page as it is shown: contrast, names, roles, focus.

npm fetches it; without npm the tests are left out, except in CI.
"""

import subprocess
from pathlib import Path

from tests.support.browser import Browser
from tests.support.programs import program

VERSION = "4.14.1"
RUN = """
return axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations.map(
  ({id, impact, nodes}) => `${impact} ${id}: ` + nodes.slice(0, 3).map((node) =>
    node.html.slice(0, 90) + " " + [...node.any, ...node.all, ...node.none][0].message)
    .join(" | ")))
"""


def axe_source(folder: Path) -> str:
    """The script, fetched into `folder`."""
    npm = program("npm", "npm")
    subprocess.run(
        (npm, "pack", "--silent", f"axe-core@{VERSION}"), cwd=folder, check=True, timeout=120
    )
    archive = folder / f"axe-core-{VERSION}.tgz"
    subprocess.run(
        ("tar", "-xzf", archive, "package/axe.min.js"), cwd=folder, check=True, timeout=30
    )
    return (folder / "package" / "axe.min.js").read_text("utf-8")


def violations(browser: Browser, source: str) -> list[str]:
    """What axe-core finds wrong with the page as it is now: rule, impact, elements."""
    if browser.run("return typeof axe") == "undefined":
        # Not a script element: the pages' policy forbids those.
        browser.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
    found = browser.run(RUN)
    assert isinstance(found, list)
    return [str(line) for line in found]
