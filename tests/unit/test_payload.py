import base64
import contextlib
import os
import pickle
import random
import textwrap
import time
import warnings
from pathlib import Path

import cloudpickle
import dill
import pytest

from regrow.actors.function import digest_of, record_of
from regrow.actors.payload import Fault, PayloadError, check_function, check_params, decoded
from regrow.actors.task import FunctionId
from support.corpus import not_callables, plain, shapes

LIBRARIES = {"dill": dill, "cloudpickle": cloudpickle}
CALLABLES = dict(shapes())
# What cannot be told without loading is accepted too, with a warning.
UNTELLABLE = {"callable instance", "cached"}


def recursive_dumps(thing):
    return dill.dumps(thing, recurse=True)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def fault_of(check, payload) -> Fault:
    with pytest.raises(PayloadError) as caught:
        check(payload)
    return caught.value.fault


def pickles():
    """(shape, library, bytes) of everything that each library can send at all."""
    for name, thing in CALLABLES.items():
        for library, dumps in (
            ("dill", dill.dumps),
            ("dill recurse", recursive_dumps),
            ("cloudpickle", cloudpickle.dumps),
        ):
            with warnings.catch_warnings(), contextlib.suppress(RecursionError, pickle.PicklingError):
                warnings.simplefilter("ignore")
                yield pytest.param(name, dumps(thing), id=f"{name}, {library}")


PICKLES = list(pickles())


def test_the_corpus_is_large():
    assert len(PICKLES) > 120
    assert {param.values[0] for param in PICKLES} == set(CALLABLES)


@pytest.mark.parametrize(("name", "code"), PICKLES)
def test_every_shape_of_callable_is_accepted(name, code):

    manifest = check_function(text(code))

    assert manifest.code == code
    assert (manifest.kind == "unknown") <= (name in UNTELLABLE)
    assert not manifest.warnings or name in UNTELLABLE | {"by reference"}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["lambda", "closure", "class", "bound method", "partial", "builtin", "by reference"])
def test_every_pickle_protocol_is_read(name, library, protocol):
    code = LIBRARIES[library].dumps(CALLABLES[name], protocol=protocol)

    assert check_function(code).kind != "unknown"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("library", [pickle, dill])
@pytest.mark.parametrize(("name", "value"), list(not_callables()))
def test_what_is_certainly_no_callable_is_refused(name, value, library, protocol):
    assert fault_of(check_function, library.dumps(value, protocol=protocol)) is Fault.NOT_CALLABLE


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lambda", "function"),
        ("class", "class"),
        ("bound method", "method"),
        ("partial", "partial"),
        ("builtin", "reference"),
        ("callable instance", "unknown"),
    ],
)
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_kind_of_callable_is_told(name, kind, library):
    assert check_function(LIBRARIES[library].dumps(CALLABLES[name])).kind == kind


def test_a_function_by_reference_is_accepted_with_a_warning_that_names_its_module():
    manifest = check_function(dill.dumps(plain))

    assert manifest.kind == "reference"
    assert manifest.modules == ("support.corpus",)
    assert "'support.corpus'" in manifest.warnings[0]
    assert "--import-path" in manifest.warnings[0]


def test_a_reference_into_main_is_warned_of():
    manifest = check_function(b"c__main__\nmy_function\n.")

    assert "__main__" in manifest.warnings[0]


def test_the_standard_library_needs_no_warning_and_is_no_requirement():
    manifest = check_function(pickle.dumps(textwrap.dedent))

    assert manifest.modules == ()
    assert manifest.warnings == ()


