"""The workflow of an operator's order about a player: carried out, then shown.

Not what an order does: `scoreboard.players`; nor its transaction: `worker.database.players`.
"""

from dataclasses import dataclass

from temporalio import workflow

from scoreboard import contract
from worker.workflows.steps import CHANGE_PLAYER, PUBLISH, run_step


@dataclass(frozen=True, kw_only=True)
class PlayerChangeResult:
    """Who stands on the board after `seq`, None for a removed player; or why nothing was done.

    `digest` tells the action that was carried out from any other one.
    """

    refusal: str = ""
    seq: int = 0
    user_id: int = 0
    user: str | None = None
    score: int | None = None
    digest: str = ""


@workflow.defn(name=contract.PLAYER_WORKFLOW)
class PlayerChange:
    """One order; a second run with its id finds what the first one did."""

    @workflow.run
    async def run(self, order: bytes) -> PlayerChangeResult:
        """Returns when the order is in the ledger and published."""
        result: PlayerChangeResult = await run_step(
            CHANGE_PLAYER, order, result_type=PlayerChangeResult
        )
        if result.seq:
            await run_step(PUBLISH, result.seq)
        return result
