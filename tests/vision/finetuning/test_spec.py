"""FineTune: every field is checked when it is set, and described once."""

import pytest

from labkit.core.errors import RecipeError
from labkit.core.parameters import parameters
from labkit.vision.finetuning import FineTune


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimiser": "sgd"}, "did you mean 'optimizer'"),
        ({"optimizer": "adamx"}, "adamw"),
        ({"lr": -1}, "a number from 1e-06 to 10"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"epochs": 0}, "a whole number from 1 to 1000"),
        ({"batch": True}, "batch=True"),
        ({"image_size": 100}, "96 or 128"),
        ({"freeze": 3, "freeze_layers": (1,)}, "not both"),
        ({"freeze_layers": (-1,)}, "as 0,1,2"),
        ({"mosaic": 0.5, "augmentation": False}, "augmentation=true"),
        ({"weights": " "}, "such as starter"),
        ({"schedule": "step"}, "linear, cosine, constant"),
        ({"device": "tpu"}, "auto, cpu, cuda"),
    ],
)
def test_a_slip_is_answered_with_a_good_value(given, said):
    with pytest.raises(RecipeError) as error:
        FineTune(**given)
    assert said in str(error.value)


def test_every_field_has_its_help_and_its_group():
    for name, parameter in parameters(FineTune).items():
        assert parameter.help, name
        assert parameter.group, name


def test_a_share_string_gives_an_equal_spec():
    spec = FineTune(
        data="/my data/cells.yaml", freeze_layers=(3, 1), lr=1e-4, optimizer="sgd", seed=7
    )
    text = spec.to_text()
    assert FineTune.from_text(text) == spec
    assert "lr=0.0001" in text
    assert "momentum" not in text
    assert FineTune.from_text(FineTune().to_text()) == FineTune()


@pytest.mark.parametrize("text", ["lr", "lrr=1", "lr=many"])
def test_a_share_string_with_a_slip_is_refused(text):
    with pytest.raises(RecipeError):
        FineTune.from_text(text)


def test_frozen_layers_are_a_depth_or_a_list():
    assert FineTune(freeze=3).frozen == (0, 1, 2)
    assert FineTune(freeze_layers=(5, 0, 5)).frozen == (0, 5)
    assert FineTune().frozen == ()


def test_auto_says_that_it_ignores_the_learning_rate():
    (note,) = FineTune(optimizer="auto", lr=0.5).notes()
    assert "lr=0.5" in note
    assert "ignored" in note
    assert FineTune().notes() == []


def test_it_does_not_change():
    spec = FineTune()
    with pytest.raises(ValueError, match="frozen"):
        spec.lr = 1.0
    assert spec.replace(lr=0.5).lr == 0.5
    with pytest.raises(RecipeError):
        spec.replace(lr=-1)
