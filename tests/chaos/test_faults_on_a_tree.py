"""Faults to a whole tree of one's own: its links, its messages, its store and its hooks: each hits, and is undone."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from regrow.chaos.experiment import Target
from regrow.chaos.fault import Role
from regrow.chaos.link_fault import Corrupt, Drop, Duplicate, FrameFault, Reorder
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.scene import Link
from regrow.chaos.store_door import StoreDoor
from support.cluster import Cluster, text
from support.functions import by_value, double
from support.own_tree import OwnTree, hit, own_tree, seconds, step
from support.waiting import wait_until

WITHIN_S = 30.0
GATEWAY = Link.CLIENT_GATEWAY


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTree]:
    with own_tree(tmp_path_factory.mktemp("faults"), "--workers", "1", "--slots", "2") as it:
        yield it


@pytest.fixture
def tree(shared: OwnTree) -> OwnTree:
    return shared.wait_whole()


@pytest.fixture
def cluster(tree: OwnTree) -> Cluster:
    return tree.cluster


@pytest.fixture
def nemesis(tree: OwnTree) -> Iterator[Nemesis]:
    with Nemesis(tree.scene) as it:
        yield it
        assert it.heal() == []
        assert it.outstanding == 0


def environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def register(cluster: Cluster, function: Callable[..., object]) -> str:
    """By value: no slot can import this module."""
    payload = base64.b64encode(by_value(function)).decode()
    answer = cluster.post("/register_function", {"name": function.__name__, "payload": payload})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["function_id"])


def runs(cluster: Cluster, count: int = 1) -> None:
    """So many tasks go through."""
    function = register(cluster, double)
    ids = [cluster.submit(function, n) for n in range(count)]
    assert [cluster.value(task_id, WITHIN_S) for task_id in ids] == [2 * n for n in range(count)]


def ask(tree: OwnTree) -> requests.Response:
    """By the way of the proxy, on a connection of its own."""
    return requests.get(f"{tree.proxied_url}/readyz", timeout=WITHIN_S)


# -- hooks that are always there


def test_the_parts_of_a_tree_are_connected_by_the_proxies(tree: OwnTree, cluster: Cluster) -> None:
    accepted = {link: proxy.accepted for link, proxy in tree.scene.proxies.items() if link != GATEWAY}

    runs(cluster)

    assert min(accepted.values()) > 0, accepted
    assert tree.scene.hooks is not None
    assert (tree.scene.hooks / "run" / "store.sock").exists()
    assert cluster.endpoints()["dispatcher"] == (tree.scene.hooks / "addresses" / "dispatcher").read_text()


def test_user_code_does_not_see_the_hooks(cluster: Cluster) -> None:
    seen = cluster.value(cluster.submit(register(cluster, environment)))

    assert not [name for name in seen if name.startswith("REGROW")]


# -- links


def test_a_delay(tree: OwnTree, nemesis: Nemesis) -> None:
    hit(nemesis, step("net.delay", link=GATEWAY, delay_s=0.3, jitter_s=0.1))

    assert seconds(lambda: ask(tree)) >= 0.4
    nemesis.heal()
    wait_until(lambda: seconds(lambda: ask(tree)) < 0.4, WITHIN_S, "it is as fast as it was")


@pytest.mark.parametrize(
    ("fault", "options"), [("net.bandwidth", {"rate_bytes": 500}), ("net.slice", {"size_bytes": 5, "pause_s": 0.01})]
)
def test_a_narrow_line_takes_its_time(tree: OwnTree, nemesis: Nemesis, fault: str, options: dict[str, float]) -> None:
    hit(nemesis, step(fault, link=GATEWAY, **options))

    assert seconds(lambda: ask(tree)) >= 0.3
    nemesis.heal()
    wait_until(lambda: seconds(lambda: ask(tree)) < 0.3, WITHIN_S, "it is as fast as it was")


def test_a_reset(tree: OwnTree, nemesis: Nemesis) -> None:
    hit(nemesis, step("net.reset", link=GATEWAY))

    with pytest.raises(requests.ConnectionError):
        ask(tree)
    nemesis.heal()
    assert ask(tree).status_code == 200


@pytest.mark.parametrize(("fault", "options"), [("net.cut", {}), ("net.one_way", {"way": "back"})])
def test_a_cut_holds_back_what_is_asked_until_it_is_healed(
    tree: OwnTree, nemesis: Nemesis, fault: str, options: dict[str, str]
) -> None:
    hit(nemesis, step(fault, link=GATEWAY, **options))

    with ThreadPoolExecutor(1) as pool:
        answer: Future[requests.Response] = pool.submit(ask, tree)
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        nemesis.heal()
        assert answer.result(WITHIN_S).status_code == 200


def test_a_link_that_flaps_lets_through_now_and_then(tree: OwnTree, nemesis: Nemesis) -> None:
    hit(nemesis, step("net.flap", link=GATEWAY, down_s=0.3, up_s=0.3))

    for _ in range(2):
        wait_until(lambda: seconds(lambda: ask(tree)) > 0.1, WITHIN_S, "it is down")
    nemesis.heal()
    assert "chaos-rhythm" not in [thread.name for thread in threading.enumerate()]
    assert ask(tree).status_code == 200


@pytest.mark.parametrize("link", [Link.GATEWAY_STORE, Link.DISPATCHER_STORE, Link.WORKER_DISPATCHER])
def test_a_cut_within_the_tree_ends_after_its_time_and_the_work_goes_on(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis, link: Link
) -> None:
    function = register(cluster, double)
    began = time.monotonic()
    hit(nemesis, step("net.cut", for_s=0.5, link=link))

    assert cluster.value(cluster.submit(function, 21), WITHIN_S) == 42
    assert time.monotonic() - began >= 0.5
    assert nemesis.strikes[0].undone_at is not None


# -- messages


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("frame.drop", Drop), ("frame.dup", Duplicate), ("frame.reorder", Reorder), ("frame.corrupt", Corrupt)],
)
def test_messages_between_worker_and_dispatcher_meet_with_mishaps_and_every_task_is_done_all_the_same(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis, fault: str, kind: type[FrameFault]
) -> None:
    proxy = tree.scene.proxies[Link.WORKER_DISPATCHER]
    before = proxy.mishaps(kind)
    hit(nemesis, step(fault, chance=0.15))  # three beats in a row are rarely lost, so that the worker stays
    runs(cluster, 10)
    wait_until(lambda: proxy.mishaps(kind) > before, WITHIN_S, "a message met with it")

    nemesis.heal()
    healed = proxy.mishaps(kind)
    runs(cluster, 5)
    assert proxy.mishaps(kind) == healed


# -- the store


def server_pid(tree: OwnTree) -> int:
    node = tree.scene.store()
    return int(node.facts["server_pid"]) if node is not None and node.facts else 0


def store_url(tree: OwnTree) -> str:
    node = tree.scene.store()
    assert node is not None
    return node.facts["url"]


def test_the_stores_server_is_killed_and_another_takes_its_place(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis
) -> None:
    before = server_pid(tree)

    hit(nemesis, step("store.kill"))

    wait_until(lambda: server_pid(tree) not in (0, before), WITHIN_S, "there is another server", every=0.05)
    tree.wait_whole()
    runs(cluster)


def test_the_stores_server_is_stopped_and_goes_on(tree: OwnTree, cluster: Cluster, nemesis: Nemesis) -> None:
    server = psutil.Process(server_pid(tree))

    hit(nemesis, step("store.stop"))
    wait_until(lambda: server.status() == psutil.STATUS_STOPPED, WITHIN_S, "it is stopped")
    nemesis.heal()

    assert server.status() != psutil.STATUS_STOPPED
    runs(cluster)


@pytest.mark.parametrize("what", ["writes", "all"])
def test_a_paused_store_answers_when_the_pause_is_over(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis, what: str
) -> None:
    function = register(cluster, double)
    hit(nemesis, step("store.pause", what=what, longest_s=60))

    with ThreadPoolExecutor(1) as pool:
        answer: Future[str] = pool.submit(cluster.submit, function, 21)
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        nemesis.heal()
        assert cluster.value(answer.result(WITHIN_S), WITHIN_S) == 42


def test_a_store_that_closes_all_connections_is_connected_to_again(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis
) -> None:
    links = [tree.scene.proxies[link] for link in (Link.GATEWAY_STORE, Link.DISPATCHER_STORE)]
    accepted = [proxy.accepted for proxy in links]

    strike = hit(nemesis, step("store.disconnect"))

    assert int(strike.detail.split()[0]) >= 2
    runs(cluster)
    wait_until(
        lambda: all(proxy.accepted > before for proxy, before in zip(links, accepted, strict=True)),
        WITHIN_S,
        "both have connected again",
    )


def test_a_store_without_memory_refuses_submits_until_it_has_some(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis
) -> None:
    function = register(cluster, double)
    body = {"function_id": function, "payload": text(((1,), {}))}
    hit(nemesis, step("store.memory"))

    wait_until(
        lambda: cluster.post("/execute_function", body).status_code == 503, WITHIN_S, "a submit is refused", every=0.05
    )
    nemesis.heal()
    with StoreDoor(store_url(tree)) as door:
        assert door.setting("maxmemory") == "0"
    runs(cluster)


def test_scripts_that_the_store_forgets_are_sent_again(tree: OwnTree, cluster: Cluster, nemesis: Nemesis) -> None:
    runs(cluster)
    hit(nemesis, step("store.flush_scripts"))

    runs(cluster, 3)


def test_a_store_on_a_full_disk_comes_back_when_there_is_room(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis
) -> None:
    function = register(cluster, double)
    hit(nemesis, step("disk.full"))
    with ThreadPoolExecutor(1) as pool:
        answer: Future[requests.Response] = pool.submit(
            cluster.post, "/execute_function", {"function_id": function, "payload": text(((1,), {}))}
        )
        wait_until(lambda: "store.full" in tree.log(), WITHIN_S, "the store says that its disk is full", every=0.05)

        nemesis.heal()

        assert answer.result(WITHIN_S).status_code in (200, 503)
    tree.wait_whole()
    runs(cluster)


def test_damaged_parameters_are_told_and_nothing_is_run_with_them(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis
) -> None:
    function = register(cluster, double)
    hit(nemesis, step("net.cut", link=Link.DISPATCHER_STORE, number=2))
    task_id = cluster.submit(function, 21)

    strike = hit(nemesis, step("payload.corrupt"))
    nemesis.heal(2)  # the task is claimed
    ended = cluster.end_of(task_id, WITHIN_S)

    assert strike.detail == "parameters of 1 queued tasks damaged"
    assert ended["status"] == "FAILED"
    assert ended["error"]["kind"] == "corrupt_payload"
    nemesis.heal()
    runs(cluster)


def test_parameters_that_nobody_has_read_yet_are_whole_again(tree: OwnTree, cluster: Cluster, nemesis: Nemesis) -> None:
    function = register(cluster, double)
    hit(nemesis, step("net.cut", link=Link.DISPATCHER_STORE))
    task_id = cluster.submit(function, 21)
    hit(nemesis, step("payload.corrupt"))

    nemesis.heal()  # the last first

    assert cluster.value(task_id, WITHIN_S) == 42


# -- hooks


def test_the_wall_clock_is_wrong_and_right_again(tree: OwnTree, cluster: Cluster, nemesis: Nemesis) -> None:
    def registered_at() -> float:
        function = register(cluster, double)
        return float(cluster.get(f"/v1/functions/{function}").json()["registered_at"])

    hit(nemesis, step("clock.offset", offset_s=-7200))
    assert registered_at() == pytest.approx(time.time() - 7200, abs=60)
    nemesis.heal()
    assert registered_at() == pytest.approx(time.time(), abs=60)


def test_a_slow_start(tree: OwnTree, nemesis: Nemesis) -> None:
    hit(nemesis, step("start.slow", role=Role.GATEWAY, delay_s=3.0))

    assert nemesis.recovery_s(hit(nemesis, step("kill", Target(Role.GATEWAY))), WITHIN_S) >= 3.0
    nemesis.heal()
    assert tree.scene.hooks is not None
    assert list((tree.scene.hooks / "start").iterdir()) == []


def test_a_start_that_fails_is_tried_again(tree: OwnTree, cluster: Cluster, nemesis: Nemesis) -> None:
    before = cluster.node("root/workers/worker-0")["incarnation"]
    hit(nemesis, step("start.fail", times=2))
    nemesis.recovery_s(hit(nemesis, step("kill", Target())), WITHIN_S)

    assert cluster.node("root/workers/worker-0")["incarnation"] == before + 3
    assert "StartRefused" in tree.log()
    nemesis.heal()
    runs(cluster)


def test_a_start_that_has_not_failed_yet_does_not_when_that_is_undone(
    tree: OwnTree, cluster: Cluster, nemesis: Nemesis
) -> None:
    before = cluster.node("root/workers/worker-0")["incarnation"]
    hit(nemesis, step("start.fail", times=2))
    nemesis.heal()
    nemesis.recovery_s(hit(nemesis, step("kill", Target())), WITHIN_S)

    assert cluster.node("root/workers/worker-0")["incarnation"] == before + 1


def test_a_death_that_only_silence_tells_takes_a_heartbeat_window(tmp_path: Path) -> None:
    with own_tree(tmp_path, "--workers", "1", "--slots", "1", is_slow_death=True) as tree:
        with Nemesis(tree.scene) as nemesis:
            killed = hit(nemesis, step("kill", Target()))
            took_s = nemesis.recovery_s(killed, WITHIN_S)

        assert took_s >= 1.9
        assert '"child.overdue"' in tree.log()
        tree.wait_whole()
        runs(tree.cluster)
