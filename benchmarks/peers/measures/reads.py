"""GET /scores per second: the board, beside the same framework sending a constant."""

from benchmarks.peers import closed_loop
from benchmarks.peers.backends import Backends
from benchmarks.peers.measures.submissions import WrongAnswer
from benchmarks.peers.processes import run_json
from benchmarks.peers.programs import peer

CONNECTIONS = 64
WARM_UP_S = 0.5


async def measure(name: str, backends: Backends, *, duration_s: float) -> float:
    """Answers per second of one round of one peer, started anew."""
    async with peer(name, backends) as running:
        for seconds in (WARM_UP_S, duration_s):
            task = closed_loop.Task(
                port=running.port, connections=CONNECTIONS, duration_s=seconds, what="read"
            )
            answers = await run_json("closed_loop", task, closed_loop.Answers)
            if not answers.clean:
                raise WrongAnswer(f"{name}: answers {answers.statuses}, {answers.lost} lost")
        return answers.good / answers.elapsed_s
