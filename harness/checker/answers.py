"""I8, answers: all ok replies for one key agree, and the same key and body is never refused."""

from harness.checker.evidence import Evidence
from harness.checker.verdict import Finding, Inquiry
from harness.evidence.history import Outcome

TITLE = "repeats of one submission get the same answer"


def check(evidence: Evidence) -> Finding:
    """The verdict on I8. The answers compared are the submission ids in them."""
    inquiry = Inquiry("I8 answers", TITLE)
    for flaw in evidence.flaws:
        inquiry.doubt(flaw)
    repeated = 0
    for submission in evidence.submissions:
        attempts = submission.attempts
        if len(attempts) < 2 and submission.sid is None:
            continue
        repeated += len(attempts) > 1
        sids = {a.sid for a in attempts if a.outcome is Outcome.OK}
        if len(sids) > 1:
            inquiry.violation(
                f"{submission} was answered with different ids: {sorted(map(str, sids))}"
            )
        elif sids and submission.key is not None and submission.sid not in sids:
            inquiry.violation(
                f"{submission} was answered with id {sids.pop()}, its key makes it {submission.sid}"
            )
        reused = [a for a in attempts if a.code == "idempotency_key_reused"]
        if reused:
            inquiry.violation(
                f"{submission}: attempt {reused[0].number} had the same key and body and was "
                "refused as another body"
            )
    if not repeated:
        inquiry.doubt("no submission was repeated")
    return inquiry.conclude(f"{repeated} submissions that were sent more than once")
