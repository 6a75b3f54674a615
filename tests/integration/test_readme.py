"""README.md does what it says: its blocks are run as they stand, against a tree on other ports."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from regrow.actors.flags import TreeFlags
from regrow.actors.settings import Settings
from support.cluster import Cluster, running
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ONLY_BY_ENVIRONMENT = {"dispatcher_host"}
CURL = f"""#!{sys.executable}
import sys, urllib.request
words, headers, data, url = iter(sys.argv[1:]), {{}}, None, ""
for word in words:
    if word == "-H":
        name, _, headers[name] = next(words).partition(": ")
    elif word == "-d":
        data = next(words).encode()
    elif word != "-s":
        url = word
print(urllib.request.urlopen(urllib.request.Request("http://" + url, data, headers)).read().decode(), end="")
"""


def block(language: str, mark: str) -> str:
    """The code block of this language with ``mark`` in it."""
    found = [
        code for code in re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE) if mark in code
    ]
    assert len(found) == 1, f"{len(found)} {language} blocks have {mark!r}"
    return str(found[0])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """What ``regrow up`` starts, with its own defaults but for ports and directory."""
    with running(tmp_path_factory.mktemp("readme")) as it:
        yield it


@pytest.fixture
def path_with_curl(tmp_path: Path) -> str:
    """A PATH on which there is a curl: the machine's, else a stand-in with what README.md uses of it."""
    if shutil.which("curl") is None:
        (tmp_path / "curl").write_text(CURL)
        (tmp_path / "curl").chmod(0o700)
    return f"{os.environ['PATH']}{os.pathsep}{tmp_path}"


def run(words: list[str], **options: Any) -> str:
    """What the command prints; it must end well."""
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def here(code: str, cluster: Cluster) -> str:
    """The code for this tree and this Python, with nothing else changed."""
    port = cluster.url.rpartition(":")[2]
    assert "127.0.0.1:8000" in code or "localhost:8000" in code
    return re.sub(r"(127\.0\.0\.1|localhost):8000", rf"\1:{port}", code).replace(".venv/bin/python", sys.executable)


def test_the_python_tour_prints_what_its_comments_promise(cluster: Cluster, tmp_path: Path) -> None:
    code = block("python", "with Client")
    (tmp_path / "tour.py").write_text(here(code, cluster))

    square, total, error = run([sys.executable, "tour.py"], cwd=tmp_path).splitlines()

    assert f"print(client.submit(square, 7).result())  # {square}" in code
    assert square == "49"
    assert f"# {total};" in code
    assert total == "332833500"
    assert error.startswith("ZeroDivisionError(")


def test_the_terms_of_the_tour_hold(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "terms.py").write_text(here(block("python", "Retry("), cluster))

    assert run([sys.executable, "terms.py"], cwd=tmp_path) == "timed_out\n"


def test_the_curl_tour_ends_with_the_doubled_number(cluster: Cluster, tmp_path: Path, path_with_curl: str) -> None:
    code = here(block("console", "curl"), cluster)
    environment = os.environ | {"PATH": path_with_curl}

    text = run(["bash", "-euo", "pipefail", "-c", code], cwd=tmp_path, env=environment)

    task, at = json.JSONDecoder().raw_decode(text)
    result = json.loads(text[at:])
    assert task["status"] == result["status"] == "COMPLETED"
    assert task["task_id"] == result["task_id"]
    show = "import base64, dill, sys; print(dill.loads(base64.b64decode(sys.argv[1])))"
    assert run([sys.executable, "-c", show, result["result"]]) == "42\n"


def test_the_commands_that_cut_it_show_it_regrow(cluster: Cluster) -> None:
    lines = [shlex.split(line, comments=True) for line in block("console", "chaos kill").splitlines()]

    said = {}
    for program, *words in lines:
        assert program == ".venv/bin/regrow"
        command = [sys.executable, "-m", "regrow.runtime.cli", *words, "--data-dir", str(cluster.data_dir)]
        said[" ".join(words)] = run(command)

    assert re.search(r"worker-0 +running +pid \d+", said["tree"])
    assert re.search(r"killed root/workers/worker-\d .*\nback after [\d,]+ ms", said["chaos kill worker"])
    assert re.search(
        r"froze root/workers/worker-\d .*\nreplaced after [2-4]\.\d\d s", said["chaos freeze worker --for 5"]
    )
    assert said["scale worker=4"] == "workers: 4\n"
    wait_until(lambda: len([w for w in cluster.of_role("worker") if w["state"] == "running"]) == 4, 20, "four workers")


def test_the_settings_table_has_every_flag_of_up_with_its_default() -> None:
    documented = dict(settings_table())
    defaults = Settings()

    flags = {field.name for field in fields(TreeFlags)}
    assert set(documented) == flags == set(Settings.__struct_fields__) - ONLY_BY_ENVIRONMENT
    for name in flags - {"data_dir"}:
        value = getattr(defaults, name)
        assert documented[name] == shown(value), name


def shown(value: object) -> str:
    """As the table has it."""
    if value == ():
        return ""
    if value is None or value is False:
        return "none" if value is None else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_data_directory_is_where_the_table_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert Settings().data_dir == os.path.expandvars(dict(settings_table())["data_dir"])


def settings_table() -> Iterator[tuple[str, str]]:
    """Each setting's name and documented default; a row may have several."""
    lines = README[README.index("| flag | default | meaning |") :].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return
        flags, defaults, _ = (cell.strip() for cell in line.strip("|").split("|", 2))
        names = [flag.strip("`-").replace("-", "_") for flag in flags.split(", ")]
        values = [value.strip("`") for value in defaults.split(", ")]
        assert len(names) == len(values), line
        yield from zip(names, values, strict=True)


def test_it_can_be_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 200


def test_every_file_that_it_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
