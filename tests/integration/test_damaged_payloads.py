"""Ten thousand damaged payloads and bodies at the gateway's door, and damaged answers in a slot's socket.

At the door each is accepted, or refused with a code: it is never the gateway's own error, never slow, and nothing in it is run.
"""

import base64
import json
import math
import pickle
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import cloudpickle
import msgspec
import pytest
import requests

from regrow.actors import packets, pipe, wire
from regrow.actors.leases import well_formed
from regrow.actors.limits import Limits
from regrow.actors.packets import CodeMissing, Ended, Ready
from regrow.actors.slots import Slots
from regrow.actors.task import Digest, Failure, FailureKind, TaskId
from regrow.actors.wire import TaskToRun
from regrow.runtime.errors import ProtocolError
from support import functions
from support.damage import damaged, flipped, spoiled
from support.gateway import MSGPACK, Door, gateway
from support.scripted import dispatcher, worker
from support.valkey import valkey_server

SLOW_S = 5.0  # a call takes milliseconds; this machine may have other work
PER_CALL = 200
ANSWERS = 2_000


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with valkey_server(tmp_path_factory.mktemp("store")) as server, gateway(server.url) as door:
        yield door


class Canary:
    """Whoever loads this runs a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return Path.touch, (str(self.mark),)


def parameters(mark: Path) -> list[bytes]:
    values = [((1, "a", [2.5] * 20), {"k": {"n": None}}), ((b"x" * 300,), {}), ((), {"canary": Canary(mark)})]
    return [pickle.dumps(value, protocol) for value in values for protocol in range(2, 6)]


def callables(mark: Path) -> list[bytes]:
    def nested(x: int) -> int:
        return x + len(str(mark))

    return [cloudpickle.dumps(nested), pickle.dumps(len), cloudpickle.dumps(lambda: Canary(mark))]


def hurt(chance: random.Random, seeds: list[bytes]) -> bytes:
    return spoiled(chance, chance.choice(seeds), seeds)


def post(door: Door, path: str, body: bytes, kind: str) -> requests.Response:
    """One call that is answered in time, and not with the gateway's own error."""
    started = time.monotonic()
    answer = door.session.post(door.url + path, body, headers={"Content-Type": kind, "Accept": kind}, timeout=30)
    assert time.monotonic() - started < SLOW_S, (path, body)
    assert answer.status_code < 500, (path, body, answer.text)
    return answer


