"""What a function and a task can be sent with: each field's bounds, what contradicts itself, and keys that stand for all of it."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support.gateway import NO_ARGUMENTS, Door, Hand, gateway, text
from support.valkey import valkey_server

NAN = float("nan")
HUGE = 10**400
YEARS = 400 * 24 * 3600.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture(scope="module")
def door(url: str) -> Iterator[Door]:
    with gateway(url) as door:
        yield door


@pytest.fixture(scope="module")
def callee(door: Door) -> str:
    return door.register()


def register(door: Door, **fields: Any) -> requests.Response:
    return door.post("/v1/functions", {"name": "f", "payload": text(pickle.dumps(len)), **fields})


def submit(door: Door, callee: str, **fields: Any) -> dict[str, Any]:
    """The verdict on one task."""
    answer = door.post("/v1/tasks", {"tasks": [{"function_id": callee, "payload": text(NO_ARGUMENTS), **fields}]})
    assert answer.status_code == 200, answer.text
    verdict: dict[str, Any] = answer.json()["tasks"][0]
    return verdict


DURATIONS = [0, -1, "5", True, YEARS, [], {}]
NUMBERS = {
    "wall_s": DURATIONS,
    "cpu_s": DURATIONS,
    "memory_bytes": [0, -1, 1.5, "1", True, 2**51],
    "output_bytes": [-1, 1.5, "1", True, 2**41],
    "open_files": [0, -1, 1.5, True, 2**21],
    "file_bytes": [-1, 1.5, True, 2**51],
    "processes": [-1, 1.5, True, 2**21],
}
POLICIES = {
    "count": [-1, 1.5, "1", True, 1001, None],
    "backoff_s": [-1, "1", True, YEARS],
    "factor": [0, 0.5, "1", True, 101],
    "max_backoff_s": [-1, "1", True, YEARS],
    "jitter": [-0.1, 1.1, "1", True],
    "retry_on": ["OSError", [1], [""], ["x" * 201], ["x"] * 101],
    "dont_retry": ["OSError", [1], [""]],
}
TIMES = {"delay_s": [-1, "5", True, YEARS, []], "expires_s": DURATIONS, "deadline_s": DURATIONS}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in NUMBERS.items() for v in values])
def test_a_limit_that_does_not_fit_is_422_and_named(door: Door, callee: str, field: str, value: object) -> None:
    answer = register(door, limits={field: value})
    verdict = submit(door, callee, limits={field: value})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["detail"].startswith(f"limits.{field}: Input should ")
    assert answer.json()["errors"][0]["field"] == f"limits.{field}"
    assert (verdict["error"]["status"], verdict["error"]["code"]) == (422, "invalid")
    assert verdict["error"]["detail"].startswith(f"limits.{field}: Input should ")


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in POLICIES.items() for v in values])
def test_a_retry_policy_that_does_not_fit_is_422_and_named(door: Door, field: str, value: object) -> None:
    answer = register(door, retry={"count": 1, field: value})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"][0]["field"].startswith(f"retry.{field}")


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in TIMES.items() for v in values])
def test_a_time_that_does_not_fit_is_422_and_named(door: Door, callee: str, field: str, value: object) -> None:
    error = submit(door, callee, **{field: value})["error"]

    assert (error["status"], error["code"]) == (422, "invalid")
    assert error["detail"].startswith(f"{field}: Input should ")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"ttl_s": 0}, "ttl_s"),
        ({"ttl_s": -1}, "ttl_s"),
        ({"ttl_s": "1"}, "ttl_s"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"max_attempts": "3"}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"retry": {}}, "retry.count"),
        ({"retry": 3}, "retry"),
        ({"limits": 3}, "limits"),
        ({"limits": {"wall": 3}}, "limits.wall"),
        ({"retry": {"count": 1, "times": 3}}, "retry.times"),
        ({"delay_s": 3}, "delay_s"),
    ],
)
def test_other_fields_of_a_function_that_do_not_fit_are_named(door: Door, fields: dict[str, Any], named: str) -> None:
    answer = register(door, **fields)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, named), answer.text


def test_what_is_no_number_comes_by_msgpack_and_is_refused_there_too(door: Door, callee: str) -> None:
    task = {"function_id": callee, "payload": NO_ARGUMENTS}
    fields = [{"delay_s": NAN}, {"expires_s": float("inf")}, {"deadline_s": NAN}, {"limits": {"wall_s": NAN}}]

    verdicts = door.pack("/v1/tasks", {"tasks": [task | each for each in fields]})["tasks"]

    assert [verdict["error"]["code"] for verdict in verdicts] == ["invalid"] * 4
    for name, verdict in zip(("delay_s", "expires_s", "deadline_s", "limits.wall_s"), verdicts, strict=True):
        assert verdict["error"]["detail"].startswith(f"{name}: Input should be a finite number")


def test_a_number_too_large_for_json_is_refused_in_one_line(door: Door) -> None:
    for body in (b'{"name": "f", "payload": "", "ttl_s": NaN}', b'{"name": "f", "payload": "", "ttl_s": 1e999}'):
        answer = requests.post(
            f"{door.url}/v1/functions", body, headers={"Content-Type": "application/json"}, timeout=10
        )
        assert answer.json()["code"] in {"malformed_body", "invalid"}
        assert answer.status_code in {400, 422}
    answer = register(door, limits={"memory_bytes": HUGE})
    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize("field", ["expires_s", "deadline_s"])
@pytest.mark.parametrize("value", [1, 5])
def test_a_task_that_could_never_start_is_refused(door: Door, callee: str, field: str, value: float) -> None:
    error = submit(door, callee, delay_s=5, **{field: value})["error"]

    assert error["detail"] == f"{field}: Input should be greater than delay_s, or the task never starts"
    assert "task_id" in submit(door, callee, delay_s=5, **{field: 5.1})


def test_a_function_is_shown_with_its_terms(door: Door) -> None:
    limits = {"wall_s": 1.5, "memory_bytes": 2**30, "processes": 0}
    retry = {"count": 3, "retry_on": ["OSError"]}
    function_id = register(door, limits=limits, retry=retry, max_attempts=2, ttl_s=60).json()["function_id"]

    shown = door.get(f"/v1/functions/{function_id}").json()

    assert shown["limits"] == limits
    assert shown["retry"] == {
        "count": 3, "backoff_s": 1.0, "factor": 2.0, "max_backoff_s": 300.0, "jitter": 0.2, "retry_on": ["OSError"],
        "dont_retry": [],
    }  # fmt: skip
    assert (shown["max_attempts"], shown["ttl_s"]) == (2, 60.0)


def test_a_policy_that_can_never_act_is_worth_a_warning_that_says_so(door: Door) -> None:
    retry = {"count": 3}

    [warning] = register(door, retry=retry, max_attempts=1).json()["warnings"]

    assert "retry has no effect with max_attempts 1" in warning
    for fields in (
        {"retry": retry, "max_attempts": 2},
        {"max_attempts": 1},
        {"retry": {"count": 0}, "max_attempts": 1},
    ):
        assert register(door, **fields).json()["warnings"] == []


def test_a_deleted_function_is_unknown_and_so_is_one_that_never_was(door: Door) -> None:
    function_id = door.register()

    answers = [door.session.delete(f"{door.url}/v1/functions/{function_id}", timeout=10) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[1].json()["code"] == "unknown_function"
    assert submit(door, function_id)["error"]["code"] == "unknown_function"


# Keys


OPTIONS: list[dict[str, Any]] = [
    {"delay_s": 60},
    {"expires_s": 60},
    {"deadline_s": 60},
    {"max_attempts": 2},
    {"limits": {"wall_s": 60}},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_key_stands_for_the_options_too(door: Door, callee: str, options: dict[str, Any]) -> None:
    key = f"key of {options}"

    first = submit(door, callee, idempotency_key=key, **options)
    again = submit(door, callee, idempotency_key=key, **options)
    plain = submit(door, callee, idempotency_key=key)
    others = [submit(door, callee, idempotency_key=key, **other) for other in OPTIONS if other != options]

    assert again == first
    for verdict in (plain, *others):
        assert (verdict["error"]["status"], verdict["error"]["code"]) == (409, "idempotency_conflict")
        assert first["task_id"] in verdict["error"]["detail"]


def test_options_that_say_nothing_are_no_options_to_a_key(door: Door, callee: str) -> None:
    silent: list[dict[str, Any]] = [
        {"delay_s": None},
        {"delay_s": 0},
        {"limits": None},
        {"limits": {}},
        {"limits": {"wall_s": None}},
        {"deadline_s": None, "max_attempts": None},
    ]
    first = submit(door, callee, idempotency_key="silent")

    assert [submit(door, callee, idempotency_key="silent", **each) for each in silent] == [first] * len(silent)


# Cancelling


def test_a_batch_is_cancelled_and_told_what_became_of_each(door: Door, url: str) -> None:
    with Hand(url) as hand:
        hand.claim(1000)  # whatever other tests left
        callee = door.register()
        ids = [door.submit(callee) for _ in range(3)]
        stranger = "00000000-0000-4000-8000-000000000000"
        (ended,) = hand.complete(b"N.")
        (runs,) = [claim.task_id for claim in hand.claim()]

        asked = {"task_ids": [*ids, stranger], "only_queued": True}
        gently = door.post("/v1/tasks/cancel", asked).json()
        firmly = door.post("/v1/tasks/cancel", {"task_ids": [*ids, stranger]}).json()

    assert gently == {"cancelled": [ids[2]], "ended": [ended], "running": [runs], "unknown": [stranger]}
    assert firmly == {"cancelled": [runs, ids[2]], "ended": [ended], "running": [], "unknown": [stranger]}
    assert door.get(f"/v1/tasks/{runs}").json()["error"]["kind"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"task_ids": []}, "task_ids: List should have at least 1 item"),
        ({"task_ids": ["seven"]}, "task_ids.0: Input should be a valid UUID"),
        ({}, "task_ids: Field required"),
        ({"task_ids": "x"}, "task_ids: Input should be a valid list"),
        ({"task_ids": ["00000000-0000-4000-8000-000000000000"], "only_queued": 1}, "only_queued: Input should be a"),
    ],
)
def test_what_cannot_be_cancelled_is_said(door: Door, body: dict[str, Any], said: str) -> None:
    answer = door.post("/v1/tasks/cancel", body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["detail"].startswith(said)


def test_the_document_describes_every_option(door: Door) -> None:
    schemas = door.get("/openapi.json").json()["components"]["schemas"]

    assert {"limits", "retry", "ttl_s", "max_attempts"} <= schemas["NewFunction"]["properties"].keys()
    wanted = {"limits", "delay_s", "expires_s", "deadline_s", "max_attempts", "idempotency_key"}
    assert wanted <= schemas["NewTask"]["properties"].keys()
    assert schemas["Limits"]["properties"].keys() == NUMBERS.keys()
    assert schemas["Retry"]["properties"].keys() == POLICIES.keys()
