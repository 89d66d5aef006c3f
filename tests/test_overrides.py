"""A config file and the changes that a command line makes: the right type, or one line that names the cure."""

import pytest
from ml_collections import ConfigDict

from medfuse_jax import overrides
from medfuse_jax.config import CHOICES, LEAST, MOST, PRESETS
from medfuse_jax.errors import MedFuseError
from medfuse_jax.train.identity import flat

FIELDS = dict(steps=100, rate=1e-3, remat=False, dtype="float32", seed=None,
              data=dict(source="simulated", spacing=4.0), model=dict(widths=(16, 48), width=64))


def changed(*assignments):
    return overrides.change(ConfigDict(FIELDS), assignments, "configs/toy.py")


@pytest.mark.parametrize("text, path, preset", [
    ("configs/ldm.py", "configs/ldm.py", "auto"),
    ("configs/ldm.py:tiny", "configs/ldm.py", "tiny"),
    ("/a:b/ldm.py:local", "/a:b/ldm.py", "local"),
    ("ldm", "ldm", "auto"),
])
def test_split(text, path, preset):
    found, named = overrides.split(text)
    assert (str(found), named) == (path, preset)


@pytest.mark.parametrize("assignment, read, value", [
    ("steps=3", lambda c: c.steps, 3),
    ("rate=2", lambda c: c.rate, 2.0),
    ("rate=1e-4", lambda c: c.rate, 1e-4),
    ("remat=true", lambda c: c.remat, True),
    ("dtype=bfloat16", lambda c: c.dtype, "bfloat16"),
    ("data.source=a=b", lambda c: c.data.source, "a=b"),
    ("model.widths=8,24", lambda c: c.model.widths, (8, 24)),
    ("model.widths=(8, 24, 32)", lambda c: c.model.widths, (8, 24, 32)),
    ("seed=4", lambda c: c.seed, 4),
])
def test_a_value_takes_the_type_of_its_field(assignment, read, value):
    found = read(changed(assignment))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("assignment, line", [
    ("data.sorce=x", "data.sorce is not a field of configs/toy.py: did you mean data.source?"),
    ("width=8", "width is not a field of configs/toy.py: did you mean model.width?"),
    ("stps=8", "stps is not a field of configs/toy.py: did you mean steps?"),
    ("zebra=8", "zebra is not a field of configs/toy.py: its fields are data, dtype, model, rate, remat, seed, steps"),
    ("model=8", "model is a group of fields: set one of model.width, model.widths"),
    ("steps", "steps needs a value: --config.steps=VALUE"),
    ("steps=1e3", "steps takes a whole number, not '1e3'"),
    ("steps=", "steps takes a whole number, not ''"),
    ("rate=nan", "rate takes a number, not 'nan'"),
    ("remat=maybe", "remat takes true or false, not 'maybe'"),
    ("model.widths=a,b", "model.widths takes values between commas, such as 16,48, not 'a,b'"),
])
def test_a_mistake_is_one_line(assignment, line):
    with pytest.raises(MedFuseError) as caught:
        changed(assignment)
    assert str(caught.value) == line


def test_the_last_of_two_values_counts_and_new_fields_are_refused():
    config = changed("steps=3", "steps=5")
    assert config.steps == 5
    with pytest.raises(AttributeError):
        config.stps = 1


def test_a_missing_config_names_those_that_exist(tmp_path):
    for name in ("autoencoder", "ldm"):
        (tmp_path / f"{name}.py").write_text("")
    with pytest.raises(MedFuseError, match=r"temporal.py does not exist: there are .*autoencoder.py, .*ldm.py"):
        overrides.load(tmp_path / "temporal.py", "tiny")


@pytest.mark.parametrize("source, line", [
    ("def get_config(preset:\n", "line 1"),
    ("x = 1\n", "has no get_config"),
    ("from medfuse_jax.config import resolve\ndef get_config(preset):\n    resolve(preset)\n",
     "tiny, local, gpu, pod, auto"),
])
def test_a_config_that_cannot_be_used_says_why(tmp_path, source, line):
    (tmp_path / "toy.py").write_text(source)
    with pytest.raises(MedFuseError, match=line):
        overrides.load(tmp_path / "toy.py", "tny")


@pytest.mark.parametrize("name", ["autoencoder", "alignment", "ldm"])
def test_every_preset_lies_within_the_bounds(root, name):
    for preset in PRESETS:
        overrides.change(overrides.load(root / f"configs/{name}.py", preset), [], name)


def test_no_bound_is_of_a_field_that_does_not_exist(root):
    there = {field for name in ("autoencoder", "alignment", "ldm")
             for field in flat(overrides.load(root / f"configs/{name}.py", "tiny").to_dict())}
    assert set(LEAST) | set(MOST) | set(CHOICES) <= there


@pytest.mark.parametrize("field, said", [
    ("process.prediction=velocity", "one of flow, v, eps"), ("dtype=float33", "one of float32"),
    ("seed=-1", "at least 0"),
    ("optimizer.accumulate=0", "at least 1"), ("sampler.name=ddim", "one of euler, heun"), ("batch=0", "at least 1"),
    ("data.language=de", "one of en, fr, both"), ("data.spacing=3", "one of 8.0, 4.0, 2.0, 1.0, not 3.0"),
    ("optimizer.rate=1e30", "at most 1, not 1e"), ("optimizer.ema=1", "at most 0.99999"),
    ("seed=4294967296", "at most 2147483647"), ("batch=999999", "at most 65536"),
    ("data.source=", "data.source is empty"),
    ("condition.forget_text=1.5", "at most 1"), ("sampler.text_weight=-1", "at least 0"),
    ("sampler.steps=100000", "at most 1000")])
def test_a_word_or_number_out_of_range_is_refused(root, field, said):
    with pytest.raises(MedFuseError, match=said):
        overrides.change(overrides.load(root / "configs" / "ldm.py", "tiny"), [field], "configs/ldm.py")
