"""Weight files that want something: to run code, to take all memory or time, to be believed.

Each maker is named by what its file does, and writes it into a folder. What they would run
is a touch of `CANARY` there.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

from tests.weights.flatbuffer import tflite

CANARY = "canary"
MAKERS: dict[str, Callable[[Path], bytes | None]] = {}


def hostile(suffix: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(make: Callable[..., Any]) -> Callable[..., Any]:
        MAKERS[f"{make.__name__}.{suffix}"] = make
        return make

    return register


def write(folder: Path) -> list[Path]:
    """All of them, each in a folder of its own, where it finds the canary as `../canary`."""
    paths = []
    for name, make in MAKERS.items():
        path = folder / name.partition(".")[0] / name
        path.parent.mkdir()
        data = make(path)
        if data is not None:
            path.write_bytes(data)
        paths.append(path)
    return paths


# --- building blocks -----------------------------------------------------------------------


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


class Named:
    """Pickles as a global of this name, existing or not (protocol 2)."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Pickler(pickle._Pickler):
    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Named):
            module, _, name = value.name.rpartition(".")
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def pickled(value: Any, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    _Pickler(out, protocol).dump(value)
    return out.getvalue()


def zipped(data: bytes, storages: dict[str, bytes] | None = None, **more: Any) -> bytes:
    """The zip file that torch would read, around a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/version", "3\n")
        for key, values in (storages or {}).items():
            archive.writestr(f"a/data/{key}", values)
    return out.getvalue()


def saved(value: Any, **more: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **more)
    return out.getvalue()


def touch() -> str:
    """A shell command that leaves a canary, from any folder below."""
    return f"touch {CANARY} ../{CANARY} $HOME/{CANARY}"


def python() -> str:
    return f"__import__('os').system({touch()!r})"


def good() -> bytes:
    return saved({"layer.weight": torch.ones(4, 4), "layer.bias": torch.zeros(4)})


# --- pickles that call ---------------------------------------------------------------------


@hostile("pt")
def calls_os_system(path):
    return saved({"model": Call(os.system, touch())})


@hostile("pt")
def calls_eval(path):
    return saved({"weight": torch.ones(2), "x": Call(eval, python())})


@hostile("pt")
def calls_exec(path):
    return saved([Call(exec, python())])


@hostile("pt")
def calls_import(path):
    return saved(Call(builtins.__import__, "canary_module"))


@hostile("pt")
def calls_a_process(path):
    return saved({"model": Call(subprocess.Popen, ["sh", "-c", touch()])})


@hostile("pt")
def removes_the_folder(path):
    return saved({"model": Call(shutil.rmtree, str(path.parent))})


@hostile("pt")
def opens_a_file_to_write(path):
    return saved({"model": Call(open, str(path.parent.parent / CANARY), "w")})


@hostile("pt")
def names_a_module_of_its_own(path):
    return zipped(pickled(Call(Named("canary_module.Boom"))))


@hostile("pt")
def chains_reductions(path):
    """`getattr(__import__("os"), "system")("touch …")`, every link a call."""
    system = Call(getattr, Call(builtins.__import__, "os"), "system")
    return zipped(pickled(Call(Named("functools.partial"), system)))


@hostile("pt")
def chains_by_a_network_class(path):
    """Climbs from an allowed class to whatever is reachable from it."""
    conv = Named("torch.nn.modules.conv.Conv2d")
    init = Call(getattr, conv, "__init__")
    system = Call(getattr, Call(getattr, init, "__globals__"), "os")
    return zipped(pickled({"weight": Call(system, touch())}))


@hostile("pt")
def calls_what_it_got_from_getattr(path):
    called = pickled(Call(getattr, Named("torch.nn.modules.conv.Conv2d"), "forward"))[:-1]
    return zipped(called + pickle.EMPTY_TUPLE + pickle.REDUCE + pickle.STOP)


@hostile("pt")
def nests_torch_load(path):
    inner = Call(io.BytesIO, saved(Call(os.system, touch())))
    return saved({"model": Call(torch.load, inner)})


@hostile("pt")
def nests_pickle_loads(path):
    return saved({"model": Call(pickle.loads, pickle.dumps(Call(os.system, touch())))})


@hostile("pt")
def nests_a_jit_module(path):
    return zipped(pickled(Call(Named("torch.jit.load"), "/dev/zero")))


@hostile("pt")
def downloads(path):
    return zipped(pickled(Call(Named("ultralytics.utils.downloads.safe_download"), "http://x/")))


@hostile("pt")
def installs(path):
    return zipped(pickled(Call(Named("ultralytics.utils.checks.check_requirements"), "canary")))


@hostile("pt")
def hides_in_an_ultralytics_function(path):
    return zipped(pickled(Call(Named("ultralytics.nn.tasks.torch_safe_load"), "x.pt", False)))


@hostile("pt")
def names_python_2(path):
    return zipped(b"\x80\x02c__builtin__\neval\nX" + struct.pack("<I", 4) + b"1+1 \x85R.")


@hostile("pt")
def sets_state_of_a_parameter(path):
    """`_rebuild_parameter_with_state` sets attributes of any name."""
    tensor = torch.nn.Parameter(torch.ones(2))
    tensor.anything = Call(os.system, touch())
    return saved({"weight": tensor})


@hostile("pt")
def encodes_with_a_strange_codec(path):
    return zipped(pickled({"weight": Call(Named("_codecs.encode"), "x" * 60, "idna")}))


@hostile("pt")
def runs_when_opcode_is_inst(path):
    return zipped(b"(X" + struct.pack("<I", 2) + b"iiios\nsystem\n.")


@hostile("pt")
def uses_the_extension_registry(path):
    return zipped(b"\x80\x02\x82\x01.")


for _protocol in (0, 2, 4, 5):

    @hostile("pt")
    def _bare(path, protocol=_protocol):
        return pickle.dumps(Call(os.system, touch()), protocol=protocol)

    MAKERS[f"bare_pickle_of_protocol_{_protocol}.pt"] = MAKERS.pop("_bare.pt")


@hostile("pt")
def newer_protocol_in_a_zip(path):
    return zipped(pickle.dumps(Call(os.system, touch()), protocol=5))


@hostile("pt")
def legacy_pickle(path):
    return saved({"m": Call(os.system, touch())}, _use_new_zipfile_serialization=False)


@hostile("pt")
def legacy_pickle_without_malice(path):
    return saved({"m": torch.ones(2)}, _use_new_zipfile_serialization=False)


@hostile("pt")
def legacy_tar(path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Call(os.system, touch()), protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@hostile("pt")
def torchscript(path):
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # it is deprecated
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), out)
    return out.getvalue()


# --- zip files that are not what they say --------------------------------------------------


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@hostile("pt")
def zip_whose_headers_disagree_on_a_name(path):
    data = good()
    return _patched(data, data.index(b"data.pkl"), b"evil.pkl")


@hostile("pt")
def zip_whose_headers_disagree_on_a_size(path):
    data = zipped(pickled({"w": 1}))
    return _patched(data, 18, struct.pack("<II", 7, 7))


@hostile("pt")
def zip_whose_headers_disagree_on_flags(path):
    return _patched(good(), 6, struct.pack("<H", 1))


@hostile("pt")
def zip_with_two_pickles(path):
    out = io.BytesIO(zipped(pickled(Call(os.system, touch()))))
    with zipfile.ZipFile(out, "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("a/data.pkl", pickled({"w": 1}))
    return out.getvalue()


@hostile("pt")
def zip_after_a_zip(path):
    return zipped(pickled(Call(os.system, touch()))) + good()


@hostile("pt")
def zip_with_a_comment(path):
    data = good()
    return data[:-2] + struct.pack("<H", 22) + data[-22:]


@hostile("pt")
def zip_with_overlapping_records(path):
    data = bytearray(zipped(pickled({"w": 1}), {"0": b"1234", "1": b"5678"}))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    return bytes(data)


@hostile("pt")
def zip_that_climbs(path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/data.pkl", pickled({}))
        archive.writestr("a/../../canary", b"x")
    return out.getvalue()


@hostile("pt")
def zip_bomb(path):
    return zipped(bytes(2**28), compression=zipfile.ZIP_DEFLATED)


@hostile("pt")
def zip_of_nothing_torch_knows(path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/readme.txt", b"hello")
    return out.getvalue()


@hostile("pt")
def zip_that_claims_a_million_records(path):
    data = good()
    return data[:-14] + struct.pack("<HH", 0xFFFF, 0xFFFF) + data[-10:]


# --- memory and time -----------------------------------------------------------------------

REBUILD = Named("torch._utils._rebuild_tensor_v2")


def _tensor(key: str, count: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """The opcodes of a tensor over a storage that is said to hold `count` floats."""
    identity = pickled(("storage", Named("torch.FloatStorage"), key, "cpu", count))[2:-1]
    rest = pickled((0, size, stride, False, OrderedDict()))[3:-2]  # without mark and end
    body = pickle.MARK + identity + pickle.BINPERSID + rest
    return pickled(REBUILD)[2:-1] + body + pickle.TUPLE + pickle.REDUCE


def _state(tensor: bytes) -> bytes:
    return b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s."


@hostile("pt")
def storage_of_forty_gigabytes_in_a_few_hundred_bytes(path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/data.pkl", _state(_tensor("0", 10**10, (10**10,), (1,))))
        archive.writestr("a/data/0", b"")
    return out.getvalue()


@hostile("pt")
def storage_larger_than_its_record(path):
    return zipped(_state(_tensor("0", 100, (100,), (1,))), {"0": b"1234"})


@hostile("pt")
def storage_that_is_missing(path):
    return zipped(_state(_tensor("7", 1, (1,), (1,))), {"0": b"1234"})


@hostile("pt")
def storage_by_its_constructor(path):
    return zipped(pickled({"w": Call(Named("torch.storage.UntypedStorage"), 10**12)}))


@hostile("pt")
def tensor_by_its_constructor(path):
    return zipped(pickled({"w": Call(Named("torch.Tensor"), 10**6, 10**6)}))


@hostile("pt")
def bytearray_of_terabytes(path):
    return zipped(pickled({"w": Call(Named("builtins.bytearray"), 10**13)}))


@hostile("pt")
def legacy_storage_of_gigabytes(path):
    magic = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {}))
    data = magic + _state(_tensor("0", 10**10, (10**10,), (1,)))
    assert len(data) < 300
    return data


@hostile("pt")
def tensor_larger_than_its_storage(path):
    return zipped(_state(_tensor("0", 1, (10**5, 10**5), (0, 0))), {"0": b"1234"})


@hostile("pt")
def tensor_outside_of_its_storage(path):
    return zipped(_state(_tensor("0", 1, (1000,), (1000,))), {"0": b"1234"})


@hostile("pt")
def thousands_of_names_for_one_tensor(path):
    big = torch.ones(1000, 1000)
    return saved({f"w{i}": big for i in range(2000)})


def _doubling(depth: int) -> bytes:
    """A tuple of two of the tuple before, and so on: 2**depth leaves to hash."""
    return b")" + b"".join(bytes([0x71, i, 0x68, i, 0x86]) for i in range(depth))


@hostile("pt")
def key_that_takes_years_to_hash(path):
    return zipped(b"\x80\x02}" + _doubling(60) + b"Ns.")


@hostile("pt")
def set_that_takes_years_to_hash(path):
    return zipped(b"\x80\x02cbuiltins\nset\n]" + _doubling(60) + b"a\x85R.")


@hostile("pt")
def lists_within_lists(path):
    return zipped(b"\x80\x02" + b"]" * 400_000 + b"a" * 399_999 + b".")


@hostile("pt")
def millions_of_opcodes(path):
    return zipped(b"\x80\x02" + b"Nq\x00" * (16 * 10**6) + b".")


@hostile("pt")
def thousands_of_calls(path):
    call = b"ccollections\nOrderedDict\n)R"
    return zipped(b"\x80\x02](" + call * 10**6 + b"e.")


# The opcodes of a module, up to the dict of its children; `sb` after the dict ends it.
MODULE = b"ctorch.nn.modules.container\nSequential\n)\x81"
CHILDREN = b"}X\x08\x00\x00\x00_modules}"


@hostile("pt")
def modules_that_unfold_without_end(path):
    """Modules that hold the one before twice: 2**50 names."""
    out = b"\x80\x02" + MODULE + CHILDREN + b"sbq\x00"
    for i in range(50):
        twice = b"".join(b"X\x01\x00\x00\x00" + name + bytes([0x68, i]) for name in (b"a", b"b"))
        out += MODULE + CHILDREN + b"(" + twice + b"usbq" + bytes([i + 1])
    return zipped(out + b".")


@hostile("pt")
def module_within_itself(path):
    return zipped(b"\x80\x02" + MODULE + b"q\x00" + CHILDREN + b"X\x01\x00\x00\x00ah\x00ssb.")


# --- files that are something else ---------------------------------------------------------


@hostile("pt")
def truncated_by_half(path):
    data = good()
    return data[: len(data) // 2]


@hostile("pt")
def truncated_by_a_byte(path):
    return good()[:-1]


@hostile("pt")
def truncated_to_its_beginning(path):
    return good()[:40]


@hostile("pt")
def bits_flipped_in_its_values(path):
    data = saved({"w": torch.zeros(64)})
    return _patched(data, data.index(bytes(256)) + 100, b"\xff")


@hostile("pt")
def text_file(path):
    return b"import os\nos.system('touch canary')\n" * 20


@hostile("pt")
def page_of_a_server(path):
    return b"<!DOCTYPE html><html><body>404</body></html>"


@hostile("pt")
def empty(path):
    return b""


@hostile("pt")
def zeros(path):
    return bytes(10_000)


@hostile("pt")
def holds_no_tensors(path):
    return saved({"epoch": 3, "model": None})


@hostile("pt")
def safetensors_by_another_name(path):
    from safetensors.torch import save

    return save({"w": torch.ones(2)})


@hostile("txt")
def unknown_ending(path):
    return good()


@hostile("pt")
def folder(path):
    path.mkdir()


@hostile("pt")
def pipe_without_an_end(path):
    os.mkfifo(path)


# --- safetensors ---------------------------------------------------------------------------


def _safetensors(header: Any, values: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + values


def _entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@hostile("safetensors")
def overlapping_offsets(path):
    return _safetensors({"a": _entry(0, 8, [2]), "b": _entry(4, 12, [2])}, bytes(12))


@hostile("safetensors")
def offsets_with_a_hole(path):
    return _safetensors({"a": _entry(0, 4, [1]), "b": _entry(8, 12, [1])}, bytes(12))


@hostile("safetensors")
def offsets_beyond_the_end(path):
    return _safetensors({"a": _entry(0, 4 * 10**10, [10**10])}, bytes(4))


@hostile("safetensors")
def offsets_backwards(path):
    return _safetensors({"a": _entry(8, 4, [1])}, bytes(8))


@hostile("safetensors")
def shape_that_overflows(path):
    return _safetensors({"a": _entry(0, 4, [2**63, 2**63, 2])}, bytes(4))


@hostile("safetensors")
def header_of_100_megabytes(path):
    with open(path, "wb") as file:
        file.write(_safetensors(b'{"__metadata__":{"a":"', length=100 * 10**6))
        file.seek(8 + 100 * 10**6 - 1)
        file.write(b"}")


@hostile("safetensors")
def header_of_100_megabytes_that_is_sound(path):
    padding = {"__metadata__": {"a": "x" * (100 * 10**6 - 100)}, "w": _entry(0, 4, [1])}
    return _safetensors(padding, bytes(4))


@hostile("safetensors")
def header_longer_than_the_file(path):
    return _safetensors(b"{}", length=10**15)


@hostile("safetensors")
def header_of_lists_within_lists(path):
    return _safetensors(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}")


@hostile("safetensors")
def header_that_is_no_json(path):
    return _safetensors(b"{'a': __import__('os').system('touch canary')}")


@hostile("safetensors")
def header_with_a_strange_dtype(path):
    return _safetensors({"a": _entry(0, 8, [1], "PICKLE")}, bytes(8))


@hostile("safetensors")
def truncated_values(path):
    from safetensors.torch import save

    return save({"w": torch.ones(100)})[:-7]


@hostile("safetensors")
def labkit_metadata_that_is_none(path):
    return _safetensors({"__metadata__": {"labkit": "[" * 10**5}, "w": _entry(0, 4, [1])}, bytes(4))


@hostile("safetensors")
def pickle_by_another_name(path):
    return pickle.dumps(Call(os.system, touch()))


# --- ONNX ----------------------------------------------------------------------------------


def _model(*tensors: Any, **metadata: str) -> Any:
    graph = onnx.helper.make_graph([], "g", [], [], initializer=list(tensors))
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, metadata)
    return model


def _outside(location: str, **entries: Any) -> bytes:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return _model(tensor).SerializeToString()


@hostile("onnx")
def external_data_above_its_folder(path):
    (path.parent.parent / "secret.bin").write_bytes(b"x" * 16)
    return _outside("../secret.bin")


@hostile("onnx")
def external_data_by_an_absolute_path(path):
    return _outside("/etc/passwd")


@hostile("onnx")
def external_data_by_a_link(path):
    (path.parent.parent / "secret2.bin").write_bytes(b"x" * 16)
    (path.parent / "inside.bin").symlink_to(path.parent.parent / "secret2.bin")
    return _outside("inside.bin")


@hostile("onnx")
def external_data_that_is_a_device(path):
    return _outside("../../../../../../../../../dev/zero")


@hostile("onnx")
def external_data_that_is_missing(path):
    return _outside("weights.bin")


@hostile("onnx")
def external_data_that_is_short(path):
    (path.parent / "w.bin").write_bytes(b"x" * 8)
    return _outside("w.bin", offset=0, length=16)


@hostile("onnx")
def external_data_at_a_strange_offset(path):
    (path.parent / "w.bin").write_bytes(b"x" * 16)
    return _outside("w.bin", offset=-16)


@hostile("onnx")
def tensor_of_terabytes(path):
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[10**6, 10**6], raw_data=b"1234")
    return _model(tensor).SerializeToString()


@hostile("onnx")
def tensors_of_nothing_but_zeros(path):
    tensors = [
        onnx.TensorProto(name=f"w{i}", data_type=21, dims=[2**40, 0, 2**40]) for i in range(3)
    ]
    tensors.append(onnx.TensorProto(name="x", data_type=1, dims=[-4], raw_data=b"1234"))
    return _model(*tensors).SerializeToString()


@hostile("onnx")
def truncated_model(path):
    tensor = onnx.numpy_helper.from_array(torch.ones(64).numpy(), "w")
    return _model(tensor).SerializeToString()[:-100]


@hostile("onnx")
def pickle_named_onnx(path):
    return pickle.dumps(Call(os.system, touch()))


@hostile("onnx")
def empty_model(path):
    return b""


@hostile("onnx")
def groups_within_groups(path):
    return b"\x0b" * 10**6


# --- TensorFlow Lite -----------------------------------------------------------------------


@hostile("tflite")
def offset_beyond_the_end(path):
    return struct.pack("<I4sI", 2**31 - 1, b"TFL3", 0)


@hostile("tflite")
def table_before_the_beginning(path):
    return struct.pack("<I4si", 8, b"TFL3", 2**31 - 1)


@hostile("tflite")
def vector_longer_than_the_file(path):
    data = tflite({"w": torch.ones(4)})
    return data.replace(struct.pack("<I", 16) + torch.ones(4).numpy().tobytes(), b"\xff" * 20)


@hostile("tflite")
def shape_that_does_not_fit(path):
    return tflite({"w": torch.ones(4)}, shapes={"w": (10**6, 10**3)})


@hostile("tflite")
def buffer_that_is_not_there(path):
    return tflite({"w": torch.ones(4)}, buffers={"w": 2**31})


@hostile("tflite")
def truncated_flatbuffer(path):
    return tflite({"w": torch.ones(100)})[:-150]


@hostile("tflite")
def text_named_tflite(path):
    return b"just some text"
