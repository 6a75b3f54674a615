"""The live view of a chaos run, told a scripted sequence: what is shown after each word."""

import io

import pytest
from rich.console import Console

from regrow.chaos.evidence import Sample, Strike
from regrow.chaos.experiment import Action, Experiment, Hypothesis, Probe, Tolerance
from regrow.chaos.fault import Victim
from regrow.chaos.live import LiveView, watching
from regrow.chaos.narrator import Narrator
from regrow.chaos.progress import Count, Entered, Phase, Said, Sampled, Struck, Undone
from regrow.chaos.schedule import plan
from support.screen import Screen
from support.waiting import wait_until

PROBES = tuple(Probe(name, "task", Tolerance("max", 500)) for name in ("canary", "[odd]"))
EXPERIMENT = Experiment(
    "Two [bold] faults",
    seed=5,
    hypothesis=Hypothesis(PROBES),
    method=(Action("stop", at_s=1.0, for_s=2.0), Action("kill")),
)
VICTIM = Victim("root/workers/worker-0", "worker", 7, 1, 1)
STOPPED = Strike(1, "stop", {}, 11.0, 11.1, None, VICTIM, "worker-0", "SIGSTOP")


class Stand:
    """A view on a terminal of its own, under a clock that is set."""

    def __init__(self, width: int = 80, height: int = 25) -> None:
        self.now = 0.0
        self.written = io.StringIO()
        self.console = Console(
            file=self.written, force_terminal=True, width=width, height=height, highlight=False, color_system=None,
            _environ={"TERM": "xterm"},
        )  # fmt: skip
        self.view = LiveView(self.console, EXPERIMENT, plan(EXPERIMENT), lambda: self.now)

    def shown(self) -> str:
        """The view, drawn now."""
        with self.console.capture() as capture:
            self.console.print(self.view.drawn())
        return capture.get()


@pytest.fixture
def stand() -> Stand:
    return Stand()


def test_a_view_that_was_told_nothing_says_what_is_to_come(stand: Stand) -> None:
    shown = stand.shown()

    assert "Two [bold] faults" in shown
    assert "start: a tree comes up" in shown
    assert "0 of 2 done, 0 not undone yet, 0 missed" in shown
    assert "canary not looked at yet, [odd] not looked at yet" in shown
    assert "seed 5, 0:00" in shown


def test_a_phase_tells_how_much_of_it_is_over_and_left(stand: Stand) -> None:
    stand.view(Entered(Phase.METHOD, 10.0, 30.0))
    stand.now = 25.0
    assert "method: workload and faults" in stand.shown()
    assert "15 s, 15 s left" in stand.shown()
    assert "0:25" in stand.shown()

    stand.now = 45.0
    assert "35 s" in stand.shown()  # more than was known
    assert " left" not in stand.shown()

    stand.view(Entered(Phase.SETTLE, 45.0, 20.0))
    stand.now = 48.0
    assert "3 s, at most 17 s left" in stand.shown()

    stand.view(Entered(Phase.CHECK, 48.0))
    stand.now = 50.0
    assert "2 s left" not in stand.shown()
    assert "check: client, tasks and record are compared" in stand.shown()


def test_tasks_have_the_rates_of_the_last_ten_seconds(stand: Stand) -> None:
    for second in range(30):
        stand.view(Count(float(second), 20 * second, 10 * second, 10 * second, outstanding=3))
    stand.view(Count(30.0, 580, 290, 290 + 5, outstanding=1))

    shown = stand.shown()
    assert "580 sent (18.0/s), 290 acknowledged (9.0/s), 295 ended (9.5/s)" in shown
    assert "1 not undone yet" in shown


def test_faults_are_told_at_the_times_of_the_plan_with_what_became_of_them(stand: Stand) -> None:
    stand.view(Entered(Phase.METHOD, 10.0, 30.0))
    stand.view(Struck(STOPPED))
    assert "1.1 s  stop root/workers/worker-0 (pid 7): SIGSTOP" in stand.shown()
    assert "1 of 2 done" in stand.shown()

    stand.view(Struck(Strike(2, "kill", {}, 13.0, detail="[nobody] was there")))
    assert "3.0 s  kill missed: [nobody] was there" in stand.shown()
    assert "1 of 2 done, 0 not undone yet, 1 missed" in stand.shown()

    stand.view(Undone(Strike(1, "stop", {}, 11.0, 11.1, 13.1, VICTIM, "worker-0", "SIGSTOP")))
    assert "1.1 s  stop root/workers/worker-0 (pid 7): undone after 2.0 s" in stand.shown()
    assert "SIGSTOP" not in stand.shown()


def test_probes_have_the_state_of_their_last_look(stand: Stand) -> None:
    stand.view(Sampled(Sample(1.0, "canary", "during", True, 12.3456)))
    assert "canary ok (12.35), [odd] not looked at yet" in stand.shown()

    stand.view(Sampled(Sample(2.0, "canary", "during", False, None, "timeout")))
    assert "canary out of tolerance (timeout)" in stand.shown()


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (200, 60)])
def test_it_fits_into_the_terminal_whatever_it_was_told(width: int, height: int) -> None:
    stand = Stand(width, height)
    stand.view(Entered(Phase.SETTLE, 0.0, 1000.0))
    for number in range(50):
        stand.view(Struck(Strike(number, "net.cut", {}, 0.0, float(number), detail="long " * 60)))
        stand.view(Sampled(Sample(1.0, "canary", "during", False, None, "long " * 60)))

    lines = stand.shown().splitlines()

    assert len(lines) < height
    assert max(map(len, lines)) == min(width, 100)
    assert "49.0 s" in stand.shown()


def test_it_goes_at_the_end_and_what_was_said_stays(stand: Stand) -> None:
    with stand.view as view:
        view(Struck(STOPPED))
        view(Said("could not be undone: [it]"))
        wait_until(lambda: "stop root/workers/worker-0" in Screen(stand.written.getvalue()).text, 10, "it is drawn")
        assert not Screen(stand.written.getvalue()).is_cursor_shown

    screen = Screen(stand.written.getvalue())
    assert screen.text == "could not be undone: [it]"
    assert screen.is_cursor_shown


def test_whatever_ends_it_the_cursor_is_there_again(stand: Stand) -> None:
    with pytest.raises(KeyboardInterrupt), stand.view:
        raise KeyboardInterrupt

    screen = Screen(stand.written.getvalue())
    assert screen.text == ""
    assert screen.is_cursor_shown


@pytest.mark.parametrize(("is_terminal", "term"), [(False, "xterm"), (True, "dumb")])
def test_where_nothing_can_be_drawn_it_is_told_in_lines(is_terminal: bool, term: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, _environ={"TERM": term})

    with watching(console, EXPERIMENT, plan(EXPERIMENT)) as observer:
        assert isinstance(observer, Narrator)
