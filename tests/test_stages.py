import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from itertools import islice
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse_jax import family as house
from medfuse_jax import overrides
from medfuse_jax.cache import cache_folder
from medfuse_jax.stages import autoencoder, ldm
from medfuse_jax.train import sharding, state
from medfuse_jax.train.digest import shapes

STAGES = ("autoencoder", "alignment", "ldm")
JUDGED = {
    "autoencoder": {"psnr", "psnr_clean", "psnr_from_flair", "lesion_psnr", "lesion_dice",
                    *(f"dice_{name}" for name in autoencoder.JUDGED)},
    "alignment": {"contrastive"},
    "ldm": {"denoise", "denoise_text", "denoise_image", "denoise_nothing", "denoise_shuffled_text"},
}
NOISE = np.random.default_rng(0).random((1, 24, 28, 24, 4), np.float32)
SILENT = {"alignment": {"offset_bias"}}          # of the sigmoid loss, which is not the one in use


@pytest.fixture(scope="module")
def built(family, root, tmp_path_factory):
    """Each stage of the tiny family as `family.train` hands it to the loop: stage, examples, config."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.loop, "fit", lambda stage, examples, config, folder: made.update(
            {stage.name: SimpleNamespace(stage=stage, examples=examples, config=config)}))
        for name in STAGES:
            config = overrides.load(root / f"configs/{name}.py", "tiny")
            config.mesh.data, config.data.jobs = 1, 1
            for lent in config.borrow:
                config.borrow[lent] = str(family / lent)
            house.train(config.lock(), tmp_path_factory.mktemp("built"), root / "configs")
    return made


def awake(params, scale=0.05):
    """Parameters in which no branch is silent."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + scale * random.standard_normal(leaf.shape).astype(np.float32), params)


@pytest.mark.parametrize("name", STAGES)
def test_the_gradient_reaches_every_parameter(built, name):
    stage, batch = built[name].stage, next(built[name].examples.train(4))
    slope = jax.jit(jax.value_and_grad(stage.loss, has_aux=True))
    (loss, values), gradient = slope(awake(stage.init(0)), stage.frozen, batch, jax.random.key(0))
    assert np.isfinite(loss) and all(value.shape == (4,) and np.isfinite(value).all() for value in values.values())
    leaves = {"/".join(part.key for part in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)}
    assert {path for path, leaf in leaves.items() if not np.isfinite(leaf).all()} == set()
    assert {path for path, leaf in leaves.items() if not leaf.any()} == SILENT.get(name, set())


def curve(part, data, space, steps=20, batch=8):
    """Losses of some steps on a mesh, without a folder."""
    mesh, config = sharding.mesh(dict(data=data, space=space)), part.config.copy_and_resolve_references()
    with config.unlocked():
        config.steps = steps
    step = jax.jit(state.train_step(part.stage, config))
    with jax.set_mesh(mesh):
        now, losses = sharding.place(state.create(part.stage, config, part.examples), mesh), []
        frozen = sharding.place(part.stage.frozen, mesh)
        for seen in islice(part.examples.train(batch), steps):
            now, told = step(now, frozen, sharding.distribute(seen, mesh))
            losses.append(float(told["loss"]))
    return np.array(losses)


def alike(losses, expected, what):
    """Within 1e-4; how near is logged: pytest -o log_cli=true --log-cli-level=INFO."""
    apart = np.max(np.abs(np.array(losses) / np.array(expected) - 1.0))
    logging.getLogger(__name__).info("%s: largest relative difference of %d losses %.1e", what, len(losses), apart)
    assert len(losses) == len(expected) and apart <= 1e-4


@pytest.fixture(scope="module")
def one_device(built):
    return {name: curve(built[name], 1, 1) for name in STAGES}


@pytest.mark.parametrize("data, space", [(8, 1), (4, 2)])
@pytest.mark.parametrize("name", STAGES)
def test_twenty_steps_have_the_same_losses_on_every_mesh(built, one_device, name, data, space):
    alike(curve(built[name], data, space), one_device[name], f"{name}, mesh {data} x {space}")


