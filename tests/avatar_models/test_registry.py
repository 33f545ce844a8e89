"""Options of models: from presets, from the command line, from a file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from artifacts.errors import InputError
from avatar_models import registry


@pytest.fixture(autouse=True)
def odd_model(monkeypatch):
    # All real models first: their modules register only once in a process.
    registry.registered_models()
    monkeypatch.setattr(registry, "_CONFIGS", dict(registry._CONFIGS))

    @registry.register("odd")
    @dataclass(frozen=True)
    class OddConfig:
        steps: int = 10
        max_minutes: float = 0.5
        sizes: tuple[int, ...] = (8, 16)
        is_sharp: bool = False
        kind: str = "a"

        @classmethod
        def preset(cls, name):
            return replace(cls(), steps={"paper": 1000, "fast": 100, "tiny": 10}[name])

    return OddConfig


def test_presets_and_assignments():
    assignments = ["max_minutes=1e-4", "sizes=[1, 2, 3]", "is_sharp=true", "kind=b c"]
    config = registry.make_config("odd", "fast", assignments)
    assert (config.steps, config.max_minutes, config.sizes) == (100, 1e-4, (1, 2, 3))
    assert config.is_sharp is True
    assert config.kind == "b c"
    assert registry.config_from_yaml("odd", registry.config_to_yaml(config)) == config


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stepz=3", "model 'odd' has no option 'stepz'; it has"),
        ("steps", "'steps' sets nothing; write key=value"),
        ("steps=1.5", "option 'steps' of model 'odd' is 1.5, expected int like 10"),
        ("steps=true", "option 'steps' of model 'odd' is True, expected int like 10"),
        ("max_minutes=soon", "is 'soon', expected float like 0.5"),
        ("sizes=3", r"is 3, expected tuple like \(8, 16\)"),
        ("kind=3", "is 3, expected str like 'a'"),
    ],
)
def test_wrong_assignments_are_refused(assignment, message):
    with pytest.raises(InputError, match=message):
        registry.make_config("odd", "tiny", [assignment])


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"unknown model 'even'; choose one of .*'nearest_frame'"):
        registry.make_config("even", "tiny")
    with pytest.raises(InputError, match="unknown preset 'huge'; choose one of"):
        registry.make_config("odd", "huge")
    with pytest.raises(InputError, match=r"lack .*'kind'.*train it again"):
        registry.config_from_yaml("odd", "steps: 3\nmax_minutes: 0.5\nsizes: [1]\nis_sharp: true\n")


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="registered twice"):

        @registry.register("odd")
        @dataclass(frozen=True)
        class Another:
            pass
