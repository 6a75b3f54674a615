"""Settings: flags over environment over defaults, and what is refused before anything starts."""

import os
from pathlib import Path

import pytest

from regrow.actors.settings import RANGES, Settings, build
from regrow.actors.wire import Mode
from regrow.runtime.errors import ConfigError


def test_without_flags_and_environment_the_defaults_hold() -> None:
    assert build({}) == Settings()


def test_the_environment_is_over_the_defaults_and_flags_are_over_both() -> None:
    environ = {"REGROW_PORT": "81", "REGROW_SLOTS": "7", "REGROW_MODE": "pull", "REGROW_DRAIN_S": "1.5"}

    settings = build(environ, slots=3, mode=None)

    assert (settings.port, settings.slots, settings.mode, settings.drain_s) == (81, 3, Mode.PULL, 1.5)
    assert settings.workers == Settings().workers


def test_variables_that_are_no_settings_are_left_alone() -> None:
    assert build({"REGROW_URL": "http://127.0.0.1:8000", "PORT": "9"}) == Settings()


def test_import_paths_are_separated_as_in_path_and_an_empty_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    text = os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")])

    assert build({"REGROW_IMPORT_PATH": text}).import_path == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert build({"REGROW_IMPORT_PATH": ""}).import_path == ()


def test_paths_become_absolute_so_that_children_find_them_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "code").mkdir()

    settings = build({}, data_dir="~/data", import_path=["code"])

    assert settings.data_dir == str(tmp_path / "home" / "data")
    assert settings.import_path == (str(tmp_path / "code"),)


def test_the_data_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert build({}).data_dir == str(tmp_path / "regrow")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build({}).data_dir == str(tmp_path / ".local" / "state" / "regrow")


@pytest.mark.parametrize("name", RANGES)
def test_a_number_out_of_its_range_is_refused_and_its_ends_are_not(name: str) -> None:
    least, most = RANGES[name]
    flag = f"--{name.replace('_', '-')} "

    assert getattr(build({}, **{name: least}), name) == least
    assert getattr(build({}, **{name: most}), name) == most
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=f"^{flag}{value}.*: use {least} to {most}"):
            build({}, **{name: value})


@pytest.mark.parametrize("name", ["drain_s", "retention_s"])
def test_what_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"nan: use"):
        build({}, **{name: "nan"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_gateway_may_listen_on_this_machine(host: str) -> None:
    assert build({}, host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_the_gateway_and_the_dispatcher_may_not_listen_anywhere_else(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^--host .*ssh -L"):
        build({}, host=host)
    with pytest.raises(ConfigError, match=r"^REGROW_DISPATCHER_HOST .*tunnel"):
        build({"REGROW_DISPATCHER_HOST": host})


def test_an_import_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    with pytest.raises(ConfigError, match=f"^--import-path {missing}: there is no such directory"):
        build({}, import_path=[str(missing)])


@pytest.mark.parametrize(
    ("name", "text"),
    [("port", "eighty"), ("mode", "shove"), ("durability", "never"), ("log_level", "loud"), ("drain_s", "soon")],
)
def test_a_text_that_is_no_value_is_refused_with_the_settings_name(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^settings: .*\$\.{name}"):
        build({f"REGROW_{name.upper()}": text})
