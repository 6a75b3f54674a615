"""The embedded store as an actor: it answers, it keeps what it acknowledged, and no server outlives its actor."""

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from support import lone_store
from support.waiting import wait_until

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="regrow-") as directory:
        yield Path(directory) / "store"


@pytest.fixture
def start(tmp_path: Path, socket: Path) -> Iterator[Start]:
    """Start an actor on the test's data directory; whatever is left of it is killed in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        started.append(lone_store.start(tmp_path, socket))
        return started[-1]

    yield start
    for actor in started:
        actor.kill()
        actor.communicate()


@pytest.fixture
def client(socket: Path) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(f"unix://{socket}") as client:
        yield client


def server_pid(client: redis.Redis) -> int:
    """The server's process, once it answers."""

    def ask() -> int:
        try:
            client.ping()  # not before it has read its files, unlike INFO
            return int(client.info("server")["process_id"])
        except redis.RedisError:
            return 0

    return wait_until(ask, within=10, what="the embedded server answers")


def is_gone(pid: int) -> bool:
    """It has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def end_of(actor: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Its exit code and its error output."""
    _, errors = actor.communicate(timeout=15)
    return actor.returncode, errors.decode()


def test_it_promises_durability_listens_on_no_port_and_is_private(
    start: Start, client: redis.Redis, socket: Path
) -> None:
    start()
    server_pid(client)

    settings = {
        name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "port", "maxmemory-policy")
    }

    assert settings == {"appendonly": "yes", "appendfsync": "always", "port": "0", "maxmemory-policy": "noeviction"}
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_a_stop_ends_the_server_and_then_the_actor_without_complaint(start: Start, client: redis.Redis) -> None:
    actor = start()
    server = server_pid(client)

    actor.terminate()

    assert end_of(actor)[0] == 0
    assert is_gone(server)


def test_what_was_written_is_there_after_a_stop_and_after_a_kill(start: Start, client: redis.Redis) -> None:
    for number, end in enumerate([signal.SIGTERM, signal.SIGKILL, signal.SIGTERM]):
        actor = start()
        server = server_pid(client)
        assert client.rpush("written", number) == number + 1
        actor.send_signal(end)
        actor.wait(timeout=10)
        wait_until(partial(is_gone, server), within=2, what="the server died with its actor")


def test_a_killed_server_ends_its_actor_with_the_signals_name(start: Start, client: redis.Redis) -> None:
    actor = start()

    os.kill(server_pid(client), signal.SIGKILL)

    code, errors = end_of(actor)
    assert code != 0
    assert "SIGKILL" in errors


def test_a_server_that_ends_by_itself_is_an_abnormal_end_too(start: Start, client: redis.Redis) -> None:
    actor = start()

    os.kill(server_pid(client), signal.SIGTERM)

    code, errors = end_of(actor)
    assert code != 0
    assert "ready to exit" in errors  # the server's last log lines


def test_a_server_that_stays_stopped_is_killed_and_a_short_pause_is_waited_out(
    start: Start, client: redis.Redis
) -> None:
    actor = start()
    server = server_pid(client)

    os.kill(server, signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        actor.wait(timeout=1.5)
    os.kill(server, signal.SIGCONT)
    assert client.ping()
    os.kill(server, signal.SIGSTOP)

    code, errors = end_of(actor)
    assert code != 0
    assert "store.stopped" in errors


def test_a_torn_end_of_the_file_is_cut_and_the_rest_is_kept(start: Start, client: redis.Redis, tmp_path: Path) -> None:
    actor = start()
    server_pid(client)
    client.set("kept", "1")
    actor.kill()
    actor.wait()
    [file] = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    with file.open("ab") as torn:
        torn.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")

    start()

    server_pid(client)
    assert client.get("kept") == b"1"


def test_a_damaged_file_is_named_with_its_remedy(start: Start, client: redis.Redis, tmp_path: Path) -> None:
    actor = start()
    server_pid(client)
    for number in range(10, 50):
        client.set(f"key{number}", "x" * 100)
    actor.kill()
    actor.wait()
    [file] = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    head, command, tail = file.read_bytes().partition(b"*3\r\n$3\r\nSET\r\n$5\r\nkey25")
    file.write_bytes(head + b"\xff" * len(command) + tail)

    code, errors = end_of(start())

    assert code != 0
    assert str(tmp_path / "store" / "appendonlydir") in errors
    assert "valkey-check-aof --fix" in errors


def test_one_data_directory_has_one_server_at_most(
    start: Start, client: redis.Redis, tmp_path: Path, socket: Path
) -> None:
    start()
    server_pid(client)

    second = lone_store.start(tmp_path, socket.with_name("second"))
    code, errors = end_of(second)

    assert code != 0
    assert "use another --data-dir" in errors
    assert client.ping()
