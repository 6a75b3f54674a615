import asyncio
import http
import pickle
import re
from pathlib import Path

import msgspec
import pytest
import structlog
from fastapi import Request

from regrow.actors.payload import Fault, PayloadError
from regrow.actors.task import State, TaskRecord
from regrow.gateway import api, problems, views
from regrow.gateway.problems import KINDS, ApiError, problem_of
from regrow.gateway.schemas import Misfit, NewTask, fit, fit_tasks
from regrow.runtime.errors import CallRefused, CallTimeout, Fenced, NoSuchActor, StoreUnavailable

GATEWAY = Path(problems.__file__).parent


@pytest.fixture
def logs_as_without_us():
    """An ASGI server of one's own has configured nothing."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


def test_an_error_that_nobody_foresaw_is_told_without_what_was_in_hand(logs_as_without_us, capsys):
    def stumble():
        parcel = b"a secret " * 1000
        raise ZeroDivisionError(f"{len(parcel)} bytes of it")

    with pytest.raises(ZeroDivisionError) as raised:
        stumble()

    answer = asyncio.run(
        api._problem(
            Request(
                {
                    "type": "http",
                    "method": "GET",
                    "path": "/here",
                    "headers": [],
                    "query_string": b"",
                    "server": ("here", 80),
                }
            ),
            raised.value,
        )
    )

    told = "".join(capsys.readouterr())
    assert answer.status_code == 500
    assert "in stumble" in told
    assert "ZeroDivisionError: 9000 bytes of it" in told
    assert "/here" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PayloadError(Fault.NOT_BASE64, "it is not base64"), 400, "not_base64"),
        (Misfit([{"field": "name", "message": "missing"}]), 422, "invalid"),
        (StoreUnavailable("no answer"), 503, "store_unavailable"),
        (Fenced("gone"), 503, "store_refused"),
        (NoSuchActor("root"), 503, "tree_unavailable"),
        (CallTimeout("root"), 503, "tree_unavailable"),
        (CallRefused("pool size 2000"), 409, "refused"),
        (ApiError("queue_full", "later"), 429, "queue_full"),
        (ApiError("busy", "later"), 429, "busy"),
        (ZeroDivisionError("a secret of ours"), 500, "internal"),
    ],
)
def test_every_error_has_its_status_and_code(error, status, code):
    document = problems.content(problem_of(error))

    assert (document.status, document.code) == (status, code)
    assert document.detail
    assert "secret" not in document.detail


def test_every_fault_of_a_payload_is_in_the_table():
    assert {fault.value for fault in Fault} <= KINDS.keys()


def test_every_code_that_the_gateway_raises_is_in_the_table():
    raised = {code for file in GATEWAY.glob("*.py") for code in re.findall(r'ApiError\(\s*"(\w+)"', file.read_text())}

    assert raised
    assert raised <= KINDS.keys()


@pytest.mark.parametrize("code", KINDS)
def test_the_table_holds_statuses_that_exist_and_titles_for_people(code):
    assert http.HTTPStatus(KINDS[code].status) >= 400
    assert KINDS[code].title


@pytest.mark.parametrize("code", ["queue_full", "store_unavailable"])
def test_what_passes_by_itself_says_when_to_come_back(code):
    assert int(problems.headers(ApiError(code, "later"))["retry-after"]) > 0


@pytest.mark.parametrize("message", ["", "no", "größe ☃ 🦎", "x" * 100_000, "lone \udc80 surrogate"])
def test_the_text_of_a_failure_is_written_as_pickle_would_read_it(message):
    assert pickle.loads(views.pickled_text(message)) == message


def test_an_unfinished_result_is_an_empty_text():
    record = TaskRecord("t", "f", State.RUNNING, 1.0)

    assert msgspec.json.decode(msgspec.json.encode(views.result(record))) == {
        "task_id": "t",
        "status": "RUNNING",
        "result": "",
        "error": None,
    }


def test_fields_of_a_later_version_are_refused_and_not_ignored():
    item = {"function_id": "0e37df36-f698-41e6-8dd4-cb9ced3df976", "payload": b"x"}

    for name in ("priority",):
        with pytest.raises(Misfit, match=f"{name}: this version does not support this field"):
            fit(NewTask, item | {name: 1})
    with pytest.raises(Misfit, match="wobble: Extra inputs"):
        fit(NewTask, item | {"wobble": 1})


def test_each_item_of_a_batch_is_fitted_by_itself():
    good = {"function_id": "0e37df36-f698-41e6-8dd4-cb9ced3df976", "payload": b"x"}

    first, second, third = fit_tasks([good, {}, good])

    assert isinstance(first, NewTask)
    assert isinstance(second, Misfit)
    assert first == third
