"""Shell: the pytest plugin: a whole tree as a fixture, so that a team can test its own functions under faults.

Installed with regrow, so there is nothing to switch on; it costs nothing where no test asks for its fixtures.  docs/testing.md shows it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from regrow.chaos.testbed import Testbed

MARK = "regrow(workers=2, slots=2, mode='push', ...): the tree that this test's regrow_tree is; see docs/testing.md"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", MARK)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--regrow-seed``: of what faults leave to chance."""
    parser.addoption(
        "--regrow-seed", type=int, default=0, help="seed of the choices that faults leave to chance (default: 0)"
    )


@pytest.fixture
def regrow_tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Testbed]":
    """A tree of this test's own, as ``@pytest.mark.regrow(...)`` says; the test fails when anything of it is left at the end."""
    marker = request.node.get_closest_marker("regrow")
    with _bed(request, tmp_path_factory, dict(marker.kwargs) if marker else {}) as bed:
        yield bed


@pytest.fixture(scope="session")
def _regrow_session_tree(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Testbed]":
    with _bed(request, tmp_path_factory, {}) as bed:
        yield bed


@pytest.fixture
def regrow_shared_tree(_regrow_session_tree: "Testbed") -> "Iterator[Testbed]":
    """One tree for all tests of the session that ask for it: faster; faults are undone and the tree is whole again after each."""
    yield _regrow_session_tree
    _regrow_session_tree.heal()
    _regrow_session_tree.wait_whole()


@contextmanager
def _bed(request: pytest.FixtureRequest, paths: pytest.TempPathFactory, options: dict[str, Any]) -> "Iterator[Testbed]":
    from regrow.chaos.experiment import Configuration  # paid for by tests that ask for a tree only
    from regrow.chaos.testbed import open_testbed

    try:
        configuration = Configuration(**options)
    except TypeError as error:
        known = ", ".join(Configuration.__struct_fields__)
        pytest.fail(f"@pytest.mark.regrow: {error}; its options: {known}", pytrace=False)
    log = paths.mktemp("regrow") / "tree.log"
    with open_testbed(configuration, log=log, seed=request.config.getoption("--regrow-seed")) as bed:
        yield bed
