"""What labkit uses of other packages that they may change in any release: it is all still there.

Each entry names something that its package does not promise (a name with an underscore, a method
that labkit overrides or calls out of its place, a global that it replaces), with the parameters
it has now and the module of labkit that depends on it. When a test here fails after an upgrade,
read that module against the new release before you change the entry.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from labkit.core.ultralytics import ultralytics

ROOT = Path(__file__).parent.parent
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

# Subclasses of other packages' classes. Every method they override is checked.
SUBCLASSES = {
    "labkit.batch.client:Client": ("nbclient", "papermill"),
    "labkit.batch.client:Engine": ("papermill",),
    "labkit.batch.client:TruthfulManager": ("papermill",),
    "labkit.panels.live_figure:LiveFigure": ("ipywidgets",),
    "labkit.vision.finetuning.network:TrainedDetector": ("ultralytics",),
    "labkit.vision.finetuning.quantized:QuantizedTuner": ("ultralytics",),
    "labkit.vision.finetuning.trainer:FineTuner": ("ultralytics",),
    "labkit.vision.finetuning.images:Images": ("ultralytics",),
    "labkit.warm.provisioner:WarmProvisioner": ("jupyter-client",),
    "labkit.warm.stream:PacedStream": ("ipykernel",),
}
TRAITLETS = re.compile(
    r"_(abc_impl|traits|descriptors|instance_inits|all_trait\w+|trait_\w+|static\w+)"
)

# Parameters of every method that they override, `self` left out.
OVERRIDDEN = {
    "ipykernel.iostream:OutStream.write": "string",
    "ipywidgets.widgets.widget:Widget.close": "",
    "jupyter_client.provisioning.local_provisioner:LocalProvisioner.launch_kernel": "cmd, kwargs",
    "jupyter_client.provisioning.local_provisioner:LocalProvisioner.wait": "",
    "nbclient.client:NotebookClient._async_check_alive": "",
    "nbclient.client:NotebookClient._async_cleanup_kernel": "",
    "nbclient.client:NotebookClient._async_poll_kernel_alive": "",
    "nbclient.client:NotebookClient._async_poll_output_msg": "parent_msg_id, cell, cell_index",
    "nbclient.client:NotebookClient._cleanup_kernel": "args, kwargs",
    "nbclient.client:NotebookClient._get_timeout": "cell",
    "nbclient.client:NotebookClient.async_execute_cell": (
        "cell, cell_index, execution_count, store_history"
    ),
    "nbclient.client:NotebookClient.async_start_new_kernel": "kwargs",
    "nbclient.client:NotebookClient.async_start_new_kernel_client": "",
    "nbclient.client:NotebookClient.clear_output": "outs, msg, cell_index",
    "nbclient.client:NotebookClient.execute_cell": "args, kwargs",
    "nbclient.client:NotebookClient.output": "outs, msg, display_id, cell_index",
    "nbclient.client:NotebookClient.start_new_kernel": "args, kwargs",
    "nbclient.client:NotebookClient.start_new_kernel_client": "args, kwargs",
    "papermill.clientwrap:PapermillNotebookClient.process_message": "arg, kwargs",
    "papermill.engines:Engine.execute_notebook": (
        "nb, kernel_name, output_path, progress_bar, log_output, autosave_cell_every, kwargs"
    ),
    "papermill.engines:NotebookExecutionManager.cell_complete": "cell, cell_index, kwargs",
    "papermill.engines:NotebookExecutionManager.cell_start": "cell, cell_index, kwargs",
    "papermill.engines:NotebookExecutionManager.notebook_complete": "kwargs",
    "ultralytics.data.base:BaseDataset.cache_images": "",
    "ultralytics.data.base:BaseDataset.get_img_files": "img_path",
    "ultralytics.data.dataset:YOLODataset.get_labels": "",
    "ultralytics.engine.trainer:BaseTrainer._handle_nan_recovery": "epoch",
    "ultralytics.engine.trainer:BaseTrainer._model_train": "",
    "ultralytics.engine.trainer:BaseTrainer._setup_scheduler": "",
    "ultralytics.engine.trainer:BaseTrainer._setup_train": "",
    "ultralytics.engine.trainer:BaseTrainer.build_optimizer": (
        "model, name, lr, momentum, decay, iterations"
    ),
    "ultralytics.engine.trainer:BaseTrainer.final_eval": "",
    "ultralytics.engine.trainer:BaseTrainer.get_dataset": "",
    "ultralytics.engine.trainer:BaseTrainer.optimizer_step": "",
    "ultralytics.engine.trainer:BaseTrainer.resume_training": "ckpt",
    "ultralytics.engine.trainer:BaseTrainer.run_callbacks": "event",
    "ultralytics.engine.trainer:BaseTrainer.save_metrics": "metrics",
    "ultralytics.engine.trainer:BaseTrainer.save_model": "",
    "ultralytics.engine.trainer:BaseTrainer.setup_model": "",
    "ultralytics.engine.trainer:BaseTrainer.validate": "",
    "ultralytics.models.yolo.detect.train:DetectionTrainer.get_dataloader": (
        "dataset_path, batch_size, rank, mode"
    ),
    "ultralytics.models.yolo.detect.train:DetectionTrainer.get_validator": "",
    "ultralytics.models.yolo.detect.train:DetectionTrainer.preprocess_batch": "batch",
    "ultralytics.nn.tasks:BaseModel.loss": "batch, preds",
}


class Used(NamedTuple):
    """Something that labkit reads, calls or replaces.

    Attributes:
        name: `module:attribute`.
        by: labkit's module that does.
        parameters: of a function; None where it is none, or not written in Python.
    """

    name: str
    by: str
    parameters: str | None = None


USED = [
    Used("ai_edge_litert.interpreter:Interpreter._get_ops_details", "deploy.runtimes.litert", ""),
    Used("IPython.core.history:HistoryManager.outputs", "warm.stream"),
    Used("ipykernel.comm.comm:BaseComm._reply_subshell_for", "panels.comms", "data, default"),
    Used("ipykernel.ipkernel:sys", "warm.kernel"),
    Used("ipykernel.kernelapp:IPKernelApp.parent_handle", "warm.kernel"),
    Used("modelopt.torch.quantization.conversion:print", "vision.finetuning.quantized"),
    Used("modelopt.torch.quantization.nn:TensorQuantizer.amax", "vision.finetuning.quantized"),
    Used("modelopt.torch.quantization.nn:TensorQuantizer.num_bits", "vision.finetuning.quantized"),
    Used("nbclient.client:NotebookClient.clear_before_next_output", "batch.client"),
    Used("nbclient.client:NotebookClient.shutdown_kernel", "batch.client"),
    Used("nbclient.client:run_hook", "batch.client", "hook, kwargs"),
    Used("papermill.engines:NBClientEngine", "batch.client"),
    Used("plotly.io._html", "warm.preload"),
    Used("plotly.io._renderers", "warm.preload"),
    Used("threading:_shutdown", "warm.process", ""),
    Used("atexit:_run_exitfuncs", "warm.process"),
    Used("weakref:finalize._registry", "warm.preload"),
    Used("torch:_foreach_norm", "vision.finetuning.recorder"),
    Used("torch:_foreach_norm", "vision.finetuning.trainer"),
    Used("torch:_tensor_str.PRINT_OPTS", "core.ultralytics"),
    Used("torch.utils._pytree:tree_map_only", "vision.finetuning.network"),
    Used("torch.utils._pytree:tree_map_only", "vision.pretraining"),
    Used("ultralytics.data.build:build_dataloader", "vision.finetuning.trainer"),
    Used(
        "ultralytics.engine.trainer:BaseTrainer._get_warmup_iterations",
        "vision.finetuning.settings",
        "num_batches",
    ),
    Used(
        "ultralytics.engine.validator:BaseValidator.match_predictions",
        "vision.evaluation",
        "pred_classes, true_classes, iou, use_scipy",
    ),
    Used("ultralytics.utils:SETTINGS._save", "core.ultralytics", ""),
    Used("ultralytics.utils.events:events.enabled", "core.ultralytics"),
]

# Attributes that plotly.js adds to its figures and axes, or that labkit's page itself adds.
PLOTLY_JS = re.compile(r"\??\.(_[a-zA-Z]\w*)")
OURS = {"_array"}


def find(name: str) -> Any:
    module, _, attribute = name.partition(":")
    ultralytics()  # before anything else imports it
    found = importlib.import_module(module)
    return attrgetter(attribute)(found) if attribute else found


def parameters(function: Any) -> str:
    return ", ".join(name for name in inspect.signature(function).parameters if name != "self")


def overridden(subclass: type) -> Iterator[str]:
    """`module:Class.method` of every foreign method that a class of labkit's overrides."""
    foreign = [base for base in subclass.__mro__ if not base.__module__.startswith("labkit")]
    for name in vars(subclass):
        if name.startswith("__") or TRAITLETS.fullmatch(name):
            continue
        for base in foreign:
            if name in vars(base):
                yield f"{base.__module__}:{base.__qualname__}.{name}"
                break


