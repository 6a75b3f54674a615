"""A bug that is planted into a core, or into a fence of the store, is found within a hundred seeds, under the right name."""

import pytest

from regrow.chaos.simulation.scenario import Result
from regrow.chaos.simulation.simulation import simulate
from support import planted
from support.planted import Plant

SEEDS = 100
PLANTS: dict[Plant, set[str]] = {
    planted.no_attempt_check: {"no_overwrite"},
    planted.no_claim_series: {"liveness", "conservation"},
    planted.lost_requeue: {"liveness", "bounded_reexec"},
    planted.double_credit: {"capacity"},
    planted.double_grant: {"capacity"},
    planted.beat_not_kept: {"tree_healthy", "bounded_reexec", "liveness"},
    planted.pulse_not_kept: {"bounded_reexec"},
    planted.adoption_forgotten: {"bounded_reexec"},
    planted.orphans_forgotten: {"bounded_reexec", "liveness"},
    planted.unread_queue_lost: {"bounded_reexec"},
    planted.early_acknowledgement: {"ack_after_store"},
    planted.hang_forgiven: {"bounded_detection", "liveness", "tree_healthy"},
    planted.no_restart_after_silence: {"tree_healthy", "liveness"},
    planted.words_not_counted: {"liveness", "tree_healthy"},
    planted.drop_unheeded: {"overlap"},
    planted.running_given_back: {"bounded_reexec"},
    planted.resent_twice: {"bounded_reexec", "conservation"},
    planted.doubtful_given_back: {"bounded_reexec"},
    planted.settled_in_part: {"liveness", "bounded_reexec"},
    planted.room_not_looked_at: {"conservation"},
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    found = first_invalid()

    assert found is not None, f"{SEEDS} seeds did not notice: {plant.__doc__}"
    assert found.invariant in PLANTS[plant], (found.seed, found.invariant, found.detail)
    assert found.lines, "an invalid run shows its last events"


def first_invalid() -> Result | None:
    return next((found for found in map(simulate, range(SEEDS)) if not found.is_valid), None)
