"""The TypeScript client: its own tests in Node, and the real server from Node and from a browser.

Needs node and npm, which fetches the compiler; without them the tests are left out, except in CI.
"""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, api_settings, running_api, token
from tests.support.browser import open_browser
from tests.support.programs import program
from tests.support.services import Services

SOURCE = Path(__file__).resolve().parents[2] / "clients" / "typescript"
NPM_TIMEOUT_S = 180

STORY = """
const client = new ScoreboardClient(URL, {token: TOKEN, tickets: TICKETS});
const before = await client.top();
const events = client.follow({snapshot: true});
const whole = (await events.next()).value;
const accepted = await client.submit({userId: 1, increment: 10, idempotencyKey: "k"});
const again = await client.submit({userId: 1, increment: 10, idempotencyKey: "k"});
const update = (await events.next()).value;
await events.return();
let outcome = await client.outcome(accepted.submissionId);
let refused = null;
try { await client.submit({userId: 2, increment: 1}); } catch (error) { refused = error.problem; }
const missed = [];
for await (const event of client.follow({lastEventId: before.seq})) { missed.push(event); break; }
return {before, whole, update, outcome, refused, missed,
        same: accepted.submissionId === again.submissionId};
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled package, in a folder of its own."""
    program("node", "nodejs")
    program("npm", "npm")
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for command in (
        ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund"),
        ("npm", "run", "build"),
    ):
        done = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=NPM_TIMEOUT_S
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return folder


def expect_story(told: Any) -> None:
    """Alice gained ten points once; every way of looking says so."""
    alice, bob = (
        {"user": "Alice", "score": 1500, "userId": 1},
        {"user": "Bob", "score": 1400, "userId": 2},
    )

    def plain(rows: Any) -> Any:
        return [{key: row[key] for key in ("user", "score", "userId")} for row in rows]

    assert (told["before"]["seq"], plain(told["before"]["scores"])) == (0, [alice, bob])
    assert (told["whole"]["type"], told["whole"]["seq"]) == ("snapshot", 0)
    assert plain(told["whole"]["scores"]) == [alice, bob]
    assert told["same"] is True
    for update in (told["update"], told["missed"][0]):
        assert (update["type"], update["seq"]) == ("update", 1)
        assert (update["user"], update["score"], update["userId"]) == ("Alice", 1510, 1)
    outcome = told["outcome"]
    assert (outcome["status"], outcome["score"], outcome["seq"]) == ("applied", 1510, 1)
    assert (told["refused"]["status"], told["refused"]["code"]) == (403, "forbidden")


def script(api: Api, *, tickets: bool) -> str:
    values = {"URL": api.url, "TOKEN": token(1), "TICKETS": tickets}
    return "".join(f"const {name} = {json.dumps(value)};" for name, value in values.items()) + STORY


def test_the_clients_own_tests_pass_in_node(built: Path) -> None:
    done = subprocess.run(
        ("node", "--test", "test/"),
        cwd=built,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout


CONSUMER = """
import { ScoreboardClient, Refused } from "scoreboard-client";
const client = new ScoreboardClient("http://127.0.0.1:9", { token: () => "t" });
export async function last(): Promise<number> {
  for await (const event of client.follow({ snapshot: true })) {
    if (event.type === "update") return event.score;
  }
  throw new Error(Refused.name);
}
"""


def test_the_packed_package_is_complete_and_works_from_its_file(
    built: Path, tmp_path: Path
) -> None:
    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout

    [packed] = json.loads(run("npm", "pack", "--json", str(built)))
    run("npm", "init", "--yes")
    run("npm", "install", "--offline", "--no-audit", "--no-fund", f"./{packed['filename']}")
    (tmp_path / "use.mts").write_text(CONSUMER, "utf-8")
    told = run(
        *("node", "--input-type=module", "--eval"),
        'import * as all from "scoreboard-client"; console.log(Object.keys(all).join())',
    )
    options = ("--noEmit", "--strict", "--module", "nodenext", "--lib", "ES2022,DOM")
    run("node", str(built / "node_modules/typescript/bin/tsc"), *options, "use.mts")

    files = {file["path"] for file in packed["files"]}
    assert {"LICENSE", "README.md", "package.json"} <= files
    assert {"dist/scoreboard.js", "dist/scoreboard.d.ts"} <= files
    assert not any(path.startswith(("src/", "test/")) for path in files)
    assert "ScoreboardClient" in told


@pytest.mark.parametrize("tickets", [False, True], ids=["header", "ticket"])
async def test_node_submits_and_follows(built: Path, api: Api, tickets: bool) -> None:
    file = built / f"story-{tickets}.mjs"
    file.write_text(
        'import { ScoreboardClient } from "./dist/scoreboard.js";\n'
        f"const told = await (async () => {{ {script(api, tickets=tickets)} }})();\n"
        "console.log(JSON.stringify(told));\n",
        "utf-8",
    )

    process = await asyncio.create_subprocess_exec(
        "node", str(file), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 0
    expect_story(json.loads(output))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def elsewhere(built: Path) -> Iterator[str]:
    """The origin of a page that is not the server's own."""
    (built / "index.html").write_text("<!doctype html><title>A game</title>", "utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(built)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("tickets", [False, True], ids=["header", "ticket"])
async def test_a_page_of_another_origin_submits_and_follows(
    built: Path,
    elsewhere: str,
    services: Services,
    mysql_url: str,
    redis_url: str,
    task_queue: str,
    tmp_path: Path,
    tickets: bool,
) -> None:
    del built
    settings = replace(
        api_settings(
            mysql_url=mysql_url,
            redis_url=redis_url,
            temporal_address=services.temporal_address,
            task_queue=task_queue,
        ),
        stream_origins=(elsewhere,),
    )

    def visit(api: Api) -> Any:
        with open_browser(tmp_path / "profile") as browser:
            browser.open(f"{elsewhere}/index.html")
            return browser.driver.execute_async_script(
                "const done = arguments[arguments.length - 1];"
                "(async () => {"
                "const { ScoreboardClient } = await import('/dist/scoreboard.js');"
                f"{script(api, tickets=tickets)}"
                "})().then((value) => done({value}), (error) => done({error: String(error.stack)}))"
            )

    async with running_api(settings, embedded_worker=True) as api:
        found = await asyncio.to_thread(visit, api)

    assert "error" not in found, found
    expect_story(found["value"])
