"""Many deaths in a row: those that restarting heals are survived for ever, those that it does not end the tree with a report."""

import signal
from pathlib import Path

from support.cluster import Cluster, running, send
from support.processes import is_alive
from support.waiting import wait_until


def test_a_kill_per_second_is_survived(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--workers", "2", "--slots", "1") as cluster:
        double = cluster.register(lambda x: 2 * x)
        killed = []
        for n in range(8):
            worker = wait_until(
                lambda: [w for w in cluster.of_role("worker") if w["state"] == "running"], 10, "a worker"
            )[0]
            send(worker["pid"], signal.SIGKILL)
            killed.append(worker["pid"])
            assert cluster.value(cluster.submit(double, n)) == 2 * n
            wait_until(lambda pid=worker["pid"]: not is_alive(pid), 5, "it is dead")
        assert len(set(killed)) == 8
        assert not cluster.ended()


def test_a_worker_that_cannot_start_ends_the_tree_with_a_crash_report(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text("raise SystemExit('this module is broken')\n")
    (library / "dill.py").write_text("raise RuntimeError('this module is broken')\n")
    cluster = Cluster(tmp_path / "data", "--import-path", str(library))
    try:
        assert cluster.process.wait(60) == 1
        log = cluster.log_path.read_text()
        assert "gave up" in log
        assert "worker" in log
    finally:
        cluster.kill()
