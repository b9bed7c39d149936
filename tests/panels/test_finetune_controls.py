from __future__ import annotations

from labkit.core.parameters import parameters
from labkit.panels.finetune_controls import OFFERED, FineTuneControls
from labkit.vision.finetuning import FineTune


def test_every_field_has_a_control():
    controls = FineTuneControls(FineTune(), lambda spec: None)
    assert set(controls.fields) == set(parameters(FineTune))
    groups = {p.group for name, p in parameters(FineTune).items() if name not in controls.first}
    assert groups <= set(controls.folded), "a group that no heading shows"


def test_names_are_offered_where_anything_may_be_typed():
    given: list[FineTune] = []
    controls = FineTuneControls(FineTune(), given.append)
    for name, offered in OFFERED.items():
        assert controls.fields[name].options == offered
    controls.fields["data"].value = "mine.yaml"
    assert given[-1].data == "mine.yaml"