@pytest.mark.parametrize("name, changes, rtol", [
    *((name, dict(remat=True), 1e-5) for name in STAGES), ("ldm", dict(dtype="bfloat16"), 0.05),
    ("autoencoder", dict(remat=True, dtype="bfloat16", optimizer=dict(accumulate=2)), 0.05)])
def test_what_saves_memory_changes_neither_names_nor_losses(built, family, one_device, name, changes, rtol):
    part, config = built[name], built[name].config.copy_and_resolve_references()
    with config.unlocked():
        config.update(changes)
    stage = house.STAGES[name].build(config, {lent: house.borrow(family / lent) for lent in config.borrow})
    assert shapes(stage.init(0)) == shapes(part.stage.init(0))
    saved = SimpleNamespace(stage=stage, examples=part.examples, config=config)
    np.testing.assert_allclose(curve(saved, 1, 1, steps=2), one_device[name][:2], rtol=rtol)


@pytest.mark.parametrize("name", STAGES)
def test_judges_give_a_value_for_each_example(built, name):
    part = built[name]
    batch = next(part.examples.valid(2))
    values = jax.jit(part.stage.evaluate)(awake(part.stage.init(0)), part.stage.frozen, batch, jax.random.key(0))
    assert set(values) == JUDGED[name]
    for value in values.values():
        value, weight = value if isinstance(value, tuple) else (value, jnp.ones(2))
        assert value.shape == weight.shape == (2,) and np.isfinite(np.where(weight > 0, value, 0)).all()


def test_borrowers_see_a_latent_of_mean_zero_and_variance_one(built):
    """Over the training people: the mean at each place, the variance over the box."""
    seen = built["ldm"].examples.represented["latent"][built["ldm"].examples.cohort.rows("train")].astype(np.float64)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=5e-3)
    assert seen.var() == pytest.approx(1.0, abs=1e-2)


def said_of(lent, volume, *present):
    seen = {"volume": volume, "present": np.array([present], np.float32)}
    return autoencoder.represent(lent)({"autoencoder": autoencoder.lent(lent)}, seen)


def test_the_decoder_undoes_the_normalisation(family):
    lent = house.borrow(family / "autoencoder")
    said, present = said_of(lent, NOISE, 1, 1, 0, 0), np.array([[1, 1, 0, 0]], np.float32)
    own = autoencoder.network(lent.config).apply({"params": lent.params}, NOISE, present).volume
    np.testing.assert_allclose(autoencoder.decoder(lent)(autoencoder.lent(lent), said["latent"]).volume, own, atol=1e-3)
    np.testing.assert_array_equal(said["partial"][:, 0], said["latent"])
    assert np.abs(said["partial"][:, 1] - said["latent"]).max() > 1e-3             # FLAIR alone says less


def test_an_absent_contrast_leaves_no_trace_in_what_is_borrowed(family):
    lent, present = house.borrow(family / "autoencoder"), (1, 0, 1, 0)
    one, other = (said_of(lent, volume, *present)["partial"] for volume in (NOISE, NOISE * np.float32(present)))
    np.testing.assert_array_equal(one, other)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_forgetting_hides_only_what_is_there_and_never_all_of_it(seed, share):
    present = np.random.default_rng(seed).integers(0, 2, (16, 4)).astype(np.float32)
    present[present.sum(axis=1) == 0, 0] = 1
    kept = np.asarray(autoencoder.forget(jax.random.key(seed), jnp.asarray(present), share))
    assert set(np.unique(kept)) <= {0.0, 1.0} and (kept <= present).all() and (kept.sum(axis=1) >= 1).all()
    assert share > 0 or np.array_equal(kept, present)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), available=st.integers(1, 96), count=st.integers(0, 100))
def test_judged_planes_are_spread_over_the_volume(seed, available, count):
    planes = np.asarray(autoencoder.judged_planes(jax.random.key(seed), available, count))
    assert len(planes) == (count if 0 < count < available else available)
    assert planes.min() >= 0 and planes.max() < available and (np.diff(planes) >= 0).all()
    parts = available / len(planes)
    assert (np.abs(planes + 0.5 - (np.arange(len(planes)) + 0.5) * parts) <= parts / 2 + 0.5 + 1e-3).all()


