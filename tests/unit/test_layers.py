"""The layers hold: who may import whom, and which module may touch the dangerous things."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("runtime", "actors", "gateway", "chaos")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
KINDS = ("Values:", "Core:", "Shell:")
FORBIDDEN_IN_CORES = {
    "time",
    "os",
    "random",
    "asyncio",
    "logging",
    "threading",
    "multiprocessing",
    "subprocess",
    "socket",
    "zmq",
    "redis",
    "structlog",
}
ONLY_IN = {
    "zmq": {"runtime/link.py"},
    "redis": {
        "actors/connection.py",
        "actors/aconnection.py",
        "actors/store.py",
        "actors/astore.py",
        "actors/annals.py",
        "actors/wakes.py",
        "chaos/store_door.py",
    },
    "pydantic": {"gateway/schemas.py"},
    "pickle": {"actors/execution.py", "actors/executor.py", "gateway/by_value.py"},
    "dill": {"actors/execution.py", "actors/executor.py", "gateway/by_value.py"},
    "cloudpickle": {"actors/execution.py", "actors/executor.py", "gateway/by_value.py"},
}
ALLOWED = {
    "runtime": {"runtime"},
    "actors": {"actors", "runtime"},
    "gateway": {"gateway", "actors", "runtime"},
    "chaos": {"chaos", "runtime", "gateway"},
}
SIMULATION = (
    "chaos/simulation/"  # runs the service's own cores: of actors it may import these and their values, and no shell
)


def imports(file: Path) -> Iterator[str]:
    """Every module that ``file`` imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name(file: Path) -> str:
    """``runtime/link.py``"""
    return str(file.relative_to(ROOT))


def kind(file: Path) -> str:
    """The first word of the module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").split(" ")[0]


@pytest.mark.parametrize("file", [file for file in MODULES if file.name != "__init__.py"], ids=name)
def test_a_module_says_what_kind_it_is_and_keeps_to_it(file: Path) -> None:
    assert kind(file) in KINDS, "the docstring starts with Values:, Core: or Shell:"
    if kind(file) == "Core:":
        assert not FORBIDDEN_IN_CORES & {module.split(".")[0] for module in imports(file)}


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_imports_between_packages_go_one_way(file: Path) -> None:
    ours = {module.split(".")[1] for module in imports(file) if module.startswith("regrow.")}
    allowed = ALLOWED[file.relative_to(ROOT).parts[0]]

    assert ours <= (allowed | {"actors"} if name(file).startswith(SIMULATION) else allowed)


@pytest.mark.parametrize("file", [file for file in MODULES if name(file).startswith(SIMULATION)], ids=name)
def test_the_simulation_knows_of_the_product_cores_and_values_only(file: Path) -> None:
    """``from regrow.actors import wire`` names a module as well."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("regrow.actors", "regrow.runtime")):
            for module in modules_of(node):
                assert kind(module) in ("Core:", "Values:"), f"{name(module)} is a shell"


def modules_of(node: ast.ImportFrom) -> Iterator[Path]:
    """The files of ours that an import names."""
    _, *parts = (node.module or "").split(".")
    file = ROOT.joinpath(*parts).with_suffix(".py")
    yield from (
        [file] if file.exists() else [ROOT.joinpath(*parts, alias.name).with_suffix(".py") for alias in node.names]
    )


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_a_dangerous_or_central_library_is_touched_in_one_place(file: Path) -> None:
    found = {module.split(".")[0] for module in imports(file)}

    assert not {library for library, places in ONLY_IN.items() if library in found and name(file) not in places}


def test_the_runtime_knows_nothing_of_the_service() -> None:
    words = {word for file in (ROOT / "runtime").glob("*.py") for word in ast_names(file)}

    assert not {word for word in words if "task" in word.lower() and word not in {"create_task", "Task", "task"}}


def ast_names(file: Path) -> Iterator[str]:
    """Every name that the code of ``file`` uses."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
