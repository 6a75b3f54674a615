"""Shell: the OpenAPI document: the schemas of all bodies, and how a route names those that it takes and gives.

Bodies are read and written by body.py, in two formats, so the routes say here what FastAPI cannot see by itself.
"""

from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from regrow.gateway import body, problems, schemas, views

TITLE: Final = "regrow"
VERSION: Final = version("regrow")
DESCRIPTION: Final = """\
Runs Python functions that it is sent, on a supervised tree of processes. Payloads and results are pickles (dill or
cloudpickle): base64 text in JSON, raw bytes in `application/msgpack`, which every route takes (`Content-Type`) and gives
(`Accept`). Every error is `application/problem+json` with a stable `code`. Requests from web pages of another origin and
for other hosts than this one's loopback names are refused.\
"""
ALWAYS: Final = (403, 421)  # by the guard


def takes(name: str) -> dict[str, Any]:
    """The body of a route, by the name of its schema."""
    schema = {"schema": _reference(name)}
    return {"requestBody": {"required": True, "content": {body.JSON: schema, body.MSGPACK: schema}}}


def gives(name: str, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: the schema of success, and the statuses of its errors."""
    schema = {"schema": _reference(name)}
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "done", "content": {body.JSON: schema, body.MSGPACK: schema}}
    }
    return answers | {status: _problem(status) for status in sorted({*errors, *ALWAYS})}


def _problem(status: int) -> dict[str, Any]:
    """One error answer, with the codes that it can carry; the first is the example."""
    codes = {code: kind for code, kind in problems.KINDS.items() if kind.status == status}
    code, kind = next(iter(codes.items()))
    example = {
        "type": "about:blank",
        "title": kind.title,
        "status": status,
        "detail": "what to do about it",
        "code": code,
    }
    answer: dict[str, Any] = {
        "description": f"code: {', '.join(codes)}",
        "content": {problems.MEDIA_TYPE: {"schema": _reference("Problem"), "example": example}},
    }
    if kind.retry_after_s is not None:
        answer["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return answer


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document."""
    found = get_openapi(title=TITLE, version=VERSION, description=DESCRIPTION, routes=app.routes)
    found["components"] = {"schemas": {**schemas.definitions(), **views.definitions()}}
    return found
