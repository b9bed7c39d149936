from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from labkit.core.ultralytics import ultralytics
from labkit.vision.finetuning import FineTune
from labkit.vision.finetuning.settings import pick, settings, used


def test_ultralytics_knows_every_setting(tmp_path):
    ultralytics()
    from ultralytics.cfg import get_cfg

    ours = settings(FineTune(device="cpu"), tmp_path)
    theirs = vars(get_cfg(overrides=ours))  # raises for a name or a value it does not know
    assert {key: theirs[key] for key in ours} == ours


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"lr": 0.0123}, {"lr0": 0.0123}),
        ({"optimizer": "sgd"}, {"optimizer": "sgd"}),
        ({"batch": 3}, {"batch": 3, "nbs": 3}),
        ({"schedule": "cosine"}, {"cos_lr": True}),
        ({"schedule": "linear"}, {"cos_lr": False}),
        ({"mosaic": 0.0}, {"mosaic": 0.0, "close_mosaic": 0}),
        ({"mosaic": 0.5, "epochs": 12}, {"mosaic": 0.5, "close_mosaic": 3}),
        ({"mosaic": 0.5, "epochs": 2}, {"close_mosaic": 1}),
        ({"qat": 8}, {"quantize": 8}),
        ({"qat": 0}, {"quantize": None}),
        ({"image_size": 96}, {"imgsz": 96}),
        ({"seed": 5}, {"seed": 5}),
        ({"epochs": 7}, {"epochs": 7}),
        ({"freeze": 2}, {"freeze": [0, 1]}),
        ({"freeze_layers": (4, 1)}, {"freeze": [1, 4]}),
        ({"final_lr": 0.3}, {"lrf": 0.3}),
        ({"weight_decay": 0.2}, {"weight_decay": 0.2}),
        ({"momentum": 0.6}, {"momentum": 0.6, "warmup_momentum": 0.6}),
        ({"warmup": 2.5}, {"warmup_epochs": 2.5, "warmup_bias_lr": 0.0}),
    ],
)
def test_each_field_sets_its_argument(tmp_path, change, found):
    got = settings(FineTune(device="cpu", **change), tmp_path)
    assert {key: got[key] for key in found} == found


@pytest.mark.parametrize(
    ("name", "value"),
    [("patience", 0), ("amp", False), ("plots", False), ("save", False), ("val", True)],
)
def test_what_no_field_may_change(tmp_path, name, value):
    assert settings(FineTune(device="cpu", epochs=50), tmp_path)[name] == value


def test_what_is_written_goes_into_the_folder(tmp_path):
    assert settings(FineTune(device="cpu"), tmp_path)["save_dir"] == str(tmp_path)


def test_without_augmentation_nothing_is_changed_in_an_image(tmp_path):
    ultralytics()
    from ultralytics.utils import DEFAULT_CFG_DICT

    names = ("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective",
             "flipud", "fliplr", "mixup", "cutmix", "copy_paste", "erasing")  # fmt: skip
    got = settings(FineTune(device="cpu", augmentation=False), tmp_path)
    assert {key: got[key] for key in names} == dict.fromkeys(names, 0.0)
    assert any(DEFAULT_CFG_DICT[key] for key in names), "else nothing would be switched off"
    assert not set(names) & set(settings(FineTune(device="cpu"), tmp_path))


@pytest.mark.parametrize(
    ("wanted", "gpu", "name"), [("cpu", True, "cpu"), ("auto", False, "cpu"), ("auto", True, "0")]
)
def test_devices_go_by_ultralytics_names(monkeypatch, wanted, gpu, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert pick(wanted) == name


def trainer(optimizer: torch.optim.Optimizer, network: torch.nn.Module):
    class Loader(SimpleNamespace):
        def __len__(self) -> int:
            return 3

    loader = Loader(batch_size=4, dataset=range(10))
    network.precision = torch.float32
    return SimpleNamespace(
        optimizer=optimizer, weight_group=lambda: optimizer.param_groups[0], model=network,
        network=network, train_loader=loader, epochs=2, device="cpu", lf=lambda epoch: 0.01,
        _get_warmup_iterations=lambda batches: 5 * batches,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "name", "momentum", "betas"),
    [
        (lambda p: torch.optim.AdamW(p, lr=0.3, betas=(0.8, 0.9), weight_decay=0.1), "AdamW", 0.8,
         (0.8, 0.9)),
        (lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.7, weight_decay=0.1), "SGD", 0.7, None),
    ],
)  # fmt: skip
def test_what_was_used_is_read_from_the_optimizer(make, name, momentum, betas):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    network[0].requires_grad_(False)
    optimizer = make(network.parameters())
    optimizer.param_groups[0]["initial_lr"] = 0.3
    found = used(trainer(optimizer, network), FineTune(lr=0.001, warmup=1.0, schedule="linear"))
    assert (found.optimizer, found.lr, found.momentum, found.betas) == (name, 0.3, momentum, betas)
    assert found.weight_decay == 0.1
    assert (found.batch, found.steps, found.images) == (4, 6, 10)
    assert (found.parameters, found.frozen_parameters) == (4 * 2 + 2, 3 * 4 + 4)
    assert found.schedule == "linear to 0.01 of lr, after 15 steps up"
    assert found.precision == "float32"
    assert found.notes == ()


@pytest.mark.parametrize(
    ("change", "schedule"),
    [
        ({"schedule": "constant"}, "constant"),
        ({"schedule": "cosine"}, "cosine to 0.01 of lr"),
        ({"schedule": "linear", "final_lr": 0.0}, "linear to 0"),
    ],
)
def test_a_schedule_is_said_with_its_end(change, schedule):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    optimizer.param_groups[0]["initial_lr"] = 0.3
    spec = FineTune(warmup=0.0, **change)
    assert used(trainer(optimizer, network), spec).schedule == schedule


def test_what_is_not_as_it_seems_is_noted():
    network = torch.nn.Sequential(torch.nn.Linear(3, 4))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    optimizer.param_groups[0]["initial_lr"] = 0.3
    (note,) = used(trainer(optimizer, network), FineTune(optimizer="auto")).notes
    assert note.startswith("optimizer=auto: ")
