"""A link is cut, both ways and one way, delayed, reset, or passes fragments: nothing is lost, at most one run more, and all meet again.

Each part is a command of its own, and each link goes through a proxy (``support.parts`` draws them).  The witness file, to
which tasks write when they start, is the evidence.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regrow.chaos.link_fault import Cut, Delay, Reset, Slice, Throttle, Way
from regrow.gateway.client import Client, TaskFuture
from support.functions import echo
from support.parts import LINKS, Parts, Witness, parts, square
from support.waiting import wait_until

SHORT_CUT_S = (
    6.0  # twice the window after which a silent one is held for lost, and longer than a call to the store waits
)
LONG_CUT_S = 60.0
PROMISED_REJOIN_S = 2.0  # after a cut is healed, work goes through the link again
REJOIN_WITHIN_S = 5.0  # here: the same, on a loaded machine
DELAYED_FOR_S = 8.0
PATIENCE_S = 180.0  # of the client: longer than any cut
TASK_S = 0.5  # what one task takes
SHORT_CUTS = [
    pytest.param(link, way, id=f"{link}-{way.name}")
    for link, ways in {
        "worker": (Way.BOTH, Way.OUT, Way.BACK),
        "dispatcher-store": (Way.BOTH, Way.BACK),
        "gateway-store": (Way.BOTH, Way.BACK),
        "client": (Way.BOTH, Way.BACK),
    }.items()
    for way in ways
]  # the slow ones are all of them


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """All parts, with one worker behind the proxy and one beside the dispatcher."""
    with parts(tmp_path_factory.mktemp("parts")) as it:
        it.far = it.worker("far", 2, is_far=True)
        it.worker("near", 2, is_far=False)
        yield it


@pytest.fixture(autouse=True)
def healed(whole: Parts) -> Iterator[None]:
    yield
    whole.heal()


@pytest.fixture
def client(whole: Parts) -> Iterator[Client]:
    """It reaches the gateway through its proxy."""
    with Client(whole.far_url, patience_s=PATIENCE_S) as it:
        yield it


class Work:
    """Tasks one after another, numbered, and what has become of them."""

    def __init__(self, client: Client, witness: Witness) -> None:
        self.client = client
        self.witness = witness
        self.futures: list[TaskFuture[int]] = []

    def submit(self, count: int, seconds: float = TASK_S) -> list[TaskFuture[int]]:
        first = len(self.futures)
        path = str(self.witness.path)
        new = [self.client.submit(square, path, number, seconds) for number in range(first, first + count)]
        self.futures += new
        return new

    def until_started(self, count: int) -> None:
        wait_until(lambda: len(self.witness.starts()) >= count, 30, f"{count} tasks have started")

    def assert_right(self, most_starts: int) -> None:
        """Every value is right, and nothing was started more often than that."""
        assert [future.result(60) for future in self.futures] == [n * n for n in range(len(self.futures))]
        starts = self.witness.starts()
        assert sorted(starts) == list(range(len(self.futures)))
        assert max(starts.values()) <= most_starts, starts


@pytest.fixture
def work(client: Client, tmp_path: Path) -> Work:
    return Work(client, Witness(tmp_path / "witness"))


def assert_survived(whole: Parts, work: Work, link: str, way: Way, for_s: float) -> None:
    """Cut one link with work before it, under way, and submitted meanwhile."""
    lost_before = len(whole.dispatcher.events("worker.lost"))
    work.submit(12)
    work.until_started(4)

    with whole.links[link].fault(Cut(), way):
        began = time.monotonic()
        meanwhile = work.submit(12, 0.05)
        wait_until(lambda: time.monotonic() > began + for_s, for_s + 5, "the cut has lasted", every=0.1)
        pending = [future for future in work.futures if not future.done()]
    healed_at = time.monotonic()

    lost = len(whole.dispatcher.events("worker.lost")) - lost_before
    if link == "worker":
        wait_until(lambda: far_works_since(whole, work, healed_at), 60, "a task starts behind the link")
        assert lost == 1, "the cut hit, and it is one loss"
    else:
        wait_until(lambda: any(future.done() for future in pending), 60, "a task ends over the link")
        assert set(meanwhile) <= set(pending), "the cut hit"
        assert lost == 0, "no worker is given up for what happens elsewhere"
    rejoined_s = time.monotonic() - healed_at
    work.assert_right(most_starts=2 if link == "worker" else 1)
    assert rejoined_s < REJOIN_WITHIN_S


def events(whole: Parts, *names: str) -> int:
    """How many of these were logged so far."""
    return sum(len(part.events(name)) for part in (whole.dispatcher, whole.gateway, whole.far) for name in names)


def far_works_since(whole: Parts, work: Work, since: float) -> bool:
    """Whether the far worker has started something since then; there is always something to be started."""
    if all(future.done() for future in work.futures):
        work.submit(4, 0.05)
    slots = whole.far.slots()
    return any(pid in slots and at > since for _, pid, at in work.witness.lines())


@pytest.mark.parametrize(("link", "way"), SHORT_CUTS)
def test_a_cut_of_twice_the_window_costs_one_run_more_at_most_and_heals_at_once(
    whole: Parts, work: Work, link: str, way: Way
) -> None:
    assert_survived(whole, work, link, way, SHORT_CUT_S)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", [Way.BOTH, Way.OUT, Way.BACK])
@pytest.mark.parametrize("link", LINKS)
def test_a_cut_of_a_minute_costs_one_run_more_at_most_and_heals_at_once(
    whole: Parts, work: Work, link: str, way: Way
) -> None:
    assert_survived(whole, work, link, way, LONG_CUT_S)


def test_a_client_that_lost_the_answer_to_a_submit_repeats_it_and_nothing_runs_twice(whole: Parts, work: Work) -> None:
    work.submit(1)[0].result(30)
    link = whole.links["client"]

    with link.fault(Delay(PATIENCE_S), Way.BACK):
        work.submit(6)
        work.until_started(2)  # the others wait for the answer, to leave together
        connected = link.accepted
        link.apply(Reset())
        wait_until(lambda: link.accepted > connected, 10, "it tries again")
        link.heal()

    work.assert_right(most_starts=1)


def test_every_connection_reset_at_once_costs_nothing(whole: Parts, work: Work) -> None:
    work.submit(12)
    work.until_started(4)

    connected = {link: proxy.accepted for link, proxy in whole.links.items()}
    for proxy in whole.links.values():
        proxy.apply(Reset())
    again = ("worker", "dispatcher-store")  # those who always have something to say
    wait_until(lambda: all(whole.links[link].accepted > connected[link] for link in again), 10, "they try again")
    whole.heal()

    work.assert_right(most_starts=1)
    assert len(whole.workers()) == 2


@pytest.mark.parametrize(
    ("fault", "links"),
    [
        pytest.param(Delay(0.2, jitter_s=0.05), LINKS, id="200ms-everywhere"),
        pytest.param(Delay(1.5), ("worker", "client"), id="a-step-of-1500ms"),
    ],
)
def test_a_delay_shorter_than_the_window_is_no_death(
    whole: Parts, work: Work, fault: Delay, links: tuple[str, ...]
) -> None:
    """Beats come every second, so a step of d makes a gap of 1 + d; it is made in both directions at once."""
    changes = ("worker.lost", "worker.joined", "worker.welcome", "dispatcher.lost", "store.lost")
    before = events(whole, *changes)

    began = time.monotonic()
    for link in links:
        whole.links[link].apply(fault)
    while time.monotonic() < began + DELAYED_FOR_S:
        work.submit(6)
        wait_until(work.futures[-1].done, 30, "a round of work is done")
    whole.heal()

    work.assert_right(most_starts=1)
    assert events(whole, *changes) == before


def test_frames_that_arrive_in_fragments_are_read_whole(whole: Parts, client: Client) -> None:
    data = [bytes([number]) * 1000 for number in range(16)]
    before = events(whole, "frame.dropped", "worker.lost", "dispatcher.lost", "store.lost")
    for proxy in whole.links.values():
        proxy.apply(Slice(257, pause_s=0.001))  # some 5 for each frame; a loaded machine makes the pauses longer

    futures = [client.submit(echo, value) for value in data]

    assert [future.result(60) for future in futures] == data
    assert events(whole, "frame.dropped", "worker.lost", "dispatcher.lost", "store.lost") == before


def test_a_frame_that_breaks_off_in_the_middle_is_sent_again_whole(whole: Parts, client: Client) -> None:
    data = [os.urandom(1_000_000) for _ in range(4)]
    link = whole.links["worker"]
    passed = link.passed_bytes(Way.OUT)

    with link.fault(Throttle(500_000), Way.OUT):
        futures = [client.submit(echo, value) for value in data]
        wait_until(lambda: link.passed_bytes(Way.OUT) > passed + 100_000, 30, "a result is half on its way")
        link.apply(Reset())
    link.heal()

    assert [future.result(60) for future in futures] == data
