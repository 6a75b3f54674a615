"""One violation, planted into a history that has none: the checker names it, and nothing else, and tells its story."""

from random import Random

import pytest

from regrow.chaos.checker import INVARIANTS, check
from regrow.chaos.evidence import Verdict
from support.histories import valid
from support.plants import CANCELS, ROWS, Planted, Row, killed_at_once_and_its_number_again_later, moments

PLACES = 4  # of each plant, in different histories
SEEDS = 80  # that are tried for them


def planted(row: Row) -> list[tuple[int, Planted]]:
    """The plant in some histories that have a place for it, each with its seed."""
    found: list[tuple[int, Planted]] = []
    for seed in range(SEEDS):
        plant = row.plant(valid(seed, **row.course), Random(seed))
        found += [(seed, plant)] if plant else []
        if len(found) == PLACES:
            break
    return found


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_planted_violation_is_found_and_no_other(row: Row) -> None:
    cases = planted(row)

    assert len(cases) == PLACES, f"only {len(cases)} of {SEEDS} histories have a place for it"
    for seed, plant in cases:
        findings = check(plant.evidence)
        invalid = {it.invariant: it for it in findings.judgements if it.verdict is Verdict.INVALID}
        assert set(invalid) == set(row.invalid), f"seed {seed}: {findings.reasons}"
        assert findings.verdict is Verdict.INVALID
        judged = invalid[row.invalid[0]]
        assert judged.violations == 1
        assert all(it.checked >= it.violations for it in invalid.values())
        example = judged.counter_examples[0]
        assert f"{plant.subject} ".strip() in f"{example.subject} "
        if plant.at is not None:
            assert any(abs(at - plant.at) < 1e-6 for at in moments(example.timeline, plant.source)), (seed, example)


def test_the_end_of_a_later_process_of_the_same_number_is_no_sign_of_work() -> None:
    histories = [killed_at_once_and_its_number_again_later(valid(seed, **CANCELS), Random(seed)) for seed in range(9)]
    made = [evidence for evidence in histories if evidence is not None]

    assert made
    assert Verdict.INVALID not in {check(evidence).verdict for evidence in made}


def test_every_invariant_has_a_planted_violation_of_its_own() -> None:
    assert {row.invalid[0] for row in ROWS.values()} == set(INVARIANTS)
