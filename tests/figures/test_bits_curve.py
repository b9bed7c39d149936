from __future__ import annotations

import plotly.graph_objects as go

from labkit import figures
from labkit.panels.live_figure import pack


def test_points_are_in_order_of_width_and_formats_beside_their_like():
    spec = figures.bits_curve.spec(
        {"affine": [(8, 0.7), (2, 0.0), ("e4m3", 0.6), (4, 0.4)], "symmetric": [(16, 0.71)]},
        float32=0.72,
        bits=(3,),
        now=("bf16", 0.71),
    )
    go.Figure(spec)
    pack(spec)
    by_name = {trace["name"]: trace for trace in spec["data"]}
    assert by_name["affine"]["x"] == ["2", "4", "8", "e4m3"]
    assert by_name["affine"]["y"].tolist() == [0.0, 0.4, 0.7, 0.6]
    axis = spec["layout"]["xaxis"]
    assert axis["categoryarray"] == ["2", "3", "4", "8", "e4m3", "16", "bf16"]
    assert by_name["float32"]["x"] == ["2", "bf16"]
    assert by_name["float32"]["y"] == [0.72, 0.72]
    assert (by_name["now"]["x"], by_name["now"]["y"]) == (["bf16"], [0.71])
    assert axis["range"][1] > 6


def test_before_anything_was_measured_there_is_a_picture():
    for bits in ((), (4,)):
        spec = figures.bits_curve.spec({}, float32=0.5, bits=bits)
        go.Figure(spec)
        pack(spec)
        assert not spec["data"][-1]["showlegend"]