def test_every_overridden_method_is_listed():
    found = {name for subclass in SUBCLASSES for name in overridden(find(subclass))}
    assert found == set(OVERRIDDEN)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_overridden_method_has_the_parameters_that_labkit_expects(name: str):
    assert parameters(find(name)) == OVERRIDDEN[name]


@pytest.mark.parametrize("used", USED, ids=lambda used: f"{used.by} {used.name}")
def test_private_is_where_labkit_uses_it(used: Used):
    place, _, attribute = used.name.rpartition(":")[2].rpartition(".")
    source = ROOT.joinpath("labkit", *used.by.split(".")).with_suffix(".py").read_text()
    assert re.search(rf"\b{attribute}\b", source), "no longer used: take it off the list"
    if attribute == "print":  # a builtin, which the module must go on finding by name
        assert "print(" in inspect.getsource(find(used.name.partition(":")[0]))
        return
    try:
        found = find(used.name)
    except AttributeError:  # what only an instance has
        owner = find(used.name.removesuffix(f".{attribute}")) if place else None
        assert f"self.{attribute}" in inspect.getsource(owner)
        return
    if used.parameters is not None:
        assert parameters(found) == used.parameters


def test_average_of_weights_moves_the_pairs_of_tensors_that_labkit_sets():
    ultralytics()
    from ultralytics.utils.torch_utils import ModelEMA

    model = torch.nn.Linear(2, 1)
    average = ModelEMA(model)
    before = {name: tensor.clone() for name, tensor in average.ema.state_dict().items()}
    average._pairs = ([average.ema.bias], [model.bias.detach()])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    average.update(model)
    assert torch.equal(average.ema.weight, before["weight"])
    assert not torch.equal(average.ema.bias, before["bias"])


@pytest.mark.parametrize(
    "package",
    sorted({"plotly", "modelopt", *(p for packages in SUBCLASSES.values() for p in packages)}),
)
def test_package_has_an_upper_bound(package: str):
    name = {"modelopt": "nvidia-modelopt"}.get(package, package)
    requirements = {canonicalize_name(r.name): r for r in map(Requirement, DEPENDENCIES)}
    assert any(part.operator == "<" for part in requirements[name].specifier)


def page_sources() -> list[Path]:
    return sorted((ROOT / "labkit" / "panels").rglob("*.js"))


def test_plotly_js_has_what_the_canvas_reads():
    names = {name for path in page_sources() for name in PLOTLY_JS.findall(path.read_text())}
    assert {"_fullData", "_fullLayout", "_offset", "_length"} <= names, "found by the pattern"
    plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
    shipped = set(PLOTLY_JS.findall(plotly.read_text(encoding="utf-8")))
    assert names - OURS <= shipped
