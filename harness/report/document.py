"""The result documents: the types of what a command leaves behind as JSON.

Not how a figure comes about, nor how it is shown; files are `result_files`' business. The published
schema is `docs/result.schema.json`; what readers may rely on is in `docs/results-format.md`.
"""

from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec

from harness.capabilities import Capabilities
from harness.checker.verdict import Finding, Verdict
from harness.measure.machine import commit_of
from harness.report.listener_cost import ListenerCost

VERSION = 3
"""Counted up when a field changes its meaning or goes away. Added fields leave it as it is."""
Settings: TypeAlias = dict[str, str | int | float | bool]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a document. Unknown fields are ignored, so that newer files stay readable."""


class Machine(Part, frozen=True, kw_only=True):
    """Where a figure comes from: `harness.measure.machine.fingerprint`."""

    cpus: int | None = None
    cpu: str = ""
    memory_mib: int = 0
    kernel: str = ""
    python: str = ""
    commit: str = ""
    changed: bool = False
    """The tree differed from the commit."""
    system: str = ""

    @property
    def revision(self) -> str:
        """The commit, marked when the tree had changes that it does not hold."""
        return commit_of(msgspec.structs.asdict(self))


class Window(Part, frozen=True, kw_only=True):
    """The measured seconds, start <= t < end, counted from the schedule's first second."""

    start: int
    end: int


class LimitResult(Part, frozen=True, kw_only=True):
    """A limit of the SLO and what was measured: µs, a share or a rate. None: too few samples."""

    limit: str
    figure: str = ""
    measured: float | None = None
    passed: bool


class LoadVerdict(Part, frozen=True, kw_only=True):
    """Was the generator on schedule, did the server keep its promises, was it within the SLO?"""

    valid: bool
    correct: bool
    within_slo: bool
    good: bool
    correctness: Verdict = Verdict.UNKNOWN
    """What `check` says of the same run: `correct` is true for "true" only."""
    invalid: list[str] = []
    incorrect: list[str] = []
    limits: list[LimitResult] = []


class Member(Part, frozen=True, kw_only=True):
    """A Locust user that took part: `submitters` send, `listeners` hold streams."""

    kind: str
    host: str = ""
    pid: int = 0
    status: dict[str, Any] = {}
    """Its last report: connections, listeners, positions, CPU."""

    def __post_init__(self) -> None:
        if not isinstance(self.status.get("listeners", 0), int):
            raise ValueError("the listeners of a member are no number")


class Sample(Part, frozen=True, kw_only=True):
    """What the processes used in the second that ended at `t`, or in the `span_s` until then."""

    t: int
    span_s: int = 1
    machine: dict[str, float] = {}
    processes: dict[str, dict[str, float]] = {}
    redis: dict[str, float] = {}
    mysql: dict[str, float] = {}
    temporal: dict[str, float] = {}


class Resources(Part, frozen=True, kw_only=True):
    """Samples of the whole run, means of the measured window, and the bottleneck by name."""

    samples: list[Sample] = []
    cores: dict[str, float] = {}
    rss_mib: dict[str, float] = {}
    counters: dict[str, float] = {}
    busy: float | None = None
    elsewhere: float | None = None
    harness_share: float | None = None
    bottleneck: str = ""


class Fault(Part, frozen=True, kw_only=True):
    """A fault the run saw, in seconds of the run."""

    name: str
    start: float
    end: float


class Second(Part, frozen=True, kw_only=True):
    """A second of the schedule, or a span: counters, percentiles in µs by histogram, heat map."""

    t: int
    span_s: int = 1
    counters: dict[str, int] = {}
    times: dict[str, dict[str, int]] = {}
    heat: dict[str, dict[int, int]] = {}


class Ceiling(Part, frozen=True, kw_only=True):
    """Requests per second on the null server: of the generator's CPU and of the clock."""

    per_core: float
    achieved: float = 0.0
    us_per_request: float
    measured_unix_s: float = 0.0


