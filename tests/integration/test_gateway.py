import base64
import json
import pickle
import re
import textwrap
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import dill
import pytest
import requests

from regrow.actors.task import FailureKind, Move
from support.gateway import NO_ARGUMENTS, Hand, gateway, text
from support.valkey import valkey_server
from support.waiting import wait_until

STRANGER = str(uuid.uuid4())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def door(server):
    with gateway(server.url, max_payload_bytes=1_000_000, max_queued=5000) as door:
        yield door


@pytest.fixture(autouse=True)
def empty(request, server):
    yield
    with server.client() as client:
        client.flushall()


@pytest.fixture
def hand(server):
    with Hand(server.url) as hand:
        hand.beat()
        yield hand


def problem(answer: requests.Response, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert (found["code"], found["status"]) == (code, status)
    assert found["title"]
    assert found["detail"]
    return found


# The official four


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_life_of_a_task_through_the_official_four(door, hand, slash):
    function_id = door.post(f"/register_function{slash}", {"name": "f", "payload": text(dill.dumps(len))}).json()[
        "function_id"
    ]
    task_id = door.post(
        f"/execute_function{slash}", {"function_id": function_id, "payload": text(NO_ARGUMENTS)}
    ).json()["task_id"]

    assert door.get(f"/status/{task_id}{slash}").json() == {"task_id": task_id, "status": "QUEUED"}
    unfinished = {"task_id": task_id, "status": "QUEUED", "result": "", "error": None}
    assert door.get(f"/result/{task_id}{slash}").json() == unfinished

    (claim,) = hand.claim()
    assert door.get(f"/status/{task_id}").json()["status"] == "RUNNING"
    hand.settle([claim], Move.SUCCEED, value=dill.dumps({"answer": 42}))

    assert door.get(f"/status/{task_id}").json()["status"] == "COMPLETED"
    answer = door.get(f"/result/{task_id}").json()
    assert answer == {
        "task_id": task_id,
        "status": "COMPLETED",
        "result": text(dill.dumps({"answer": 42})),
        "error": None,
    }
    assert uuid.UUID(function_id).version == uuid.UUID(task_id).version == 4


def test_a_failed_tasks_result_unpickles_to_its_error_as_text(door, hand):
    task_id = door.submit(door.register())
    hand.fail(FailureKind.RAISED, "ValueError", "größe ☃ " + "x" * 300)

    answer = door.get(f"/result/{task_id}").json()

    assert answer["status"] == "FAILED"
    loaded = pickle.loads(base64.b64decode(answer["result"]))
    assert loaded == "ValueError: größe ☃ " + "x" * 300
    assert answer["error"]["kind"] == "raised"
    assert answer["error"]["type"] == "ValueError"
    assert answer["error"]["traceback"] == "Traceback ..."
    assert answer["error"]["exception"] == text(pickle.dumps(ValueError("größe ☃ " + "x" * 300)))


def test_the_root_says_that_it_runs(door):
    message = door.get("/").json()["message"]

    assert "MPCSFaaS" in message
    assert "running" in message


def test_the_record_in_the_store_has_the_official_form(door, server):
    code = dill.dumps(lambda x: x)
    function_id = door.register(code, "named")

    with server.client() as client:
        record = json.loads(client.get(f"function:{function_id}"))
    assert record["name"] == "named"
    assert record["payload"] == text(code)


def test_line_wrapped_base64_is_taken_and_plain_base64_is_given(door, hand):
    value = dill.dumps("x" * 1000)
    wrapped = "\n".join(textwrap.wrap(text(NO_ARGUMENTS), 8)) + "\n"
    function_id = door.register()
    task_id = door.post("/execute_function", {"function_id": function_id, "payload": wrapped}).json()["task_id"]
    hand.complete(value)

    assert door.get(f"/result/{task_id}").json()["result"] == text(value)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("payload", "not_base64"),
        (text(b"not_a_function"), "not_a_pickle"),
        ("", "empty"),
        (text(pickle.dumps(42)), "not_callable"),
        (text(dill.dumps(len)[:-1]), "truncated"),
        (text(dill.dumps(len) + b"."), "trailing_bytes"),
    ],
)
def test_what_is_no_function_is_refused_with_400(door, payload, code):
    assert "; " in problem(door.post("/register_function", {"name": "f", "payload": payload}), 400, code)["detail"]