def test_damaged_parameters_are_accepted_or_refused_each_by_itself(door: Door, tmp_path: Path) -> None:
    chance, mark = random.Random(31), tmp_path / "ran"
    function_id, seeds = door.register(), parameters(mark)
    codes: Counter[str] = Counter()

    for _ in range(8000 // PER_CALL):
        tasks = [{"function_id": function_id, "payload": hurt(chance, seeds)} for _ in range(PER_CALL)]
        answer = post(door, "/v1/tasks", msgspec.msgpack.encode({"tasks": tasks}), MSGPACK)
        codes.update(
            item["error"]["code"] if "error" in item else "accepted"
            for item in msgspec.msgpack.decode(answer.content)["tasks"]
        )

    assert sum(codes.values()) == 8000
    assert codes["accepted"] < 8000 / 2, codes
    assert not mark.exists()
    assert door.get("/healthz").status_code == 200


def test_damaged_functions_are_accepted_or_refused(door: Door, tmp_path: Path) -> None:
    chance, mark = random.Random(32), tmp_path / "ran"
    seeds = callables(mark)
    codes: Counter[int] = Counter()

    for number in range(1000):
        payload = hurt(chance, seeds)
        encoded = base64.b64encode(payload)
        if number % 2:
            encoded = damaged(chance, base64.b64encode(chance.choice(seeds))) or b""
        body = json.dumps({"name": "f", "payload": encoded.decode("latin-1")}).encode()
        codes[post(door, "/register_function", body, "application/json").status_code] += 1

    assert set(codes) <= {200, 400, 413, 422}, codes
    assert codes[400] > 100
    assert not mark.exists()


def test_damaged_bodies_are_answered_with_a_refusal_or_taken_for_what_they_say(door: Door, tmp_path: Path) -> None:
    chance = random.Random(33)
    function_id, params = door.register(), parameters(tmp_path / "ran")[0]
    text = base64.b64encode(params).decode()
    bodies: list[tuple[str, str, bytes]] = [
        ("/execute_function", "application/json", json.dumps({"function_id": function_id, "payload": text}).encode()),
        (
            "/v1/tasks",
            "application/json",
            json.dumps(
                {"tasks": [{"function_id": function_id, "payload": text, "delay_s": 1.5, "max_attempts": 2}]}
            ).encode(),
        ),
        (
            "/v1/tasks",
            MSGPACK,
            msgspec.msgpack.encode(
                {"tasks": [{"function_id": function_id, "payload": params, "limits": {"wall_s": 2.0}}]}
            ),
        ),
        ("/v1/functions", MSGPACK, msgspec.msgpack.encode({"name": "f", "payload": pickle.dumps(len), "ttl_s": 9.0})),
        ("/v1/tasks/wait", MSGPACK, msgspec.msgpack.encode({"task_ids": [function_id], "wait_s": 0.0})),
    ]
    codes: Counter[int] = Counter()

    for _ in range(1000):
        path, kind, body = chance.choice(bodies)
        if path == "/v1/tasks/wait":  # cuts only: a number of seconds that is not what it was may be long
            damage = body[: chance.randrange(len(body))]
        else:
            damage = spoiled(chance, body, [other for _, _, other in bodies])
        codes[post(door, path, damage, kind).status_code] += 1

    assert set(codes) <= {200, 400, 404, 413, 415, 422}, codes
    assert codes[200] < 500, codes


def real_answers() -> list[bytes]:
    """Bodies as slots write them."""
    failure = Failure(FailureKind.RAISED, "ValueError", "nö", "traceback", b"\x80x", ("builtins.ValueError",))
    value = pickle.dumps({"a": [1, 2.5, "x"]})
    answers: list[packets.FromSlot] = [
        Ready(),
        Ended(value, None, 0.25, crc32(value)),
        Ended(None, failure, 0.25),
        CodeMissing(),
    ]
    return [packets.encode(answer) for answer in answers]


def test_damaged_answers_in_a_slots_socket_are_garbage_or_answers_and_the_worker_copes() -> None:
    """What decodes is folded by the worker's core: it protests, or takes it; its invariants hold."""
    chance, bodies = random.Random(34), real_answers()
    garbage = 0
    worker_end, slot_end = pipe.pair()
    with worker_end, slot_end:
        for _ in range(ANSWERS):
            body = chance.choice(bodies)
            packet = chance.choice([1, 2]).to_bytes(pipe.HEADER_BYTES, "little") + body
            packet = flipped(chance, packet) if chance.random() < 0.5 else spoiled(chance, packet, bodies)
            slot_end.send(packet)
            try:
                received = pipe.receive(worker_end, 4096, socket.MSG_DONTWAIT)
                number, content = received or (0, b"")
                answer = packets.decode_from_slot(content)
            except (ProtocolError, msgspec.MsgspecError, UnicodeDecodeError):
                garbage += 1
                continue
            fold(number, answer)

    assert garbage > ANSWERS / 4


def test_an_answer_that_is_no_text_ends_its_slot_and_not_its_worker(tmp_path: Path) -> None:
    """For real: a function writes a packet into its slot's socket whose strings are not UTF-8."""
    body = packets.encode(Ended(None, Failure(FailureKind.RAISED, "ValueError", "??"), 0.1)).replace(b"??", b"\xff\xfe")
    with dispatcher() as peer, worker(peer.address, tmp_path / "log", slots=1) as process:
        peer.expect(wire.Hello)

        ids = peer.run(
            peer.task(functions.write_garbage, (1).to_bytes(pipe.HEADER_BYTES, "little") + body),
            peer.task(functions.double, 1),
        )

        assert "no answer" in peer.failure(ids[0]).message
        assert peer.result(ids[1]) == 2
        assert process.poll() is None


ATTACKS = {  # well formed, and nobody's callable: loading them is the attack
    "hangs": b"\x80\x04ctime\nsleep\n(I3600\ntR.",
    "hangs for ever": b"\x80\x04cthreading\nmain_thread\n)R0cselect\nselect\n((l(l(ltR.",
    "spins": b"\x80\x04cbuiltins\nsum\n(cbuiltins\nrange\n(I1000000000000\ntRtR.",
    "eats memory": b"\x80\x04cbuiltins\nbytearray\n(I8000000000\ntR.",
    "eats memory in many pieces": b"\x80\x04cbuiltins\nlist\n(cbuiltins\nrange\n(I1000000000\ntRtR.",
}


def test_a_pickle_that_hangs_or_eats_memory_when_it_is_loaded_meets_its_limits(tmp_path: Path) -> None:
    """As a function and as parameters; the gateway's check loads neither, so it is the slot that has to bear them."""
    limits = Limits(wall_s=2.0, memory_bytes=256 * 1024 * 1024)
    with dispatcher() as peer, worker(peer.address, tmp_path / "log", slots=2) as process:
        peer.expect(wire.Hello)
        tasks = [peer.task(attack) for attack in ATTACKS.values()]
        tasks += [msgspec.structs.replace(peer.task(functions.double, 1), params=attack) for attack in ATTACKS.values()]

        ids = peer.run(*(msgspec.structs.replace(task, limits=limits) for task in tasks))
        kinds = [peer.failure(task_id, within=60).kind for task_id in ids]
        [last] = peer.run(peer.task(functions.double, 21))

        assert {kinds[0], kinds[1], kinds[5], kinds[6]} == {FailureKind.TIMED_OUT}, kinds
        assert set(kinds) <= {FailureKind.TIMED_OUT, FailureKind.OOM, FailureKind.UNLOADABLE}, kinds
        assert peer.result(last) == 42
        assert process.poll() is None


def fold(number: int, answer: packets.FromSlot) -> None:
    slots = Slots(1)
    slots.ready(0)
    slots.accept([TaskToRun(TaskId("t"), 1, Digest("d"), b"p")])
    slots.learn({Digest("d"): b"code"})
    if isinstance(answer, Ready):
        slots.ready(0)
    else:
        slots.ended(0, [(number, answer)])
    slots.check()
    for outcome in slots.unacknowledged.values():
        ended = well_formed(outcome)
        assert (ended.value is None) != (ended.failure is None) or ended.failure is not None
        assert ended.ran_s is not math.nan
