"""The scan of a pickle: what torch.save writes passes, and stays what torch loads."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch

from labkit.weights.pickle_scan import OPCODES, RefusedError, globals_named, scan
from tests.weights import goods, hostile


def parts(data: bytes) -> tuple[bytes, dict[str, int]]:
    """The pickle of a checkpoint, and the sizes of its storages."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {i.filename.partition("/data/")[2]: i.file_size for i in archive.infolist()}
        (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
        return archive.read(name), sizes


def test_the_globals_that_a_network_needs():
    pickle, storages = parts(goods.whole_module())
    found = scan(pickle, lambda name: True, storages)
    expected = {"container.Sequential", "conv.Conv2d", "batchnorm.BatchNorm2d", "flatten.Flatten"}
    assert found == {f"torch.nn.modules.{name}" for name in expected | {"linear.Linear"}}
    with pytest.raises(RefusedError, match=r"torch\.nn\.modules\.container\.Sequential"):
        scan(pickle, lambda name: False, storages)


def test_a_checkpoint_in_training_stays_far_below_the_bound():
    """YOLO26x, the largest, takes half as many opcodes again as YOLO26n."""
    import pickletools

    average = goods.checkpoint("yolo26n")["model"]
    optimizer = torch.optim.AdamW([p.requires_grad_() for p in average.parameters()])
    for parameter in optimizer.param_groups[0]["params"]:
        state = {"exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1), "step": torch.ones(1)}
        optimizer.state[parameter] = state
    saved = goods.saved({"ema": average, "optimizer": optimizer.state_dict()})
    pickle, storages = parts(saved)
    assert scan(pickle, lambda name: True, storages)
    assert 4 * sum(1 for _ in pickletools.genops(pickle)) < OPCODES


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_globals_are_named_for_every_protocol(protocol):
    import os
    import pickle

    data = pickle.dumps(hostile.Call(os.system, "true"), protocol=protocol)
    assert globals_named(data) == ["posix.system"]
    assert globals_named(pickle.dumps(1) + data + data + b"anything") == ["posix.system"]
    assert globals_named(data[:-1]) == []
    assert globals_named(b"import os\nimport sys\n") == []
