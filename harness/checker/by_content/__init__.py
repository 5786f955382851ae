"""Judges a server that shows what the specification has and no more: answers, events with user
and score, and the top ten.

`account_of` explains every event by the submission that it shows; `check` asks the invariants.
Pure, as `harness.checker` is, which decides which of the two ways a run is judged.
"""

from harness.checker.by_content.account import Account, account_of
from harness.checker.by_content.findings import check

__all__ = ["Account", "account_of", "check"]
