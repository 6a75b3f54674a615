"""Core: every error that the gateway answers, in one table: code -> HTTP status, title and when to come back."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import UNSET

from regrow.actors.payload import Fault, PayloadError
from regrow.gateway import views
from regrow.gateway.schemas import Misfit, Misfits
from regrow.runtime.errors import ActorError, CallRefused, RegrowError, StoreError, StoreUnavailable

MEDIA_TYPE: Final = "application/problem+json"
MAY_HAVE_ACTED: Final = (
    "a submit may be carried out all the same, and only its idempotency_key lets it be repeated safely"
)


class Kind(NamedTuple):
    """How one code is answered. ``retry_after_s``: when the same request may well succeed."""

    status: int
    title: str
    retry_after_s: int | None = None


KINDS: Final[Mapping[str, Kind]] = {
    **{fault.value: Kind(400, "the payload is not what it is sent as") for fault in Fault},
    "malformed_body": Kind(400, "the body cannot be read"),
    "foreign_origin": Kind(403, "requests from other web pages are refused"),
    "chaos_not_allowed": Kind(403, "no faults are injected here"),
    "not_found": Kind(404, "there is nothing here"),
    "unknown_function": Kind(404, "there is no such function"),
    "unknown_task": Kind(404, "there is no such task"),
    "unknown_letter": Kind(404, "there is no such dead letter"),
    "method_not_allowed": Kind(405, "this method is not allowed here"),
    "body_timeout": Kind(408, "the body did not arrive in time"),
    "no_tree": Kind(409, "this gateway is in no tree"),
    "refused": Kind(409, "the supervisor refused"),
    "idempotency_conflict": Kind(409, "this idempotency_key stands for another task"),
    "too_large": Kind(413, "too large"),
    "unsupported_media_type": Kind(415, "bodies are JSON or msgpack"),
    "foreign_host": Kind(421, "requests for other hosts are refused"),
    "invalid": Kind(422, "a field does not fit"),
    "busy": Kind(429, "the gateway has its hands full", 1),
    "queue_full": Kind(429, "the queue is full", 1),
    "too_many_listeners": Kind(429, "too many listen to events already", 5),
    "internal": Kind(500, "an error of the gateway's own"),
    "store_unavailable": Kind(503, "the store does not answer", 1),
    "store_refused": Kind(503, "the store refuses the gateway"),
    "tree_unavailable": Kind(503, "the supervisor does not answer", 1),
}


class ApiError(RegrowError):
    """A request that is answered with an error. ``problem`` is a code of the table."""

    code = "api"

    def __init__(self, problem: str, detail: str, errors: Misfits | None = None) -> None:
        super().__init__(detail)
        self.problem = problem
        self.errors = errors or []


def problem_of(error: Exception) -> ApiError:
    """How ``error`` is answered. What the table does not know is an internal error, whose text stays inside."""
    match error:
        case ApiError():
            return error
        case PayloadError():
            return ApiError(error.fault, str(error))
        case Misfit():
            return ApiError("invalid", str(error), error.misfits)
        case StoreUnavailable():
            return ApiError("store_unavailable", f"{error}; try again: {MAY_HAVE_ACTED}")
        case StoreError():
            return ApiError("store_refused", str(error))
        case CallRefused():
            return ApiError("refused", str(error))
        case ActorError():
            return ApiError("tree_unavailable", f"{error}; try again")
        case _:
            return ApiError("internal", "the gateway's log tells more")


def content(error: ApiError) -> views.Problem:
    """The problem+json document."""
    kind = KINDS[error.problem]
    return views.Problem("about:blank", kind.title, kind.status, str(error), str(error.problem), error.errors or UNSET)


def verdict(found: str | ApiError) -> views.Verdict:
    """The answer to one task of a batch: its id, or why it has none."""
    if isinstance(found, str):
        return views.Verdict(task_id=found)
    kind = KINDS[found.problem]
    return views.Verdict(error=views.ItemError(str(found.problem), kind.title, kind.status, str(found)))


def headers(error: ApiError) -> dict[str, str]:
    """The headers that go with it."""
    retry = KINDS[error.problem].retry_after_s
    return {} if retry is None else {"retry-after": str(retry)}