def test_parameters_of_another_shape_are_refused_with_400(door):
    function_id = door.register()

    answer = door.post("/execute_function", {"function_id": function_id, "payload": text(pickle.dumps([1, 2]))})

    problem(answer, 400, "not_args_kwargs")


def test_unknown_ids_are_404_and_malformed_ones_422(door):
    problem(
        door.post("/execute_function", {"function_id": STRANGER, "payload": text(NO_ARGUMENTS)}),
        404,
        "unknown_function",
    )
    problem(door.post("/execute_function", {"function_id": "seven", "payload": text(NO_ARGUMENTS)}), 422, "invalid")
    for path in ("status", "result", "v1/tasks"):
        problem(door.get(f"/{path}/{STRANGER}"), 404, "unknown_task")
        problem(door.get(f"/{path}/seven"), 422, "invalid")
    problem(door.get(f"/v1/functions/{STRANGER}"), 404, "unknown_function")


def test_fields_that_do_not_fit_are_422_and_named(door):
    for body in ({}, {"name": "f"}, {"name": 1, "payload": "x"}, {"name": "", "payload": "x"}, [], "x", 7):
        assert problem(door.post("/register_function", body), 422, "invalid")["errors"]
    item = {"function_id": door.register(), "payload": text(NO_ARGUMENTS), "priority": 3}
    (found,) = door.post("/v1/tasks", {"tasks": [item]}).json()["tasks"]
    assert found["error"]["detail"] == "priority: this version does not support this field"


def test_a_body_that_cannot_be_read_is_400(door):
    for kind, body in (
        ("application/json", b"{"),
        ("application/json", b"\xff"),
        ("application/msgpack", b"\xc1"),
        ("application/json", b"[" * 100_000),
    ):
        answer = requests.post(f"{door.url}/v1/tasks", body, headers={"Content-Type": kind}, timeout=10)
        problem(answer, 400, "malformed_body")


def test_too_large_is_413_by_length_by_reading_and_by_payload(door):
    headers = {"Content-Type": "application/json"}
    assert problem(
        requests.post(f"{door.url}/register_function", b" " * 2_000_000, headers=headers, timeout=10), 413, "too_large"
    )
    chunks = (b" " * 100_000 for _ in range(20))
    assert problem(
        requests.post(f"{door.url}/register_function", chunks, headers=headers, timeout=10), 413, "too_large"
    )
    large = text(pickle.dumps(((b"x" * 1_000_001,), {})))
    problem(door.post("/execute_function", {"function_id": STRANGER, "payload": large}), 413, "too_large")