class Document(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all results have."""

    version: int = VERSION
    started_unix_s: Annotated[float, msgspec.Meta(ge=0, lt=1 << 36)] = 0.0
    machine: Machine = Machine()


class LoadResult(Document, frozen=True, kw_only=True, tag="scoreboard-run"):
    """A load run. `totals` count the whole run, `counts` and `figures` the measured window."""

    run_id: str = ""
    label: str = ""
    target: str = ""
    capabilities: Capabilities = Capabilities()
    """What the server shows beyond the specification; what it does not show was not asked."""
    settings: Settings
    window: Window
    verdict: LoadVerdict
    counts: dict[str, int]
    totals: dict[str, int] = {}
    figures: dict[str, float | None]
    findings: list[Finding] = []
    final_seq: int = -1
    converged: bool = True
    members: list[Member] = []
    listener_cost: ListenerCost = ListenerCost()
    backlog: list[tuple[int, int]] = []
    """Pairs (second, seq of the board then)."""
    resources: Resources
    faults: list[Fault] = []
    seconds: list[Second]
    histograms: dict[str, str] = {}
    """HdrHistogram's base64 encoding, by name, of the measured window."""
    ceiling: Ceiling | None = None

    @property
    def seconds_measured(self) -> int:
        """Length of the measured window, at least 1."""
        return max(1, self.window.end - self.window.start)

    @property
    def listeners(self) -> int:
        """Listeners over all processes."""
        return sum(m.status.get("listeners", 0) for m in self.members if m.kind == "listeners")


class SearchPlan(Part, frozen=True, kw_only=True):
    """What a capacity search was held to."""

    slo: str
    seconds: float
    repeats: int


class SearchStep(Part, frozen=True, kw_only=True):
    """One trial of a search."""

    phase: str
    load: int
    held: bool


class Search(Part, frozen=True, kw_only=True):
    """The greatest load that was sustained, 0 for none. Unbounded: even the most allowed was."""

    over: Literal["rate", "listeners"]
    fixed: int
    load: int
    bounded: bool
    bottleneck: str = ""
    steps: list[SearchStep] = []


class TrialResult(Part, frozen=True, kw_only=True):
    """A load run of a search, in short. Times in µs, rates per second."""

    rate: int
    listeners: int
    phase: str = ""
    held: bool
    why: str = ""
    run_id: str = ""
    goodput: float | None = None
    response_p50: float | None = None
    response_p99: float | None = None
    lag_p99: float | None = None
    in_flight: float = 0.0
    deliveries_per_s: float = 0.0
    cores: dict[str, float] = {}
    bottleneck: str = ""


Bound: TypeAlias = tuple[float | None, float | None]


class LawFit(Part, frozen=True, kw_only=True):
    """Coefficients of the Universal Scalability Law."""

    rate: float
    contention: float
    coherency: float


class Scalability(Part, frozen=True, kw_only=True):
    """The law fitted to all trials, or why none is claimed. None stands for no bound."""

    points: list[tuple[float, float]] = []
    refused: str = ""
    fit: LawFit | None = None
    peak_rate: float | None = None
    peak: Bound = (None, None)
    peak_load: Bound = (None, None)
    contention: Bound = (None, None)
    coherency: Bound = (None, None)


class CapacityResult(Document, frozen=True, kw_only=True, tag="scoreboard-capacity"):
    """A search for the greatest load within limits."""

    command: str = ""
    plan: SearchPlan
    searches: list[Search]
    trials: list[TrialResult]
    scalability: Scalability


class Side(Part, frozen=True, kw_only=True):
    """One server of a side-by-side, over all its runs."""

    name: str
    target: str
    runs: list[str]
    valid: bool
    correctness: Verdict
    within_slo: bool
    reasons: list[str] = []
    bottleneck: str = ""


class SideFigure(Part, frozen=True, kw_only=True):
    """One figure, a value a side: µs (time), 0 to 1 (share) or a number (count)."""

    name: str
    kind: Literal["time", "share", "count"]
    median: list[float | None]
    least: list[float | None]
    most: list[float | None]


class SideBySideResult(Document, frozen=True, kw_only=True, tag="scoreboard-sides"):
    """Several servers under the same load, in turn."""

    sides: list[Side]
    figures: list[SideFigure]
    differences: list[str] = []
    """Settings and machines that were not the same."""


class Proof(Part, frozen=True, kw_only=True):
    """A planted fault and what was reported of it."""

    planted: str
    reported: str
    exact: bool


class StallReport(Part, frozen=True, kw_only=True):
    """One tool's view of the same stall: requests measured, and ms by each percentile they have."""

    tool: str
    requests: int
    times_ms: dict[str, float]


class Stall(Part, frozen=True, kw_only=True):
    """A stall as this harness and stock Locust report it."""

    planted: str
    intended: int
    reports: list[StallReport]


class SelfTestResult(Document, frozen=True, kw_only=True, tag="scoreboard-selfproof"):
    """Faults planted in the null server, and whether exactly these were reported."""

    good: bool
    proofs: list[Proof]
    stall: Stall
    stall_shown: bool = True


class TroubleCase(Part, frozen=True, kw_only=True):
    """A planted trouble: what the command must say and end with, and what it said."""

    planted: str
    must_say: str
    must_exit: int
    said: str
    exit: int
    held: bool
    seconds: float = 0.0


class TroubleResult(Document, frozen=True, kw_only=True, tag="scoreboard-trouble"):
    """Troubles planted around the harness, and whether each gave the verdict that it must."""

    good: bool
    troubles: list[TroubleCase]
    not_planted: list[str] = []
    """Troubles that this machine does not allow, with the reason."""


class GateErrors(Part, frozen=True, kw_only=True):
    """Decisions of the regression gate that were wrong."""

    comparisons: int
    decisions: int
    wrong: int
    rate: float


class BenchProofResult(Document, frozen=True, kw_only=True, tag="scoreboard-bench-proof"):
    """How often the regression gate judges wrongly: really run, and resampled.

    The rates are those of times; `real` has instructions too, where valgrind could count them.
    """

    good: bool
    trials: int
    cases: int
    rounds: int
    planted: float
    false_alarm_rate: float
    false_alarm_comparisons: float | None = None
    """Share of the resampled comparisons with at least one false alarm."""
    miss_rate: float
    miss_rates: dict[str, float] = {}
    """By slowdown."""
    instruction_spread: float | None = None
    """The largest growth between two counts of equal code."""
    instruction_growth: float | None = None
    """The least growth that the planted slowdown caused."""
    minutes: float | None = None
    """What one comparison took."""
    real: dict[str, GateErrors]


class InjectedFault(Part, frozen=True, kw_only=True):
    """A fault of a chaos run and its proof."""

    number: int
    kind: str
    target: str
    at_s: float
    held_s: float
    fired: str | None = None
    recovery_ms: float | None = None


class ChaosSecond(Part, frozen=True, kw_only=True):
    """What clients saw in one second of a chaos run."""

    t: int
    ok: int = 0
    unknown: int = 0
    times: dict[str, dict[str, int]] = {}


class ChaosResult(Document, frozen=True, kw_only=True, tag="scoreboard-chaos"):
    """A run under faults, judged with the database and from the outside."""

    seed: int
    short: bool
    commit: str
    good: bool
    verdict: Verdict
    verdict_black_box: Verdict
    seconds: float = 0.0
    load_s: float
    accepted: int
    refused: int
    unknown: int
    attempts: int
    attempts_unknown: int
    attacks: int
    reads: int
    changes: int
    listeners: int
    reconnects: int
    resets: int
    counts: dict[str, int] = {}
    about: dict[str, Any] = {}
    findings: list[Finding]
    findings_black_box: list[Finding] = []
    faults: list[InjectedFault]
    seconds_seen: list[ChaosSecond] = []


Result: TypeAlias = (
    LoadResult
    | CapacityResult
    | SideBySideResult
    | SelfTestResult
    | TroubleResult
    | BenchProofResult
    | ChaosResult
)
KINDS: dict[str, type[Document]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(Result)
}
