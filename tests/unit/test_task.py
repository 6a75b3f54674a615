"""The state table: which moves there are, and which states are final."""

import itertools

import pytest

from regrow.actors.task import FINAL, TRANSITIONS, Move, State, after
from regrow.runtime.errors import InvalidTransition

ILLEGAL = [pair for pair in itertools.product(State, Move) if pair not in TRANSITIONS]


def test_the_final_states_are_those_of_the_api() -> None:
    assert {State.COMPLETED, State.FAILED} == FINAL


@pytest.mark.parametrize(("state", "move"), TRANSITIONS)
def test_a_legal_move_leads_where_the_table_says(state: State, move: Move) -> None:
    assert after(state, move) is TRANSITIONS[state, move]


@pytest.mark.parametrize(("state", "move"), ILLEGAL)
def test_an_illegal_move_is_refused_with_the_tasks_story(state: State, move: Move) -> None:
    with pytest.raises(InvalidTransition, match="claimed by a, then by b"):
        after(state, move, "claimed by a, then by b")


def test_every_state_can_be_reached_from_queued_and_every_unfinished_one_can_end() -> None:
    def reachable(start: State) -> set[State]:
        seen, fresh = {start}, [start]
        while fresh:
            here = fresh.pop()
            fresh += [to for (state, _), to in TRANSITIONS.items() if state is here and to not in seen]
            seen.update(fresh)
        return seen

    assert reachable(State.QUEUED) == set(State)
    assert all(reachable(state) & FINAL for state in State)


def test_only_a_claim_starts_work() -> None:
    assert {move for (_, move), to in TRANSITIONS.items() if to is State.RUNNING} == {Move.CLAIM}