def test_a_full_queue_is_429_with_the_time_to_come_back(door):
    function_id = door.register()
    tasks = [{"function_id": function_id, "payload": text(NO_ARGUMENTS)}] * 5000
    assert all("task_id" in verdict for verdict in door.post("/v1/tasks", {"tasks": tasks}).json()["tasks"])

    answer = door.post("/execute_function", tasks[0])

    problem(answer, 429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0
    problem(door.post("/v1/tasks", {"tasks": tasks[:2]}), 429, "queue_full")


def test_other_routes_and_methods_are_problems_too(door):
    problem(door.get("/nowhere"), 404, "not_found")
    problem(door.get("/register_function"), 405, "method_not_allowed")
    problem(door.session.delete(f"{door.url}/v1/tasks", timeout=10), 405, "method_not_allowed")


def test_a_canary_never_hatches(door, tmp_path):
    nest = tmp_path / "egg"
    canary = b"cposix\nsystem\n(Vtouch " + str(nest).encode() + b"\ntR."
    door.post("/register_function", {"name": "f", "payload": text(canary)})
    function_id = door.register()
    door.post("/execute_function", {"function_id": function_id, "payload": text(b"(" + canary[:-1] + b"t}\x86.")})
    door.post("/v1/functions", {"name": "f", "payload": text(canary)})
    door.post("/v1/tasks", {"tasks": [{"function_id": function_id, "payload": text(canary)}]})

    assert not nest.exists()


# /v1


def test_functions_are_registered_listed_and_shown(door):
    ids = [door.register(name=f"f{number}") for number in range(5)]
    registered = door.post(
        "/v1/functions", {"name": "g", "payload": text(dill.dumps(textwrap.dedent)), "max_attempts": 1}
    ).json()

    pages, after = [], ""
    while after is not None:
        page = door.get(f"/v1/functions?limit=4{f'&after={after}' if after else ''}").json()
        pages.append([function["function_id"] for function in page["functions"]])
        after = page["next"]

    assert [len(page) for page in pages] == [4, 2]
    assert sorted(function_id for page in pages for function_id in page) == sorted([*ids, registered["function_id"]])
    shown = door.get(f"/v1/functions/{registered['function_id']}").json()
    assert (shown["name"], shown["digest"], shown["max_attempts"]) == ("g", registered["digest"], 1)
    assert registered["warnings"] == []


def test_a_function_by_reference_is_registered_with_a_warning(door):
    answer = door.post("/v1/functions", {"name": "f", "payload": text(pickle.dumps(valkey_server))}).json()

    assert "support.valkey" in answer["warnings"][0]


def test_a_batch_is_answered_in_order_and_one_bad_item_spoils_no_other(door):
    good = {"function_id": door.register(), "payload": text(NO_ARGUMENTS)}
    bad = [
        (good | {"payload": "?"}, 400, "not_base64"),
        (good | {"payload": text(pickle.dumps(1))}, 400, "not_args_kwargs"),
        (good | {"function_id": STRANGER}, 404, "unknown_function"),
        (good | {"function_id": 7}, 422, "invalid"),
        (good | {"priority": 7}, 422, "invalid"),
        (good | {"max_attempts": 0}, 422, "invalid"),
        (good | {"payload": text(pickle.dumps(((b"x" * 1_000_001,), {})))}, 413, "too_large"),
        ("?", 422, "invalid"),
    ]

    for item, status, code in bad:
        first, middle, last = door.post("/v1/tasks", {"tasks": [good, item, good]}).json()["tasks"]
        assert first["task_id"] != last["task_id"]
        assert (middle["error"]["status"], middle["error"]["code"]) == (status, code)
        assert middle["error"]["detail"]


def test_a_task_under_an_idempotency_key_is_submitted_once_whatever_becomes_of_it(door, hand):
    item = {"function_id": door.register(), "payload": text(NO_ARGUMENTS), "idempotency_key": "order 7 \N{SNOWMAN}"}

    def submitted(*items):
        return [verdict["task_id"] for verdict in door.post("/v1/tasks", {"tasks": items}).json()["tasks"]]

    task_id, again = submitted(item, item)
    after_a_while = submitted(item)
    (ran,) = hand.complete(pickle.dumps(42))
    after_the_end = submitted(item)
    others = submitted(item | {"idempotency_key": "order 8"}, *[{**item, "idempotency_key": None}] * 2)

    assert [again, *after_a_while, ran, *after_the_end] == [task_id] * 4
    assert uuid.UUID(task_id).version == 4
    assert len({task_id, *others}) == 4
    assert len(hand.claim(10)) == 3
    assert door.get(f"/status/{task_id}").json()["status"] == "COMPLETED"


def test_a_repeated_submit_of_a_task_that_has_ended_leaves_no_waiter_waiting(door, hand):
    item = {"function_id": door.register(), "payload": text(NO_ARGUMENTS), "idempotency_key": "k"}
    (first,) = door.post("/v1/tasks", {"tasks": [item]}).json()["tasks"]
    hand.complete(b"N.")
    assert door.get(f"/v1/tasks/{first['task_id']}?wait_s=20").json()["status"] == "COMPLETED"

    door.post("/v1/tasks", {"tasks": [item]})

    started = time.monotonic()
    assert door.get(f"/v1/tasks/{first['task_id']}?wait_s=20").json()["status"] == "COMPLETED"
    assert time.monotonic() - started < 5


def test_another_task_under_the_same_key_is_a_conflict_and_spoils_no_other(door):
    item = {"function_id": door.register(), "payload": text(NO_ARGUMENTS), "idempotency_key": "k"}
    others = [
        {"function_id": door.register(pickle.dumps(max))},
        {"payload": text(pickle.dumps(((1,), {})))},
        {"max_attempts": 1},
        {"idempotency_key": "another", "max_attempts": 1},
    ]

    same = item | {"function_id": door.register()}  # the same bytes, registered again

    verdicts = door.post("/v1/tasks", {"tasks": [item, *[item | other for other in others], item, same]}).json()[
        "tasks"
    ]

    assert verdicts[0] == verdicts[5] == verdicts[6]
    assert [verdict["error"]["code"] for verdict in verdicts[1:4]] == ["idempotency_conflict"] * 3
    assert verdicts[1]["error"]["status"] == 409
    assert verdicts[0]["task_id"] in verdicts[1]["error"]["detail"]
    assert "task_id" in verdicts[4]


def test_an_idempotency_key_is_a_text_of_1_to_200_characters_and_not_for_the_official_call(door):
    item = {"function_id": door.register(), "payload": text(NO_ARGUMENTS)}
    keys = ["", "x" * 201, 7, "x" * 200]

    verdicts = door.post("/v1/tasks", {"tasks": [item | {"idempotency_key": key} for key in keys]}).json()["tasks"]

    assert [verdict.get("error", {}).get("code") for verdict in verdicts] == ["invalid"] * 3 + [None]
    assert "idempotency_key" in verdicts[0]["error"]["detail"]
    problem(door.post("/execute_function", item | {"idempotency_key": "k"}), 422, "invalid")


def test_msgpack_carries_raw_bytes_both_ways(door, hand):
    function_id = door.pack("/v1/functions", {"name": "f", "payload": dill.dumps(len)})["function_id"]
    submitted = door.pack("/v1/tasks", {"tasks": [{"function_id": function_id, "payload": NO_ARGUMENTS}]})
    task_id = submitted["tasks"][0]["task_id"]
    hand.complete(b"\x80\x04K*.")

    answer = door.pack("/v1/tasks/wait", {"task_ids": [task_id], "wait_s": 5.0})

    (task,) = answer["tasks"]
    assert task["result"] == b"\x80\x04K*."
    assert task["status"] == "COMPLETED"
    assert answer["unknown"] == []


def test_a_task_shows_its_attempts(door, hand):
    function_id = door.register()
    task_id = door.submit(function_id)
    hand.fail(FailureKind.RAISED, "KeyError", "'k'")

    task = door.get(f"/v1/tasks/{task_id}").json()

    assert task["function_id"] == function_id
    assert (
        task["submitted_at"]
        <= task["attempts"][0]["started_at"]
        <= task["attempts"][0]["ended_at"]
        <= task["finished_at"]
    )
    assert (task["attempts"][0]["number"], task["attempts"][0]["outcome"]) == (1, "raised")
    assert task["result"] is None
    assert task["error"]["message"] == "'k'"


def test_a_long_poll_is_answered_when_its_task_ends(door, hand):
    task_id = door.submit(door.register())
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(requests.get, f"{door.url}/v1/tasks/{task_id}?wait_s=20", timeout=30)
        many = pool.submit(
            requests.post, f"{door.url}/v1/tasks/wait", json={"task_ids": [task_id], "wait_s": 20}, timeout=30
        )
        wait_until(lambda: "regrow_long_polls 2.0" in door.get("/metrics").text, 5, "both wait")
        started = time.monotonic()
        hand.complete(b"N.")

        assert one.result().json()["status"] == "COMPLETED"
        assert many.result().json()["tasks"][0]["result"] == text(b"N.")
    assert time.monotonic() - started < 1.0
    assert "regrow_long_polls 0.0" in door.get("/metrics").text


def test_a_long_poll_that_runs_out_shows_the_task_as_it_is(door):
    task_id = door.submit(door.register())

    assert door.get(f"/v1/tasks/{task_id}?wait_s=0.2").json()["status"] == "QUEUED"
    assert door.post("/v1/tasks/wait", {"task_ids": [task_id], "wait_s": 0.2}).json() == {"tasks": [], "unknown": []}


def test_waiting_for_many_answers_with_those_that_have_ended(door, hand):
    function_id = door.register()
    ids = [door.submit(function_id) for _ in range(5)]
    ended = hand.complete(b"N.", count=2)

    answer = door.post("/v1/tasks/wait", {"task_ids": [*ids, STRANGER], "wait_s": 5}).json()
    assert answer["unknown"] == [STRANGER]
    seen = {task["task_id"] for task in answer["tasks"]}
    while len(seen) < len(
        ended
    ):  # word of an end may come a moment after the end, and the stranger is answered at once
        answer = door.post("/v1/tasks/wait", {"task_ids": sorted(set(ids) - seen), "wait_s": 5}).json()
        assert answer["tasks"]
        seen |= {task["task_id"] for task in answer["tasks"]}

    assert seen == set(ended)


def test_a_large_result_comes_alone_and_the_others_with_the_next_answer(door, hand):
    function_id = door.register()
    ids = {door.submit(function_id) for _ in range(20)}
    hand.complete(pickle.dumps(b"x" * 6_000_000), count=20)

    rounds = 0
    while ids:
        answer = door.pack("/v1/tasks/wait", {"task_ids": list(ids), "wait_s": 5})
        assert answer["tasks"]
        ids -= {task["task_id"] for task in answer["tasks"]}
        rounds += 1

    assert rounds == 2


def test_without_a_tree_the_gateway_shows_itself_and_resizes_nothing(door):
    tree = door.get("/v1/tree").json()

    assert (tree["role"], tree["pid"], tree["children"]) == ("gateway", door.process.pid, [])
    answer = door.session.patch(f"{door.url}/v1/pools/workers", json={"size": 3}, timeout=10)
    problem(answer, 409, "no_tree")
    for size in (0, -1, 1025):
        answer = door.session.patch(f"{door.url}/v1/pools/workers", json={"size": size}, timeout=10)
        assert problem(answer, 422, "invalid")["errors"][0]["field"] == "size"


def test_workers_are_those_of_living_dispatchers(door, hand):
    (worker,) = door.get("/v1/workers").json()["workers"]

    assert (worker["worker_id"], worker["slots"], worker["busy"], worker["busy_slots"]) == (hand.worker, 2, 1, [1])


# For those who watch


def test_ready_means_a_dispatcher_and_a_worker_that_takes_tasks(door, server):
    reasons = door.get("/readyz").json()["reasons"]
    assert len(reasons) == 2
    with Hand(server.url) as hand:
        hand.beat(workers=0)
        assert door.get("/readyz").json()["reasons"] == ["no worker is registered that takes new tasks"]
        hand.beat(is_draining=True)
        assert door.get("/readyz").status_code == 503
        hand.beat()
        assert door.get("/readyz").status_code == 200
        assert door.get("/readyz").json() == {"status": "ok", "reasons": []}


def test_metrics_count_tasks_and_requests(server, door, hand):
    with server.client() as client:
        client.hset("{regrow}:counters", "found:leased", 1)
    function_id = door.register()
    for _ in range(3):
        door.submit(function_id)
    hand.complete(b"N.")
    hand.fail(FailureKind.RAISED, "ValueError", "no")

    lines = door.get("/metrics").text.splitlines()

    for line in (
        "regrow_store_up 1.0",
        "regrow_tasks_queued 1.0",
        "regrow_tasks_running 0.0",
        "regrow_tasks_submitted_total 3.0",
        'regrow_tasks_ended_total{outcome="completed"} 1.0',
        'regrow_tasks_ended_total{outcome="raised"} 1.0',
        "regrow_stale_results_total 0.0",
        'regrow_found_tasks_total{place="leased"} 1.0',
        "regrow_workers 1.0",
        "regrow_slots 2.0",
        "regrow_slots_busy 1.0",
    ):
        assert line in lines
    assert any(
        line.startswith('regrow_http_requests_total{method="POST",route="/execute_function",status="200"}')
        for line in lines
    )


def test_the_openapi_document_describes_both_formats_and_every_error(door):
    document = door.get("/openapi.json").json()

    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if path not in {"/metrics", "/v1/events"}:
                assert {"application/json", "application/msgpack"} <= route["responses"]["200"]["content"].keys()
            if method in {"post", "patch"}:
                assert route["requestBody"]["content"].keys() == {"application/json", "application/msgpack"}
                assert {"415", "422"} <= route["responses"].keys()
    for name in set(re.findall(r"#/components/schemas/(\w+)", door.get("/openapi.json").text)):
        assert name in document["components"]["schemas"]