def test_a_module_that_a_function_by_value_imports_is_listed():
    namespace = {"__name__": "__main__", "hypothesis": __import__("hypothesis")}
    exec("def f(): return hypothesis.__version__", namespace)

    assert check_function(cloudpickle.dumps(namespace["f"])).modules == ("hypothesis",)
    assert "hypothesis" in check_function(dill.dumps(namespace["f"], recurse=True)).modules


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ("payload", Fault.NOT_BASE64),
        ("größe", Fault.NOT_BASE64),
        ("gASVBAAAAAAAAABLAS4", Fault.NOT_BASE64),
        ("gASVBAAAAAAAAABLAS4==", Fault.NOT_BASE64),
        ("gASVBAAAAAAAA*BLAS4=", Fault.NOT_BASE64),
        ("gASV-_AAAAA=", Fault.NOT_BASE64),
        ("", Fault.EMPTY),
        (" \n\t", Fault.EMPTY),
        (b"", Fault.EMPTY),
        (b"not_a_function", Fault.NOT_A_PICKLE),
        (b"\x80\x06N.", Fault.NOT_A_PICKLE),
        (b".", Fault.NOT_A_PICKLE),
        (b"R.", Fault.NOT_A_PICKLE),
        (b"K\x01R.", Fault.NOT_A_PICKLE),
        (b"(K\x01\x86.", Fault.NOT_A_PICKLE),
        (b"(N.", Fault.NOT_A_PICKLE),
        (b"t.", Fault.NOT_A_PICKLE),
        (b"NN.", Fault.NOT_A_PICKLE),
        (b"h\x00.", Fault.NOT_A_PICKLE),
        (b"\x94.", Fault.NOT_A_PICKLE),
        (b"}(K\x01u.", Fault.NOT_A_PICKLE),
        (b"K\x01K\x02\x93.", Fault.NOT_A_PICKLE),
        (b"X\x01\x00\x00\x00\xff.", Fault.NOT_A_PICKLE),
        (b"\x8b\xff\xff\xff\xff.", Fault.NOT_A_PICKLE),
        (b"Iten\n.", Fault.NOT_A_PICKLE),
        (b"Fone\n.", Fault.NOT_A_PICKLE),
        (b"Sbare\n.", Fault.NOT_A_PICKLE),
        (b"gone\n.", Fault.NOT_A_PICKLE),
        (b"\x80", Fault.TRUNCATED),
        (b"\x80\x04", Fault.TRUNCATED),
        (b"N", Fault.TRUNCATED),
        (b"J\x01.", Fault.TRUNCATED),
        (b"Cos", Fault.TRUNCATED),
        (b"cos\nsys", Fault.TRUNCATED),
        (b"B\xff\xff\xff\x7fab.", Fault.TRUNCATED),
        (b"\x8e" + b"\xff" * 8 + b"ab.", Fault.TRUNCATED),
        (b"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.", Fault.TRUNCATED),
        (b"N.N", Fault.TRAILING_BYTES),
        (b"N..", Fault.TRAILING_BYTES),
        (b"Pid\n.", Fault.REFUSED_OPCODE),
        (b"NQ.", Fault.REFUSED_OPCODE),
        (b"\x82\x01.", Fault.REFUSED_OPCODE),
        (b"\x83\x01\x00.", Fault.REFUSED_OPCODE),
        (b"\x84\x01\x00\x00\x00.", Fault.REFUSED_OPCODE),
        (b"\x97.", Fault.REFUSED_OPCODE),
        (b"Nr\xff\xff\xff\x7f.", Fault.TOO_COMPLEX),
        (b"(" * 10_001 + b".", Fault.TOO_COMPLEX),
        (b"N" + b"20" * 1_000_001 + b".", Fault.TOO_COMPLEX),
    ],
)
def test_junk_is_refused_with_a_code_and_a_remedy(payload, fault):
    with pytest.raises(PayloadError, match=r"; \S+") as caught:
        check_function(payload)

    assert caught.value.fault is fault
    assert fault_of(check_params, payload) is fault


def test_every_cut_of_a_function_is_refused():
    code = cloudpickle.dumps(CALLABLES["closure"])

    faults = {fault_of(check_function, code[:length]) for length in range(1, len(code))}

    assert faults <= {Fault.TRUNCATED, Fault.NOT_A_PICKLE}


@pytest.mark.parametrize("wrap", [str, lambda t: "\n".join(textwrap.wrap(t, 76)) + "\n", lambda t: f"  {t}\r\n"])
def test_base64_may_be_plain_or_wrapped_into_lines(wrap):
    code = dill.dumps(CALLABLES["closure"])

    assert decoded(wrap(text(code))) == code


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("library", [pickle, dill, cloudpickle])
@pytest.mark.parametrize(
    "params",
    [
        ((), {}),
        ((1,), {}),
        ((1, 2), {"a": 3}),
        ((1, 2, 3, 4, 5), {"a": [1], "größe": None}),
        (((1, 2), {"x": 1}), {"deep": {"number": {1: 2}}}),
        (([1.5] * 2500, b"x" * 100_000), {f"k{i}": i for i in range(2500)}),
        ((CALLABLES["by reference"],), {"f": len}),
    ],
    ids=range(7),
)
def test_parameters_of_the_right_shape_are_accepted(params, library, protocol):
    data = library.dumps(params, protocol=protocol)

    assert check_params(text(data)) == data
    assert check_params(data) == data


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "params",
    [
        None,
        1,
        "text",
        [(), {}],
        (),
        ((),),
        ((), {}, None),
        ((), ()),
        ({}, ()),
        ([], {}),
        (1, {}),
        ((), []),
        ((), None),
        ((), {1: 2}),
        ((), {("a",): 2}),
        ((), {"a": 1, None: 2}),
        {"args": (), "kwargs": {}},
        len,
    ],
)
def test_parameters_of_a_wrong_shape_are_refused(params, protocol):
    assert fault_of(check_params, pickle.dumps(params, protocol=protocol)) is Fault.NOT_ARGS_KWARGS


