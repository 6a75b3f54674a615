"""One suite, three modes: whatever the placement policy, the service behaves the same, seen over REST with a client that is not ours."""

import base64
import os
import pickle
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import dill
import pytest

from support.cluster import Cluster, running, text
from support.waiting import wait_until

MODES = ("push", "pull", "local")


@pytest.fixture(scope="module", params=MODES)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    library = tmp_path_factory.mktemp("library")
    (library / "users_own_module.py").write_text("def triple(x):\n    return 3 * x\n")
    flags = ("--mode", request.param, "--workers", "4", "--slots", "1", "--import-path", str(library))
    with running(tmp_path_factory.mktemp(request.param), *flags) as cluster:
        yield cluster


def test_a_value_comes_back(cluster: Cluster) -> None:
    double = cluster.register(lambda x: 2 * x)

    task_id = cluster.submit(double, 21)

    assert cluster.value(task_id) == 42
    task = cluster.task(task_id)
    assert [attempt["number"] for attempt in task["attempts"]] == [1]
    assert task["attempts"][0]["outcome"] == "completed"
    assert task["error"] is None
    assert task["submitted_at"] <= task["attempts"][0]["started_at"] <= task["finished_at"]


def test_keyword_arguments_and_closures_travel(cluster: Cluster) -> None:
    base = 100

    def add(a: int, *, b: int) -> int:
        return base + a + b

    assert cluster.value(cluster.submit(cluster.register(add), 1, b=2)) == 103


def test_a_recursive_function_runs(cluster: Cluster) -> None:
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    payload = base64.b64encode(
        cloudpickle.dumps(fibonacci)
    ).decode()  # dill itself cannot pickle a closure round itself
    function_id = cluster.post("/register_function", {"name": "fibonacci", "payload": payload}).json()["function_id"]
    assert cluster.value(cluster.submit(function_id, 15)) == 610


def test_the_official_result_call_tells_the_value_and_the_unfinished_state(cluster: Cluster) -> None:
    gate = Path(cluster.data_dir / f"gate-{uuid.uuid4()}")

    def wait_for(path: str) -> str:
        import time
        from pathlib import Path

        while not Path(path).exists():
            time.sleep(0.01)
        return "open"

    task_id = cluster.submit(cluster.register(wait_for), str(gate))
    wait_until(lambda: cluster.get(f"/status/{task_id}/").json()["status"] == "RUNNING", 10, "RUNNING")

    unfinished = cluster.get(f"/result/{task_id}")
    gate.touch()
    cluster.end_of(task_id)
    finished = cluster.get(f"/result/{task_id}").json()

    assert unfinished.status_code == 200
    assert unfinished.json() == {"task_id": task_id, "status": "RUNNING", "result": "", "error": None}
    assert finished["status"] == "COMPLETED"
    assert dill.loads(base64.b64decode(finished["result"])) == "open"


def test_an_exception_becomes_a_failure_that_tells_everything(cluster: Cluster) -> None:
    def divide(a: int, b: int) -> float:
        return a / b

    task = cluster.end_of(cluster.submit(cluster.register(divide), 1, 0))
    official = cluster.get(f"/result/{task['task_id']}").json()

    assert task["status"] == official["status"] == "FAILED"
    assert task["error"]["kind"] == "raised"
    assert task["error"]["type"] == "ZeroDivisionError"
    assert "division by zero" in task["error"]["message"]
    assert "in divide" in task["error"]["traceback"]
    assert isinstance(pickle.loads(base64.b64decode(task["error"]["exception"])), ZeroDivisionError)
    assert pickle.loads(base64.b64decode(official["result"])) == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("lambda: (_ for _ in ())", "unpicklable", "generator"),
        ("lambda: __import__('sys').exit(3)", "raised", "3"),
        ("lambda: (_ for _ in ()).throw(KeyboardInterrupt())", "raised", "KeyboardInterrupt"),
    ],
)
def test_odd_ends_are_failures_with_their_kind(cluster: Cluster, body: str, kind: str, words: str) -> None:
    task = cluster.end_of(cluster.submit(cluster.register(eval(body))))

    assert task["status"] == "FAILED"
    assert task["error"]["kind"] == kind
    assert words in task["error"]["type"] + task["error"]["message"]


def test_an_exception_that_does_not_load_again_still_ends_the_task(cluster: Cluster) -> None:
    def fail() -> None:
        class TwoArgumentsError(Exception):
            def __init__(self, a: int, b: int) -> None:
                super().__init__(f"{a} and {b}")

        raise TwoArgumentsError(1, 2)

    task = cluster.end_of(cluster.submit(cluster.register(fail)))

    assert (task["status"], task["error"]["kind"], task["error"]["exception"]) == ("FAILED", "raised", None)
    assert task["error"]["message"] == "1 and 2"


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        (lambda: __import__("os")._exit(3), "3"),
        (lambda: __import__("os").kill(__import__("os").getpid(), 9), "SIGKILL"),
        (lambda: __import__("ctypes").string_at(0), "SIGSEGV"),
    ],
    ids=["exit", "kill", "segfault"],
)
def test_a_task_that_kills_its_slot_is_quarantined_and_its_worker_lives_on(
    cluster: Cluster, death, reason: str
) -> None:
    before = {node["path"]: node["pid"] for node in cluster.of_role("worker")}

    task = cluster.end_of(cluster.submit(cluster.register(death)))

    assert (task["status"], task["error"]["kind"]) == ("FAILED", "quarantined")
    assert reason in task["error"]["message"] + task["error"]["type"]
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["crashed"] * 3
    assert {node["path"]: node["pid"] for node in cluster.of_role("worker")} == before
    assert all(node["restarts"] == 0 for node in cluster.of_role("worker"))


