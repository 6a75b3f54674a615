"""How classes are named, and what is said of ends."""

from pathlib import Path

import msgspec
import pytest

from regrow.runtime import branch, child
from regrow.runtime.errors import ConfigError
from regrow.runtime.process import exit_reason
from regrow.runtime.reference import load, reference
from regrow.runtime.spec import ChildKind, ExitReason, ReasonKind, SupervisorSpec
from support.actors import Puppet, PuppetArguments


def test_a_class_of_a_module_is_found_again() -> None:
    assert reference(Puppet) == "support.actors:Puppet"
    assert load("support.actors:Puppet") is Puppet


def test_a_class_of_a_script_is_found_without_running_it(tmp_path: Path) -> None:
    script = tmp_path / "some_script.py"
    script.write_text("class Thing:\n    pass\n\nif __name__ == '__main__':\n    raise SystemExit('ran')\n")

    assert load(f"{script}:Thing").__name__ == "Thing"


@pytest.mark.parametrize("actor", ["no.such.module:Class", "support.actors:Nobody", "/no/such/script.py:Class"])
def test_what_cannot_be_loaded_is_named(actor: str) -> None:
    with pytest.raises(ConfigError, match=f"actor {actor} cannot be loaded"):
        load(actor)


def test_a_spec_is_made_from_a_class_and_checked() -> None:
    spec = child("a", Puppet, PuppetArguments("raise"), shutdown_s=1.0)

    assert msgspec.msgpack.decode(spec.arguments, type=PuppetArguments) == PuppetArguments("raise")
    assert spec.shutdown_s == 1.0
    with pytest.raises(ConfigError, match="a/b"):
        child("a/b", Puppet)


def test_a_branch_is_a_supervisor_that_is_given_its_time() -> None:
    spec = branch("b", SupervisorSpec((child("a", Puppet),)))

    assert spec.kind is ChildKind.SUPERVISOR
    assert spec.shutdown_s is None
    with pytest.raises(ConfigError, match="orphaned"):
        branch("b", SupervisorSpec(), shutdown_s=1.0)


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (0, b"", "normal"),
        (3, b"", "exit:3"),
        (3, b"not msgpack", "exit:3"),
        (-9, b"", "signal:SIGKILL"),
        (-11, b"", "signal:SIGSEGV"),
        (-64, b"", "signal:SIGRTMAX"),
        (-50, b"", "signal:SIG50"),
        (1, msgspec.msgpack.encode(ExitReason(ReasonKind.EXCEPTION, "ValueError", "text")), "exception:ValueError"),
        (-9, msgspec.msgpack.encode(ExitReason(ReasonKind.NORMAL)), "signal:SIGKILL"),
    ],
)
def test_the_reason_of_an_end_is_what_it_said_unless_a_signal_ended_it(code: int, words: bytes, reason: str) -> None:
    assert str(exit_reason(code, words)) == reason
