import asyncio

import pytest

from regrow.gateway.guard import Guard, is_loopback, objection


def scope(method="GET", host="127.0.0.1:8000", scheme="http", **headers):
    pairs = [] if host is None else [(b"host", host.encode())]
    pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "scheme": scheme, "path": "/", "headers": pairs}


def verdict(*arguments, **headers):
    error = objection(scope(*arguments, **headers))
    return error and error.problem


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
JSON = {"content_type": "application/json"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LocalHost:65535", "[::1]:8000", "[::1]"]
)
def test_loopback_names_are_let_in_on_any_port(method, host):
    assert verdict(method, host, **JSON) is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "evil.example:127.0.0.1",
        "127.0.0.1:80:80",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:999999",
        "::1",
        "[::1",
        "0.0.0.0",
        "192.168.0.1",
        "localhost@evil.example",
    ],
)
def test_other_hosts_are_refused_on_every_method(method, host):
    assert verdict(method, host, **JSON) == "foreign_host"


def test_two_host_headers_are_refused():
    two = scope()
    two["headers"].append((b"host", b"localhost"))

    assert objection(two).problem == "foreign_host"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://127.0.0.1:8001",
        "http://127.0.0.1",
        "http://localhost:8000",
        "https://127.0.0.1:8000",
        "",
        "http://127.0.0.1:8000.evil.example",
    ],
)
def test_another_origin_is_refused_on_every_method(method, origin):
    assert verdict(method, origin=origin, **JSON) == "foreign_origin"


@pytest.mark.parametrize("method", METHODS)
def test_the_gateways_own_pages_are_let_in(method):
    assert verdict(method, "localhost:8000", origin="http://localhost:8000", **JSON) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_type": ""},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": "text/plain; application/json"},
        {"content_type": "application/jsonp"},
        {"content_type": "application/json", "content_encoding": "gzip"},
    ],
)
def test_bodies_that_a_form_could_send_are_refused(method, headers):
    assert verdict(method, **headers) == "unsupported_media_type"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/msgpack"])
def test_json_and_msgpack_are_let_in(kind):
    assert verdict("POST", content_type=kind) is None


def test_a_port_is_digits_of_ascii():
    assert not is_loopback("127.0.0.1:٣")


def test_a_refusal_is_a_problem_and_reaches_nothing_behind_the_guard():
    sent = []

    async def behind(*_):
        raise AssertionError("it must not be reached")

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(behind)(scope(host="evil.example"), None, send))

    assert sent[0]["status"] == 421
    assert (b"content-type", b"application/problem+json") in sent[0]["headers"]
    assert b'"code":"foreign_host"' in sent[1]["body"]