def test_a_task_with_one_attempt_is_not_run_again_after_its_slot_died(cluster: Cluster) -> None:
    marks = cluster.data_dir / f"marks-{uuid.uuid4()}"

    def die(path: str) -> None:
        import os

        with open(path, "a") as file:
            file.write("started\n")
        os._exit(1)

    function_id = cluster.register(die, max_attempts=1)
    task = cluster.end_of(cluster.submit(function_id, str(marks)))

    assert (task["status"], task["error"]["kind"]) == ("FAILED", "crashed")
    assert marks.read_text() == "started\n"


def test_a_function_by_reference_runs_when_the_worker_can_import_it(cluster: Cluster) -> None:
    by_reference = base64.b64encode(b"cusers_own_module\ntriple\n.").decode()
    answer = cluster.post("/register_function", {"name": "triple", "payload": by_reference})

    assert cluster.value(cluster.submit(answer.json()["function_id"], 14)) == 42


def test_a_function_by_reference_to_a_missing_module_fails_with_its_name_and_two_remedies(cluster: Cluster) -> None:
    by_reference = base64.b64encode(b"cno_such_module_here\nfunction\n.").decode()
    answer = cluster.post("/register_function", {"name": "gone", "payload": by_reference})

    task = cluster.end_of(cluster.submit(answer.json()["function_id"]))

    assert task["error"]["kind"] == "unloadable"
    for word in ("no_such_module_here", "--import-path", "by value"):
        assert word in task["error"]["message"]


def test_ten_megabytes_pass_both_ways(cluster: Cluster) -> None:
    blob = os.urandom(10_000_000)
    echo = cluster.register(lambda x: x)

    assert cluster.value(cluster.submit(echo, blob), within=60) == blob


def test_a_thousand_tasks_in_one_batch_all_have_their_value_and_the_load_is_even(cluster: Cluster) -> None:
    def square_slowly(x: int) -> int:
        import time

        time.sleep(0.002)
        return x * x

    function_id = cluster.register(square_slowly)
    batch = {"tasks": [{"function_id": function_id, "payload": text(((n,), {}))} for n in range(1000)]}

    ids = [task["task_id"] for task in cluster.post("/v1/tasks", batch).json()["tasks"]]
    tasks = [cluster.end_of(task_id) for task_id in ids]

    assert [dill.loads(base64.b64decode(task["result"])) for task in tasks] == [n * n for n in range(1000)]
    load = Counter(task["attempts"][0]["worker"] for task in tasks)
    assert len(load) == 4
    assert sum(load.values()) ** 2 / (4 * sum(n * n for n in load.values())) > 0.95, load


def test_one_bad_item_spoils_no_other(cluster: Cluster) -> None:
    double = cluster.register(lambda x: 2 * x)
    good = {"function_id": double, "payload": text(((1,), {}))}
    bad = {"function_id": str(uuid.uuid4()), "payload": text(((1,), {}))}

    tasks = cluster.post("/v1/tasks", {"tasks": [good, bad, good]}).json()["tasks"]

    assert tasks[1]["error"]["code"] == "unknown_function"
    assert [cluster.value(tasks[n]["task_id"]) for n in (0, 2)] == [2, 2]


def test_user_code_sees_nothing_of_ours(cluster: Cluster) -> None:
    def look() -> dict[str, object]:
        import os
        import signal
        import sys

        return {
            "secrets": [name for name in os.environ if name.startswith("REGROW")],
            "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
            "redis": "redis" in sys.modules,
            "zmq": "zmq" in sys.modules,
            "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            "cwd": os.path.realpath("."),
            "main": sorted(name for name in vars(sys.modules["__main__"]) if not name.startswith("__")),
        }

    seen = cluster.value(cluster.submit(cluster.register(look)))

    assert seen["secrets"] == seen["main"] == []
    assert not seen["redis"]
    assert not seen["zmq"]
    assert seen["sigterm"]
    assert seen["cwd"] not in (str(Path.cwd()), str(cluster.data_dir))
    assert len(seen["descriptors"]) <= 6, "0, 1, 2, its socket, and what listing the directory itself needs"


def test_a_canary_that_would_write_a_file_when_loaded_is_answered_without_the_file(cluster: Cluster) -> None:
    canary = cluster.data_dir / "canary"
    payload = base64.b64encode(f"cos\nsystem\n(Vtouch {canary}\ntR.".encode()).decode()

    answers = [
        cluster.post("/register_function", {"name": "canary", "payload": payload}),
        cluster.post("/execute_function", {"function_id": str(uuid.uuid4()), "payload": payload}),
    ]

    assert all(answer.status_code in (200, 400, 404) for answer in answers)
    assert not canary.exists()
