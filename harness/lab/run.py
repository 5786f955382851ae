"""One run of the lab: hosts up, load and faults, verdict, hosts gone."""

import signal
import time
from pathlib import Path

from harness.chaos.run import Plan, Run, Say, environment_of, run_on
from harness.lab.faults.inject import injected
from harness.lab.network import entered
from harness.lab.system import Lab


def run_lab(folder: Path, chosen: Plan, say: Say) -> Run:
    """Raises LabError when the lab cannot be built, StackFailed when it does not start.

    Not a coroutine: this thread must be on the clients' host before any loop and thread begins.
    """
    import uvloop

    began = time.monotonic()
    # As Ctrl-C: whoever ends this program wants the hosts gone, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lab = Lab(folder / "lab", users=chosen.users, environment=environment_of(chosen))

    async def whole() -> Run:
        async with lab:
            say(f"the lab is up after {time.monotonic() - began:.1f} s")
            return await run_on(lab, folder, chosen, say, inject=injected)

    try:
        lab.build()
        with entered(lab.network.namespace("clients")):
            return uvloop.run(whole())
    finally:
        lab.destroy(keep=folder / "logs")
