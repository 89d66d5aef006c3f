from pathlib import Path

import jax
import numpy as np
import pytest

from medfuse_jax import family, overrides
from medfuse_jax.config import GRIDS, PRESETS
from medfuse_jax.data import grid
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import sampler
from medfuse_jax.models import initialise
from medfuse_jax.stages.stage import Borrowed
from medfuse_jax.train.identity import flat

FOLDER = Path(__file__).resolve().parent.parent / "configs"
STAGES = sorted(file.stem for file in FOLDER.glob("*.py"))
EVERY = [(stage, preset) for stage in STAGES for preset in PRESETS]

# Numbers that are learned, by stage and preset. A config that changes one changes it here.
PARAMETERS = {
    (stage, preset): count for stage, counts in {
        "alignment": dict(tiny=18_610, local=355_810, gpu=15_726_210, pod=40_000_514),
        "autoencoder": dict(tiny=58_018, local=1_161_842, gpu=17_171_666, pod=29_642_258),
        "ldm": dict(tiny=40_908, local=2_425_536, gpu=79_704_256, pod=234_737_088),
    }.items() for preset, count in counts.items()
}


def config(stage, preset):
    return overrides.load(FOLDER / f"{stage}.py", preset)


def learned(stage, preset):
    """The number of parameters, from shapes alone; what is borrowed is known by its config."""
    lent = {name: Borrowed(config(name, preset), {}, {}) for name in config(stage, preset).borrow}
    made = family.STAGES[stage].build(config(stage, preset), lent)
    params = {name: tree for name, tree in made.init(0).items() if name not in made.given}
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def test_each_stage_has_a_config_and_each_config_a_stage():
    assert set(STAGES) == set(family.STAGES)
    assert {stage for stage, _ in PARAMETERS} == set(STAGES) and len(PARAMETERS) == len(EVERY)


@pytest.mark.parametrize("stage, preset", EVERY)
def test_number_of_parameters(monkeypatch, stage, preset):
    monkeypatch.setattr(initialise, "_draw", lambda seed, path, leaf: leaf)          # shapes, no numbers
    assert learned(stage, preset) == PARAMETERS[stage, preset]


@pytest.mark.parametrize("stage", STAGES)
def test_presets_have_the_same_fields_and_kinds(stage):
    kinds = [{name: type(value) for name, value in flat(config(stage, preset).to_dict()).items()} for preset in PRESETS]
    assert all(kind == kinds[0] for kind in kinds)


@pytest.mark.parametrize("stage, preset", EVERY)
def test_a_config_is_whole(stage, preset):
    chosen = config(stage, preset)
    assert chosen.stage == stage and chosen.preset == preset
    assert set(chosen.borrow) <= set(STAGES) - {stage}
    assert {name: chosen.data[name] for name in GRIDS[preset]} == GRIDS[preset]
    assert chosen.steps % chosen.checkpoint_every == 0 and chosen.log_every <= chosen.steps
    assert chosen.batch % (max(chosen.mesh.data, 1) * chosen.optimizer.accumulate) == 0
    assert jax.numpy.issubdtype(chosen.dtype, jax.numpy.floating)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_grid_divides_into_latents_and_over_the_mesh(preset):
    x, y, z = grid.standard(GRIDS[preset]["spacing"]).shape
    assert x % 4 == y % 4 == z % 4 == 0
    assert all(z // 4 % config(stage, preset).mesh.space == 0 for stage in STAGES)


def test_the_sampler_is_one_that_exists():
    assert {config("ldm", preset).sampler.name for preset in PRESETS} <= set(sampler.Name.__args__)


def test_a_preset_that_does_not_exist_is_refused():
    with pytest.raises(MedFuseError, match="preset 'huge' does not exist: choose one of tiny, local, gpu, pod, auto"):
        config("ldm", "huge")


def test_auto_is_local_where_there_is_no_accelerator():
    assert config("ldm", "auto").preset == "local"


@pytest.mark.parametrize("stage", STAGES)
def test_a_config_says_the_command_that_runs_it(stage):
    file = FOLDER / f"{stage}.py"
    assert f"python launch/train.py --config=configs/{stage}.py:local --workdir=runs" in file.read_text()