def test_psnr_and_dice_by_hand():
    empty = jnp.zeros((1, 4, 4, 4, 2))
    truth = empty.at[0, 1:3, 1:3, 1:3].set(2.0)                         # the brain: 8 voxels
    said = empty.at[0, 1:3, 1:3, 1:3, 0].set(1.8)                       # 20 log10(2 / 0.2) = 20 dB; the other is absent
    assert float(autoencoder.psnr(truth, said, jnp.array([[1.0, 0.0]]))[0]) == pytest.approx(20.0, abs=1e-3)
    brain, half = truth[..., 0] > 0, jnp.zeros((1, 4, 4, 4), bool).at[0, 1:3, 1:3, 1].set(True)
    assert float(autoencoder.dice(brain, half)[0]) == pytest.approx(2 * 4 / 12)
    assert float(autoencoder.dice(half & False, half & False)[0]) == 1.0
    assert all(len(classes) == 2 for classes in autoencoder.JUDGED.values())


def test_a_hole_is_a_box():
    holes = np.asarray(ldm.hole(jax.random.key(0), jnp.zeros((64, 6, 7, 6, 4))))[..., 0]
    sides = [holes.max(axis=axes) for axes in ((2, 3), (1, 3), (1, 2))]
    np.testing.assert_array_equal(holes, np.einsum("bz,by,bx->bzyx", *sides))
    assert set(np.unique(holes)) == {0.0, 1.0} and holes.any(axis=(1, 2, 3)).mean() > 0.9
    assert all(np.abs(np.diff(side, prepend=0, append=0)).sum(axis=1).max() <= 2 for side in sides)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_train_as_one(built, root, tmp_path):
    """From an empty cache: one process makes the cohort, both encode the latents, and the losses are those of one."""
    def pair(stage, *changes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        cluster = os.environ | {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2",
                                "MEDFUSE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(root),
                                "XLA_FLAGS": "--xla_backend_optimization_level=1"}
        asked = [sys.executable, str(root / "launch/train.py"), f"--config={root}/configs/{stage}.py:tiny", *changes]
        both = [subprocess.Popen(asked, cwd=tmp_path, env=cluster | {"JAX_PROCESS_ID": rank}, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in "01"]
        told = [process.communicate(timeout=300) for process in both]
        assert [process.returncode for process in both] == [0, 0], told
        assert json.loads((tmp_path / f"runs/{stage}/summary.json").read_text())["processes"] == 2
        return [said for _, said in told]

    (tmp_path / "cache").mkdir()
    for file in cache_folder().glob("atlas-*"):
        shutil.copy(file, tmp_path / "cache")
    told = pair("autoencoder", "--config.batch=4", "--config.steps=20", "--config.evaluate_every=20",
                "--config.checkpoint_every=20")
    assert ["simulating people" in said for said in told] == [True, False]
    assert ["waiting for process 0, which makes" in said for said in told] == [False, True]
    assert len(list((tmp_path / "cache/cohorts").iterdir())) == 1
    alike(losses(tmp_path / "runs/autoencoder"), curve(built["autoencoder"], 1, 1, batch=4), "autoencoder, processes")

    twenty = ["steps=20", "evaluate_every=20", "checkpoint_every=20", "log_every=1"]
    for stage in ("alignment", "ldm"):
        assert f"{stage}: latents" in pair(stage, *(f"--config.{change}" for change in twenty))[0]
        lent = [f"borrow.{name}={tmp_path / 'runs' / name}" for name in STAGES[:STAGES.index(stage)]]
        alone = overrides.change(overrides.load(root / f"configs/{stage}.py", "tiny"),
                                 ["mesh.data=1", *twenty, *lent], "config")
        one = house.train(alone, tmp_path / "alone", root / "configs")
        alike(losses(tmp_path / "runs" / stage), losses(one), f"{stage}, processes")
