"""The command line from outside: one line for every mistake, and commands that do what their help says."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from regrow.gateway.client import Client
from regrow.runtime import endpoints
from regrow.runtime.endpoints import DataDirLock
from support.cluster import Cluster, running, send
from support.command import complaint, environment, regrow
from support.ports import free_port
from support.valkey import DURABLE, valkey_server
from support.waiting import wait_until

NOBODY = "redis://user:secret@127.0.0.1:1/0"  # port 1 is nobody's


@contextmanager
def part(log: Path, *words: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs until it is stopped; it must end well."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "regrow.runtime.cli", *words], stdout=output, stderr=output, env=environment(**more)
        )
    try:
        yield process
    finally:
        process.terminate()  # also when the test has failed: what is killed cannot tidy up
        try:
            code = process.wait(15)
        finally:
            process.kill()
            process.wait()
    assert code == 0, log.read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("commands"), "--workers", "1", "--slots", "1") as it:
        yield it


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


# Mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("upp", 'Unknown command "upp".*regrow --help'),
        ("up --prot 80", "Unknown option: --prot.*regrow up --help"),
        ("up --port eighty", 'Invalid value for --port.*"eighty".*regrow up --help'),
        ("up --port 65536", "--port 65536: use 0 to 65535"),
        ("up --workers 0", "--workers 0: use 1 to 1024"),
        ("up --mode shove", 'Invalid value "shove" for --mode.*regrow up --help'),
        ("up --host 0.0.0.0", "--host 0.0.0.0: .*use --host 127.0.0.1 and .*a tunnel"),
        ("gateway --host 0.0.0.0", "--host 0.0.0.0: .*use --host 127.0.0.1 and .*a tunnel"),
        ("up --import-path /nowhere", "--import-path /nowhere: there is no such directory"),
        ("up --data-dir /dev/null", "data directory /dev/null: .*; name another with --data-dir"),
        ("dispatcher --redis-url nonsense", "--redis-url: .*redis://"),
        ("worker 0 tcp://127.0.0.1:5555", r"Invalid value \"0\" for SLOTS\. Must be >= 1\. See 'regrow worker --help'"),
        ("worker 2", "DISPATCHER requires an argument.*regrow worker --help"),
        ("worker 2 127.0.0.1:5555", "'127.0.0.1:5555' is no dispatcher's address: say tcp://HOST:PORT"),
        ("submit math", "'math': say MODULE:FUNCTION, for example math:hypot"),
        ("submit math:hypotenuse", "math:hypotenuse: .*no attribute 'hypotenuse'"),
        ("submit nowhere.to:be_found", "nowhere.to:be_found: No module named 'nowhere'"),
        ("submit math:pi", "math:pi is not callable"),
        ("scale worker=many", "'worker=many': say worker=N"),
        ("tree --url gopher://127.0.0.1", "'gopher://127.0.0.1' is no gateway address: use one like"),
        ("chaos kill everybody", 'Invalid value "everybody" for ROLE'),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(cluster: Cluster, words: str, said: str) -> None:
    more = {"REGROW_URL": cluster.url} if words.startswith("submit") else {}
    assert re.search(said, complaint(regrow(*words.split(), **more)))


@pytest.mark.parametrize("command", ["up", "gateway", "dispatcher"])
def test_a_store_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path, command: str) -> None:
    words = ["--data-dir", str(tmp_path)] if command == "up" else []

    said = complaint(regrow(command, "--redis-url", NOBODY, *words, REGROW_PORT="0", REGROW_DISPATCHER_PORT="0"))

    assert re.search(r"--redis-url.*does not answer.*is it running", said)
    assert "secret" not in said


@pytest.mark.parametrize(("flag", "other"), [("--port", "--dispatcher-port"), ("--dispatcher-port", "--port")])
def test_a_port_that_is_taken_is_named_with_its_flag(tmp_path: Path, taken_port: str, flag: str, other: str) -> None:
    said = complaint(regrow("up", flag, taken_port, other, "0", "--data-dir", str(tmp_path)))

    assert said.startswith(f"regrow: {flag} {taken_port}: address already in use on 127.0.0.1; choose another")
    assert not list(tmp_path.glob("endpoints.json"))


def test_a_data_directory_in_use_is_named_with_the_process_that_has_it(cluster: Cluster) -> None:
    said = complaint(regrow("up", "--port", "0", "--dispatcher-port", "0", "--data-dir", str(cluster.data_dir)))

    assert f"data directory {cluster.data_dir} is in use by process {cluster.process.pid}: stop that one" in said
    assert cluster.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "words", ["tree", "status t", "result t", "scale worker=2", "submit math:hypot 3 4", "chaos kill", "chaos freeze"]
)
def test_where_nothing_runs_every_command_says_so(tmp_path: Path, words: str) -> None:
    said = complaint(regrow(*words.split(), "--data-dir", str(tmp_path)))

    assert f"nothing runs on data directory {tmp_path}: start it with 'regrow up'" in said


def test_a_gateway_that_does_not_answer_fails_after_some_patience() -> None:
    assert "no good answer from http://127.0.0.1:1" in complaint(regrow("tree", "--url", "http://127.0.0.1:1"), code=1)


# What the environment says


def test_every_flag_has_its_twin_in_the_environment_and_the_flag_is_stronger(tmp_path: Path) -> None:
    assert "--workers 0:" in complaint(regrow("up", REGROW_WORKERS="0"))
    assert "--slots 0:" in complaint(regrow("up", "--slots", "0", REGROW_SLOTS="2"))
    folders = f"{tmp_path}{os.pathsep}/nowhere"
    assert "--import-path /nowhere: there" in complaint(regrow("up", REGROW_IMPORT_PATH=folders))


# The tree's life


def test_up_says_where_it_can_be_reached_for_as_long_as_it_runs_and_ends_well_by_ctrl_c(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "data", "--workers", "1", "--slots", "1").wait_ready()
    try:
        found = cluster.endpoints()
        assert set(found) == {"gateway", "dispatcher", "store"}
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", found["gateway"])
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", found["dispatcher"])
        assert Path(found["store"].removeprefix("unix://")).is_socket()

        send(cluster.process.pid, signal.SIGINT)

        assert cluster.process.wait(20) == 0
    finally:
        cluster.kill()
    log = cluster.log_path.read_text()
    assert "Traceback" not in log
    assert all(place in log for place in found.values()), "it printed them"
    assert "stopping: running tasks get up to 10 s; Ctrl-C again stops at once\n" in log
    assert re.search(r"─ store .* pid \d+ .* durability=always *\n", log), "where no terminal is, one node is one line"
    assert not (cluster.data_dir / "endpoints.json").exists()
    assert not (cluster.data_dir / "run").exists()


def test_a_tree_that_was_killed_is_not_asked_any_more(tmp_path: Path) -> None:
    with DataDirLock(tmp_path):
        endpoints.publish(tmp_path, {"gateway": "http://127.0.0.1:1"})
        assert "no good answer from http://127.0.0.1:1" in complaint(
            regrow("tree", "--data-dir", str(tmp_path)), code=1
        )

    said = complaint(regrow("tree", "--data-dir", str(tmp_path)))

    assert f"nothing runs on data directory {tmp_path}: start it with 'regrow up'" in said


def test_the_password_of_ones_own_store_is_neither_printed_nor_kept_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(valkey_server(tmp_path / "store", requirepass="", **DURABLE))
        with server.client() as client:
            client.config_set("requirepass", "secret")
        url = server.url.replace("unix://", "unix://:secret@")

        with running(tmp_path / "data", "--workers", "1", "--slots", "1", "--redis-url", url) as cluster:
            assert cluster.endpoints()["store"] == server.url

    for file in tmp_path.joinpath("data").rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes(), file


# Commands that talk to the tree


def test_tree_shows_who_runs_under_which_pid(cluster: Cluster) -> None:
    place = ("--data-dir", str(cluster.data_dir))

    drawn, told = regrow("tree", *place), regrow("tree", "--as-json", *place)

    assert (drawn.returncode, told.returncode) == (0, 0), drawn.stderr + told.stderr
    picture = json.loads(told.stdout)
    assert picture["pid"] == cluster.process.pid
    for node in cluster.nodes():
        assert re.search(rf"{node['name']} +running +pid {node['pid']}\b", drawn.stdout), node["path"]


def test_a_call_is_submitted_watched_and_fetched_by_three_commands(cluster: Cluster) -> None:
    place = ("--url", cluster.url)

    task_id = regrow("submit", "math:hypot", "3", "4", *place).stdout.strip()
    value = regrow("result", task_id, *place)
    status = regrow("status", task_id, *place)

    assert (value.returncode, value.stdout) == (0, "5.0\n")
    assert (status.returncode, status.stdout) == (0, "COMPLETED\n")


def test_submit_reads_arguments_as_json_where_they_are_and_can_wait(cluster: Cluster) -> None:
    ended = regrow("submit", "builtins:dict", '[["a", 1], ["b", null]]', "--wait", "--url", cluster.url)
    plain = regrow("submit", "builtins:len", "four", "--wait", "--url", cluster.url)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[1:] == ["{'a': 1, 'b': None}"]
    assert plain.stdout.splitlines()[1:] == ["4"]


def test_the_result_of_a_failed_task_is_its_traceback_and_exit_code_1(cluster: Cluster) -> None:
    ended = regrow("submit", "json:loads", "{", "--wait", "--url", cluster.url)

    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert ended.stderr.rstrip().splitlines()[-1].startswith("json.decoder.JSONDecodeError: ")


def test_result_waits_no_longer_than_it_is_told(cluster: Cluster, tmp_path: Path) -> None:
    with Client(cluster.url) as client:
        slow = client.submit(wait_for, str(tmp_path / "go"))
    ended = regrow("result", slow.task_id, "--timeout", "0.2", "--url", cluster.url)

    assert ended.returncode == 1
    assert re.fullmatch(r"(QUEUED|RUNNING) still, after 0.2 s\n", ended.stderr)
    (tmp_path / "go").touch()
    assert cluster.end_of(slow.task_id)["status"] == "COMPLETED"


@pytest.mark.parametrize("command", ["status", "result"])
def test_an_unknown_task_is_one_line(cluster: Cluster, command: str) -> None:
    missing = "00000000-0000-4000-8000-000000000000"

    assert missing in complaint(regrow(command, missing, "--url", cluster.url), code=1)


def test_scale_gives_the_pool_another_size(cluster: Cluster) -> None:
    for size in (2, 1):
        ended = regrow("scale", f"worker={size}", "--url", cluster.url)
        assert (ended.returncode, ended.stdout) == (0, f"workers: {size}\n"), ended.stderr
        wait_until(lambda size=size: len(cluster.of_role("worker")) == size, 20, f"{size} workers")


# Parts by themselves


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_each_part_runs_by_itself_and_together_they_run_a_task(tmp_path: Path, mode: str) -> None:
    (tmp_path / "store").mkdir()
    with ExitStack() as stack:
        url = stack.enter_context(valkey_server(tmp_path / "store", **DURABLE)).url
        ports = [str(free_port()), str(free_port())]
        for name, words in {
            "gateway": ["gateway", "--redis-url", url, "--port", ports[0]],
            "dispatcher": ["dispatcher", "-m", mode, "--redis-url", url, "-p", ports[1]],
            "worker": ["worker", "-m", mode, "1", f"tcp://127.0.0.1:{ports[1]}"],
        }.items():
            stack.enter_context(part(tmp_path / name, *words))

        url = f"http://127.0.0.1:{ports[0]}"
        wait_until(lambda: answers(url), 60, "the gateway answers")
        ended = regrow("submit", "math:hypot", "3", "4", "--wait", "--url", url)

        assert ended.stdout.splitlines()[1:] == ["5.0"], ended.stderr
    assert not any("Traceback" in (tmp_path / name).read_text() for name in ("gateway", "dispatcher", "worker"))


def test_a_local_dispatcher_has_one_worker_of_its_own_whatever_the_size_of_pools(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with ExitStack() as stack:
        url = stack.enter_context(valkey_server(tmp_path / "store", **DURABLE)).url
        words = ["dispatcher", "-m", "local", "--slots", "3", "--redis-url", url]
        process = stack.enter_context(part(tmp_path / "log", *words, REGROW_WORKERS="2"))

        wait_until(lambda: slots_of_workers(process.pid) == [3], 60, "one worker, with three slots")


def slots_of_workers(pid: int) -> list[int]:
    """How many slots each worker below that process has; a slot is told by its title, which it takes after its start."""
    try:
        titles = [(one.cmdline() or [""])[0] for one in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []  # one ended while it was looked at
    slots = Counter(title.rpartition("/")[0] for title in titles if "/slot-" in title)
    return [slots[title] for title in titles if "/worker-" in title and "/slot-" not in title]


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def wait_for(path: str) -> None:
    """The work: it ends when the file is there."""
    import time
    from pathlib import Path

    while not Path(path).exists():
        time.sleep(0.01)
