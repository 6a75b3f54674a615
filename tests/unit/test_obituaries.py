"""Deaths of slots on record: each of a few, and of a storm how many there were."""

from regrow.actors.obituaries import PER_S, Obituaries


def reasons(obituaries: Obituaries, *times: float) -> list[str]:
    return [told.reason for now in times for told in obituaries.of(1, 2, 4711, "exit:3", now, 1e9)]


def test_a_death_says_which_slot_which_process_and_why() -> None:
    [told] = Obituaries("root/workers/worker-0").of(1, 2, 4711, "signal:SIGKILL", 5.0, 1e9)

    assert (told.event, told.path, told.incarnation, told.pid) == ("slot.down", "root/workers/worker-0/slot-1", 2, 4711)
    assert (told.at, told.reason) == (1e9, "signal:SIGKILL")


def test_a_storm_is_told_in_part_and_then_counted() -> None:
    obituaries = Obituaries("worker")

    assert reasons(obituaries, *[5.0 + 0.01 * n for n in range(40)]) == ["exit:3"] * PER_S
    assert reasons(obituaries, 6.1, 6.2) == [f"exit:3 ({40 - PER_S} deaths before it are not on record)", "exit:3"]