class Canary:
    """Leaves a file when it is loaded."""

    def __init__(self, call, *arguments):
        self.reduction = (call, arguments)

    def __reduce__(self):
        return self.reduction


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_that_a_payload_names_is_called(tmp_path: Path, protocol):
    nest = tmp_path / "canary"
    for canary in (
        Canary(os.system, f"touch {nest}"),
        Canary(os.mkdir, str(nest)),
        Canary(eval, f"open({str(nest)!r}, 'w')"),
    ):
        check_function(pickle.dumps(canary, protocol=protocol))
        check_params(pickle.dumps(((canary,), {"x": canary}), protocol=protocol))

    assert not nest.exists()


def test_nothing_that_a_payload_names_is_imported(tmp_path: Path, monkeypatch):
    (tmp_path / "egg.py").write_text(f"open({str(tmp_path / 'hatched')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)

    assert check_function(b"cegg\nf\n.").modules == ("egg",)
    assert not (tmp_path / "hatched").exists()


def mutated(data: bytes, dice: random.Random) -> bytes:
    """``data`` with some bytes changed, removed, doubled or added."""
    result = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at, size = dice.randrange(len(result)), dice.randint(1, 8)
        match dice.randrange(5):
            case 0:
                result[at] ^= 1 << dice.randrange(8)
            case 1:
                result[at] = dice.randrange(256)
            case 2:
                del result[at : at + size]
            case 3:
                result[at:at] = result[at : at + size]
            case 4:
                result[at:at] = dice.randbytes(size)
        result = result or bytearray(b"\x80")
    return bytes(result)


@pytest.mark.parametrize("check", [check_function, check_params])
def test_five_thousand_mutations_are_answered_or_refused_in_bounded_time(check):
    dice = random.Random(20)
    seeds = [param.values[1] for param in PICKLES]
    seeds += [pickle.dumps(((1, "a", [2.5] * 20), {"k": {"n": None}}), protocol=protocol) for protocol in range(6)]
    slowest = 0.0

    for _ in range(5000):
        payload = mutated(dice.choice(seeds), dice)
        started = time.process_time()
        with contextlib.suppress(PayloadError):
            check(payload)
        slowest = max(slowest, time.process_time() - started)

    assert slowest < 0.5


NAMING = (b"c", b"i", b"\x93", b"R", b"o", b"\x81", b"\x92", b"b")


def test_what_is_accepted_has_the_form_of_a_pickle_for_the_real_machine_too():
    """Of damaged plain data, the walk accepts nothing that the real machine finds cut, unbalanced or out of its memo."""
    dice = random.Random(21)
    seeds = [pickle.dumps(((1, "a", [2.5] * 3, b"xy"), {"k": {"n": None}}), protocol=protocol) for protocol in range(6)]
    loaded = 0

    for _ in range(5000):
        payload = mutated(dice.choice(seeds), dice)
        with contextlib.suppress(PayloadError):
            check_params(payload)
            if not any(opcode in payload for opcode in NAMING):  # never load here what may name something
                with contextlib.suppress(AttributeError, TypeError, ValueError):  # append to a dict, say
                    arguments, keywords = pickle.loads(payload)
                    assert (type(arguments), type(keywords)) == (tuple, dict)
                    loaded += 1

    assert loaded > 100


def test_ten_megabytes_are_checked_in_milliseconds():
    payload = text(pickle.dumps(((b"x" * 10_000_000,), {})))
    started = time.process_time()

    check_params(payload)

    assert time.process_time() - started < 0.5


def test_a_record_keeps_the_bytes_as_plain_base64_and_their_digest():
    code = dill.dumps(CALLABLES["closure"])
    manifest = check_function("\n".join(textwrap.wrap(text(code), 76)))

    record = record_of(manifest, FunctionId("f"), "closure", now=12.5)

    assert base64.b64decode(record.payload, validate=True) == code
    assert record.digest == digest_of(code)
    assert record.size_bytes == len(code)
    assert record.registered_at == 12.5
    assert record.max_attempts == 3
