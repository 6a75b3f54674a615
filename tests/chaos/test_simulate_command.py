"""``regrow chaos simulate``, and that its models keep the shells' own times."""

import pytest

from regrow.actors import connection, crew, dispatcher, settings, store_thread, system, worker
from regrow.chaos.simulation import pace
from regrow.runtime import cli, link, loop, supervisor
from support import planted


def test_the_models_keep_the_times_of_the_shells() -> None:
    assert pace.GAP_S == loop.GAP_S
    assert pace.SETTLE_S == supervisor.SETTLE_S
    assert pace.RECONNECT_S * 1000 == link.RECONNECT_MS
    assert pace.SILENT_PEER_S * 1000 == link.SILENT_PEER_MS
    assert pace.PULSE_S == dispatcher.PULSE_S
    assert pace.FAREWELL_S == dispatcher.FAREWELL_S
    assert pace.STORE_TIMEOUT_S == connection.TIMEOUT_S
    assert pace.STORE_RETRY == store_thread.RETRY
    assert pace.CLAIM_BYTES == store_thread.CLAIM_BYTES
    assert pace.SLOT_START_S == crew.START_S
    assert pace.SLOT_LOOKS == crew.LIVENESS
    assert pace.WORKER_END_S == worker.END_S
    assert settings.Settings().drain_s == pace.DRAIN_S
    assert pace.TREE_SETTLE_S == system.SETTLE_S


def test_valid_seeds_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(["chaos", "simulate", "--seeds", "3", "--first", "5"])

    said = capsys.readouterr().out
    assert code == 0
    assert "3 seeds" in said
    assert "valid" in said


def test_an_invalid_seed_is_told_with_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.early_acknowledgement(monkeypatch)

    code = cli.run(["chaos", "simulate", "--seeds", "1", "--tasks", "40"])
    told = capsys.readouterr().out
    replayed = cli.run(["chaos", "simulate", "--replay", "0", "--tasks", "40"])

    assert code == replayed == 1
    assert "ack_after_store" in told
    assert "reproduce: regrow chaos simulate --replay 0 --tasks 40" in told
    assert "ack_after_store" in capsys.readouterr().out


def test_a_trace_shows_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["chaos", "simulate", "--replay", "3"])
    short = capsys.readouterr().out
    code = cli.run(["chaos", "simulate", "--replay", "3", "--trace"])

    whole = capsys.readouterr().out
    assert code == 0
    assert whole.count("\n") > 100 + short.count("\n")
    assert short.splitlines()[-2] == whole.splitlines()[-2], "the same digest"


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--workers", "0"], ["--processes", "0"]])
def test_nonsense_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["chaos", "simulate", *words]) == cli.MISUSED
    assert "--help" in capsys.readouterr().err
