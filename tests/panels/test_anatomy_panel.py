from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn

from labkit.core.errors import LabError
from labkit.panels.anatomy_panel import AnatomyPanel
from labkit.views import draw_tensor, tensor_views
from labkit.weights import perturb


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))
        return nn.Sequential(nn.Conv2d(3, 6, 3), block)


def values(panel: AnatomyPanel, shown) -> np.ndarray:
    return shown[panel.live["tensor"]]["data"][0]["z"]


def test_it_begins_with_the_first_weight(shown):
    panel = AnatomyPanel(network())
    assert (panel.tensor, panel.view) == ("0.weight", "distribution")
    assert panel.layer_selector.options == ("0", "1")
    assert [name for _, name in panel.tensor_selector.options] == ["0.weight", "0.bias"]
    assert "shape <b>6x3x3x3</b>" in panel.status.value
    assert shown[panel.live["tensor"]]["data"][0]["y"].sum() == 6 * 27


def test_choosing_layers_tensors_and_views(shown):
    model = network()
    panel = AnatomyPanel(model)
    panel.view_selector.value = "heatmap"
    panel.layer_selector.value = "1"
    assert panel.tensor == "1.0.weight"
    assert len(panel.tensor_selector.options) == 9
    panel.tensor_selector.value = "1.2.weight"
    assert panel.view == "heatmap"
    np.testing.assert_array_equal(values(panel, shown), model[1][2].weight.detach()[:, :, 0, 0])
    assert "<b>1.2.weight</b>" in panel.status.value


def test_only_views_that_fit_are_offered(shown):
    panel = AnatomyPanel(network(), view="filters")
    assert shown[panel.live["tensor"]]["data"][0]["type"] == "image"
    panel.layer_selector.value = "1"
    assert panel.view in tensor_views(4)
    assert "filters" not in [name for _, name in panel.view_selector.options]
    panel.view_selector.value = "network"
    panel.tensor_selector.value = "1.1.running_mean"
    assert panel.view != "network"
    panel.tensor_selector.value = "1.1.num_batches_tracked"
    assert shown[panel.live["tensor"]]["data"]


def test_a_click_on_a_dot_chooses_its_tensor(shown):
    panel = AnatomyPanel(network())
    panel.live["overview"]._receive(None, {"click": {"customdata": "1.1.weight"}}, [])
    assert (panel.tensor, panel.layer_selector.value) == ("1.1.weight", "1")
    assert panel.tensor_selector.value == "1.1.weight"
    panel.live["overview"]._receive(None, {"click": {"customdata": None}}, [])
    assert panel.tensor == "1.1.weight"


def test_with_weights_before_it_shows_what_changed(shown):
    before = network().state_dict()
    after = perturb(before, "1.0", "noise", 0.5, torch.Generator().manual_seed(1))
    panel = AnatomyPanel(after, before, tensor="1.0.weight", view="change")
    assert "1 of 11 tensors changed." in panel.words()
    assert "signs flipped" in panel.status.value
    spec = shown[panel.live["tensor"]]
    gap = (after["1.0.weight"] - before["1.0.weight"]).numpy()
    expected = draw_tensor(
        "change", after["1.0.weight"].numpy(), before["1.0.weight"].numpy(), tensor="1.0.weight"
    )
    np.testing.assert_array_equal(spec["data"][0]["z"], expected["data"][0]["z"])
    assert np.nanmax(spec["data"][0]["z"]) == pytest.approx(gap.max())
    panel.view_selector.value = "distribution"
    assert [trace["name"] for trace in shown[panel.live["tensor"]]["data"]] == ["after", "before"]
    assert "relative" in str(panel.overview().data[-1].text[0])


def test_a_tensor_without_a_before_is_not_compared():
    before, after = network().state_dict(), network().state_dict()
    after["1.2.weight"] = torch.ones(7, 4, 1, 1)
    panel = AnatomyPanel(after, before, interactive=False)
    assert "change" in panel.fitting("0.weight")
    assert "change" not in panel.fitting("1.2.weight")
    assert len(panel.figure("distribution", "1.2.weight").data) == 1


def test_without_a_person_it_shows_words_and_two_plain_figures(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = AnatomyPanel(network(), interactive=False)
    assert not hasattr(panel, "widget")
    panel._ipython_display_()
    said, *figures = displayed
    learned = sum(p.numel() for p in network().parameters())
    assert f"{learned:,} learned values" in said.data
    assert "3 weights, 4 biases, 1 scale, 3 buffers" in said.data
    assert [type(figure) for figure in figures] == [go.Figure, go.Figure]
    panel.look("1.2.weight", "heatmap")
    assert panel.figure().data[0].type == "heatmap"


def test_half_precision_and_integers_are_shown():
    panel = AnatomyPanel(network().to(torch.bfloat16), interactive=False)
    for tensor in panel.tensors:
        for view in panel.fitting(tensor):
            assert panel.figure(view, tensor).data


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tensor": "1.0.weigth"}, "did you mean '1.0.weight'"),
        ({"view": "heatmaps"}, "did you mean 'heatmap'"),
        ({"view": "change"}, "view='change'"),
        ({"tensor": "0.bias", "view": "network"}, "view='network'"),
        ({"before": {"other": torch.ones(2)}}, "nothing to compare"),
    ],
)
def test_slips_are_named(arguments, said):
    with pytest.raises(LabError, match=said):
        AnatomyPanel(network(), interactive=False, **arguments)


def test_a_buffer_that_is_not_kept_is_not_offered():
    model = network()
    model.register_buffer("passing", torch.ones(3), persistent=False)
    assert "passing" not in AnatomyPanel(model, interactive=False).tensors
