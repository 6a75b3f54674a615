"""Shell: the experiments that come with regrow, and those in files: ``load`` by name or path."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from regrow.chaos import faults
from regrow.chaos.checker import INVARIANTS
from regrow.chaos.document import Mistakes
from regrow.chaos.experiment import Experiment
from regrow.chaos.kinds import KINDS
from regrow.chaos.reading import Vocabulary, read
from regrow.runtime.errors import ConfigError

WORDS: Final = Vocabulary(
    faults.FAULTS, faults.parse, faults.TARGETED, faults.MOMENTARY, tuple(KINDS), tuple(INVARIANTS)
)
ORDER: Final = (
    "smoke",
    "worker-churn",
    "freeze",
    "partition",
    "store",
    "dispatcher",
    "resources",
    "poison",
    "everything",
    "soak",
)  # as they are listed: the short and common ones first


def suites() -> dict[str, Experiment]:
    """Those that come with regrow, by name."""
    return {name: read(_source(name), WORDS) for name in ORDER}


def load(name: str) -> Experiment:
    """A suite, or the experiment in a file.  Raises ConfigError that tells every mistake in it with its line."""
    if name in ORDER:
        return read(_source(name), WORDS)
    path = Path(name)
    try:
        return read(path.read_text(), WORDS)
    except Mistakes as several:
        told = "\n".join(f"{name}:{mistake}".replace(":line ", ":", 1) for mistake in several.mistakes)
        raise ConfigError(f"{name} is no valid experiment:\n{told}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is no text: an experiment is written in YAML or JSON") from None
    except OSError as error:
        known = ", ".join(ORDER)
        raise ConfigError(f"{name} is no suite ({known}) and no file that can be read: {error.strerror}") from None


def _source(name: str) -> str:
    return files("regrow.chaos").joinpath("experiments", f"{name}.yaml").read_text()
