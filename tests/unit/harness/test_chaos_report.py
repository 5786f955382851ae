"""The chaos report: a document's section is replaced, never doubled."""

from harness.chaos.report import BEGIN, END, markdown, with_section

REPORT = {
    "seed": 7,
    "short": False,
    "commit": "abc",
    "machine": {"cpus": 2, "python": "3.11"},
    "verdict": "true",
    "verdict_black_box": "true",
    "flood_s": 612.3,
    "accepted": 123456,
    "refused": 5,
    "unknown": 6,
    "attempts": 130000,
    "attempts_unknown": 900,
    "attacks": 10,
    "listeners": 200,
    "reconnects": 900,
    "changes": 123450,
    "resets": 3,
    "reads": 40,
    "findings": [
        {"invariant": "I1 exactly once", "title": "once", "verdict": "true", "looked_at": "rows"}
    ],
    "faults": [
        {"kind": "kill -9", "target": "redis", "fired": "pid 1", "recovery_ms": 120.0},
        {"kind": "kill -9", "target": "mysql", "fired": None, "recovery_ms": None},
    ],
}


def test_the_section_says_seed_commit_counts_and_each_fault() -> None:
    section = markdown(REPORT)

    assert "make chaos SEED=7`" in section
    assert "commit `abc`" in section
    assert "123,456 acknowledged" in section
    assert "2 faults of 1 kinds on 2 processes and edges, 1 proven" in section
    assert "| kill -9 | mysql never, redis 120 |" in section
    assert "| I1 exactly once: once | true | rows |" in section


def test_a_new_section_takes_the_place_of_the_old_one() -> None:
    document = f"# Results\n\nbefore\n\n{BEGIN}\nfrom another run\n{END}\n\nafter\n"

    changed = with_section(document, markdown(REPORT))

    assert changed.count(BEGIN) == changed.count(END) == 1
    assert "another run" not in changed
    assert changed.startswith("# Results\n\nbefore")
    assert changed.endswith("after\n")


def test_a_document_without_a_section_gets_one_at_its_end() -> None:
    changed = with_section("# Results\n", markdown(REPORT))

    assert changed.index("## Reliability") < changed.index(BEGIN)
