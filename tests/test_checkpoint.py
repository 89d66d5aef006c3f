import gc
import json
import resource
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import toy

from medfuse_jax.errors import MedFuseError
from medfuse_jax.train import checkpoint, sharding
from medfuse_jax.train.digest import differing, digest, digest_on_host
from medfuse_jax.train.identity import identity as identity_of
from medfuse_jax.train.identity import same_config
from medfuse_jax.train.loop import fit
from medfuse_jax.train.state import create

ARRAYS = {
    "float32": np.linspace(-3, 3, 60, dtype=np.float32).reshape(3, 4, 5), "int32": np.arange(-5, 5, dtype=np.int32),
    "bfloat16": np.arange(6).astype(ml_dtypes.bfloat16), "bool": np.array([True, False]),
    "scalar": np.array(7, np.float32),
    "uint8": np.arange(7, dtype=np.uint8), "empty": np.zeros((0, 3), np.float32)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of 20 steps: checkpoints 10, 15, 20."""
    folder = tmp_path_factory.mktemp("trained") / "toy"
    return folder, fit(toy.stage(), toy.Data(), toy.config(), folder)


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "toy")


def again(folder, **changes):
    return fit(toy.stage(), toy.Data(), toy.config(**changes), folder)


def identity(**changes):
    mesh = sharding.mesh(dict(data=1, space=1))
    which = identity_of(toy.stage(), toy.config(**changes), toy.Data(), sharding.place(toy.stage().frozen, mesh))
    return which, mesh


def flip(folder):
    """One bit of each file that holds array data."""
    for file in (each for each in folder.rglob("d/*") if each.is_file()):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)


@pytest.mark.parametrize("name", ARRAYS)
def test_digest_is_the_same_on_device_and_host(name):
    assert np.array_equal(digest(jnp.asarray(ARRAYS[name])), digest_on_host(ARRAYS[name]))


def test_digest_is_the_same_on_any_mesh():
    mesh = sharding.mesh(dict(data=-1, space=1))
    array = np.random.default_rng(0).standard_normal((5, 8, 16)).astype(np.float32)
    spread = sharding.place(array, mesh, large=1)
    assert np.array_equal(digest(spread), digest_on_host(array)) and len(spread.sharding.device_set) == mesh.size


def test_digest_sees_a_flipped_bit_a_swap_and_nan():
    array = np.arange(1, 9, dtype=np.float32)
    swapped, flipped = array[[1, 0, *range(2, 8)]], array.copy()
    flipped.view(np.uint32)[3] ^= 1
    sums = [tuple(digest_on_host(each)) for each in (array, swapped, flipped)]
    assert len(set(sums)) == 3 and all(finite == 1 for *_, finite in sums)
    assert sums[0][0] == sums[1][0]                      # the plain sum alone would miss the swap
    assert digest_on_host(np.array([np.nan], np.float32))[2] == 0
    assert differing({"a": [[1], "float32", 0, 0, 0]}, {"a": [[1], "float32", 0, 0, 0]}) == "a (not finite)"


def test_newest_three_are_kept_and_lent(trained):
    folder, params = trained
    assert checkpoint.steps_in(folder) == [10, 15, 20] and checkpoint.latest(folder) == 20
    lent, config, meta = checkpoint.load_params(folder)
    assert config == toy.config().to_dict() and meta["step"] == 20
    assert jax.tree.structure(lent) == jax.tree.structure(params)
    assert all(map(np.array_equal, jax.tree.leaves(lent), jax.tree.leaves(params)))


def test_a_flipped_bit_is_found_and_an_older_step_taken(run, caplog, trained):
    flip(run / "checkpoints/20/state")
    assert checkpoint.load_params(run)[2]["step"] == 15          # a borrower moves nothing
    assert checkpoint.steps_in(run) == [10, 15, 20]
    (run / "summary.json").unlink()
    params = again(run)
    assert (run / "damaged/20").is_dir() and checkpoint.latest(run) == 20
    assert sum("going on from step 15" in record.message for record in caplog.records) == 1
    assert all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(trained[1])))


@pytest.mark.parametrize("damage", [
    lambda step: shutil.rmtree(step / "state"),
    lambda step: shutil.rmtree(step / "meta"),
    lambda step: [each.write_bytes(b"") for each in step.rglob("*") if each.is_file()],
    lambda step: [shutil.rmtree(each) for each in step.iterdir() if each.is_dir()],
    lambda step: (step / "meta/metadata").write_text('{"format": 1'),
    lambda step: (step / "meta/metadata").write_text((step / "meta/metadata").read_text().replace("seed", "sead", 1)),
    lambda step: [each.write_bytes(each.read_bytes()[:-9]) for each in (step / "state").rglob("d/*")]])
def test_half_a_step_is_skipped(run, damage):
    damage(run / "checkpoints/20")
    with checkpoint.Checkpoints(run, *identity()) as kept:
        state, meta = kept.resume(create(toy.stage(), toy.config()))
    assert meta["step"] == int(state["step"]) == 15 and (run / "damaged/20").exists()


def test_nothing_begins_anew_when_no_step_is_good(run):
    for step in (10, 15, 20):
        flip(run / f"checkpoints/{step}/state")
    (run / "summary.json").unlink()
    for _ in range(2):                                           # nothing was moved: the second time it says the same
        with pytest.raises(MedFuseError, match=r"none of the steps \[10, 15, 20\] can be read"):
            again(run)
    with pytest.raises(MedFuseError, match="none of the steps"):
        checkpoint.load_params(run)


@pytest.mark.parametrize("steps", [20, 30])
def test_another_config_is_refused_by_name(run, steps):
    with pytest.raises(MedFuseError, match=r"optimizer\.rate was 0\.01, is 0\.02; seed was 0, is 1"):
        again(run, steps=steps, seed=1, **{"optimizer.rate": 0.02})


def test_the_config_of_a_folder_is_compared_without_reading_arrays(run):
    same_config(run, toy.config(steps=99, **{"mesh.data": 4}))
    same_config(run / "nothing", toy.config(seed=1))
    with pytest.raises(MedFuseError, match="seed was 0, is 1"):
        same_config(run, toy.config(seed=1))


def test_other_data_and_other_borrowed_weights_are_refused(run):
    with pytest.raises(MedFuseError, match=r"data\.describe\.depth was 4, is 8"):
        fit(toy.stage(), toy.Data(depth=8), toy.config(steps=30), run)
    other = toy.stage()
    other.frozen["gain"] = np.float32([3.0])
    with pytest.raises(MedFuseError, match="borrowed weights was"):
        fit(other, toy.Data(), toy.config(steps=30), run)


def test_another_network_of_the_same_config_is_refused(run):
    which, mesh = identity()
    state = create(toy.stage(), toy.config())
    state["params"]["last"]["kernel"] = np.zeros((3, 3), np.float32)
    with checkpoint.Checkpoints(run, which, mesh) as kept, pytest.raises(MedFuseError, match=r"params\.last\.kernel"):
        kept.resume(state)


def test_how_long_and_how_often_may_change(run):
    again(run, steps=22, log_every=2, evaluate_every=0, checkpoint_every=0, **{"data.source": "moved"})
    assert json.loads((run / "summary.json").read_text())["steps"] == 22


def test_not_finite_is_not_saved(tmp_path):
    which, mesh = identity()
    state = sharding.place(create(toy.stage(), toy.config()), mesh)
    state["params"]["last"]["kernel"] = state["params"]["last"]["kernel"] * jnp.nan
    with pytest.raises(MedFuseError, match=r"params\.last\.kernel is not finite"):
        with checkpoint.Checkpoints(tmp_path, which, mesh) as kept:
            kept.save(1, state)


# What orbax leaves half done on a full disk are coroutines, which complain of their closed loop when collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_full_disk_is_one_line_and_the_last_good_step_stays(tmp_path, capfd):
    which, mesh = identity()
    template = create(toy.stage(), toy.config())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with checkpoint.Checkpoints(tmp_path, which, mesh) as kept:
        state = sharding.place(template, mesh)
        kept.save(1, state)
        kept.finish()
    later = state | {"step": state["step"] + 1}
    with pytest.raises(MedFuseError, match="the last good step is 1"):
        with checkpoint.Checkpoints(tmp_path, which, mesh) as kept:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))      # no file may be longer than 1000 bytes
            try:
                kept.save(2, later)
                kept.finish()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Traceback" not in "".join(capfd.readouterr())
    with checkpoint.Checkpoints(tmp_path, which, mesh) as kept:
        assert kept.resume(template)[1]["step"] == 1
    gc.collect()


def test_what_is_lent_must_exist(tmp_path):
    with pytest.raises(MedFuseError, match="no checkpoint here"):
        checkpoint.load_params(tmp_path / "ldm")
