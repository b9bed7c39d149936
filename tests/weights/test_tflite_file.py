"""TensorFlow Lite: what a hand-made file holds is what is read."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
import torch

from labkit.core.errors import FileError
from labkit.weights import load
from tests.weights.flatbuffer import TYPES, tflite


def read(folder, data: bytes):
    path = folder / "net.tflite"
    path.write_bytes(data)
    return load(path)


def test_every_type_and_shape(tmp_path):
    torch.manual_seed(0)
    held = {str(kind): (torch.rand(2, 3) * 4).to(kind) for kind in TYPES}
    held["scalar"] = torch.tensor(2.5)
    held["four"] = torch.rand(1, 2, 3, 4)
    weights = read(tmp_path, tflite(held))
    assert list(weights.tensors) == list(held)
    for name, tensor in held.items():
        assert weights.tensors[name].dtype == tensor.dtype
        assert torch.equal(weights.tensors[name], tensor)
    assert weights.format == "tflite"
    assert weights.about["description"] == "made by hand"


def test_four_bits_are_unpacked(tmp_path):
    data = tflite({"w": torch.tensor([0x21, 0xF8], dtype=torch.uint8)}, shapes={"w": (3,)})
    data = data.replace(b"\x03" + bytes(7) + b"\x01", b"\x11" + bytes(7) + b"\x01")
    assert read(tmp_path, data).tensors["w"].tolist() == [1, 2, -8]


def test_what_the_network_computes_is_left_out(tmp_path):
    assert set(read(tmp_path, tflite({"w": torch.ones(2)})).tensors) == {"w"}
    with pytest.raises(FileError, match="none of its tensors has values"):
        read(tmp_path, tflite({}))


def test_what_ultralytics_appends(tmp_path):
    said = {"names": {"0": "cat"}, "task": "detect", "date": "2026", "imgsz": [64, 64]}
    out = io.BytesIO(tflite({"w": torch.ones(2)}))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps(said))
    weights = read(tmp_path, out.getvalue())
    assert (weights.names, weights.task, weights.date) == ({0: "cat"}, "detect", "2026")
    assert weights.about["imgsz"] == [64, 64]


def test_metadata_that_unpacks_to_gigabytes_is_left_out(tmp_path):
    out = io.BytesIO(tflite({"w": torch.ones(2)}))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", b" " * 2**27)
    assert read(tmp_path, out.getvalue()).about == {"description": "made by hand", "schema": 3}


def test_tensors_of_one_name_are_told_apart(tmp_path):
    data = tflite({"aa": torch.ones(2), "ab": torch.zeros(3)}).replace(b"ab", b"aa")
    tensors = read(tmp_path, data).tensors
    assert {name: t.tolist() for name, t in tensors.items()} == {"aa": [1, 1], "aa (2)": [0, 0, 0]}


def test_a_file_by_the_generated_schema(tmp_path):
    """LiteRT's own writer, with tables and offsets laid out as its compiler does."""
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    held = {"w": torch.rand(2, 3), "b": torch.tensor([-1, 2], dtype=torch.int8)}
    kinds = [schema.TensorType.FLOAT32, schema.TensorType.INT8]
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, "by schema"
    model.buffers, graph.tensors = [schema.BufferT()], []
    for (name, tensor), kind in zip(held.items(), kinds, strict=True):
        made, buffer = schema.TensorT(), schema.BufferT()
        made.name, made.type, made.shape = name, kind, list(tensor.shape)
        made.buffer = len(model.buffers)
        buffer.data = tensor.reshape(-1).view(torch.uint8).numpy()
        graph.tensors.append(made)
        model.buffers.append(buffer)
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    weights = read(tmp_path, bytes(builder.Output()))
    assert weights.about == {"description": "by schema", "schema": 3}
    assert list(weights.tensors) == list(held)
    for name, tensor in held.items():
        assert torch.equal(weights.tensors[name], tensor)


def test_a_name_as_long_as_the_file_is_not_copied_for_each_tensor(tmp_path):
    many = tflite({f"{k:05d}": torch.ones(1, dtype=torch.uint8) for k in range(200)})
    long = many.replace(b"\x05\0\0\x000", b"\xd0\x07\0\x000")  # 2000 bytes for each
    assert len(long) == len(many)
    assert long != many
    with pytest.raises(FileError, match="many times its own size"):
        read(tmp_path, long)
