"""Core: a function's bytes: their digest, and the record that is kept of them."""

import base64
import hashlib

from regrow.actors.limits import NO_TERMS, Terms
from regrow.actors.payload import FunctionManifest
from regrow.actors.task import MAX_ATTEMPTS, Digest, FunctionId, FunctionRecord


def digest_of(code: bytes) -> Digest:
    """Hex SHA-256. Equal code has one digest, whoever registers it, so workers cache it once."""
    return Digest(hashlib.sha256(code).hexdigest())


def record_of(
    manifest: FunctionManifest,
    function_id: FunctionId,
    name: str,
    now: float,
    max_attempts: int | None = None,
    terms: Terms = NO_TERMS,
    ttl_s: float | None = None,
) -> FunctionRecord:
    """What is kept of a function that is registered at ``now`` (Unix seconds)."""
    return FunctionRecord(
        function_id=function_id,
        name=name,
        payload=base64.b64encode(manifest.code).decode("ascii"),
        digest=digest_of(manifest.code),
        size_bytes=len(manifest.code),
        registered_at=now,
        max_attempts=MAX_ATTEMPTS if max_attempts is None else max_attempts,
        modules=manifest.modules,
        terms=terms,
        ttl_s=ttl_s,
    )
