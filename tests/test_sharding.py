import shutil
import signal
import socket
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from medfuse_jax.errors import MedFuseError
from medfuse_jax.models.place import constrain
from medfuse_jax.train import sharding
from medfuse_jax.train.signals import Interrupted

EIGHT = AbstractMesh((4, 2), ("data", "space"), axis_types=(AxisType.Auto,) * 2)


@pytest.mark.parametrize("data, space", [(1000, 1), (0, 1), (-2, 1), (1, 0), (-1, 999)])
def test_mesh_that_does_not_fit_is_refused(data, space):
    with pytest.raises(MedFuseError, match=f"mesh data={data} space={space}"):
        sharding.mesh(dict(data=data, space=space))


def test_mesh_takes_all_devices():
    assert sharding.mesh(dict(data=-1, space=1)).shape == {"data": jax.device_count(), "space": 1}


@pytest.mark.parametrize("shape, expected", [
    ((512, 1024), P(None, "data")),      # the longest axis
    ((1024, 513), P("data", None)),
    ((8, 8), P()),                       # small
    ((513, 1023), P()),                  # nothing divides by 4
    ((), P())])
def test_parameters_are_split_by_shape(shape, expected):
    assert sharding.placement(EIGHT, shape).spec == expected


@pytest.mark.parametrize("shape, expected", [
    ((8, 48, 56, 48, 4), P("data", "space")), ((8, 7, 4, 4, 4), P("data", None)),
    ((8, 64), P("data", None)), ((8,), P("data"))])
def test_batches_are_split_by_rows_and_depth(shape, expected):
    assert sharding.batch_sharding(EIGHT, "x", shape).spec == expected


@pytest.mark.parametrize("batch, accumulate", [(6, 1), (8, 4), (0, 1)])
def test_batch_that_does_not_divide_is_refused(batch, accumulate):
    with pytest.raises(MedFuseError, match=f"batch {batch}"):
        sharding.check_batch(EIGHT, batch, accumulate)


def test_constrain_is_identity_without_a_mesh():
    x = jnp.ones((2, 3))
    assert constrain(x, "b c") is x
    with pytest.raises(ValueError, match="names 3 axes"):
        constrain(x, "b d c")


def test_constrain_names_mesh_axes():
    with jax.sharding.use_abstract_mesh(EIGHT):
        program = jax.jit(lambda x: constrain(x, "b d h w c")).trace(jax.ShapeDtypeStruct((8, 6, 2, 2, 1), jnp.float32))
    assert "P('data', 'space', None, None, None)" in str(program.jaxpr)


def test_place_and_distribute_keep_values():
    mesh = sharding.mesh(dict(data=-1, space=1))
    tree = {"kernel": np.arange(12.0, dtype=np.float32).reshape(3, 4)}
    assert np.array_equal(sharding.fetch(sharding.place(tree, mesh))["kernel"], tree["kernel"])
    rows = np.arange(8 * jax.device_count())
    batch = sharding.distribute({"row": rows, "study": rows.astype(str)}, mesh)
    assert set(batch) == {"row"} and np.array_equal(batch["row"], rows)
    assert isinstance(batch["row"].sharding, NamedSharding)


def test_what_is_there_is_not_made_again(tmp_path):
    made = []
    for _ in range(2):
        sharding.once(lambda: made.append((tmp_path / "cohort").mkdir()), (tmp_path / "cohort").exists, tmp_path)
    assert len(made) == 1


def test_why_it_could_not_be_made_is_told():
    def make():
        raise MedFuseError("disk full")
    with pytest.raises(MedFuseError, match="disk full"):
        sharding.once(make, lambda: False, Path("cohort"))


@pytest.mark.parametrize("agreed, there, told", [
    ([1, 2], False, "cohort: process 0 could not make it and says why"),
    ([1, 0, 1], False, "cohort: made by process 0, not seen on .*: choose a folder on a disk that all machines share"),
    ([1, 0, 1], True, "cohort: made by process 0, but not seen by another process"),
])
def test_who_waits_in_vain_says_so(monkeypatch, agreed, there, told):
    answers = iter(agreed)
    monkeypatch.setattr(sharding, "agree", lambda number: next(answers))
    monkeypatch.setattr(sharding, "chief", lambda: False)
    monkeypatch.setattr(sharding, "SEEN_S", 1)
    with pytest.raises(MedFuseError, match=told):
        sharding.once(lambda: pytest.fail("only the chief makes it"), lambda: there, Path("cohort"))


def test_who_waits_stops_with_the_chief(monkeypatch):
    answers = iter([1, 143])
    monkeypatch.setattr(sharding, "agree", lambda number: next(answers))
    monkeypatch.setattr(sharding, "chief", lambda: False)
    with pytest.raises(Interrupted) as left:
        sharding.once(lambda: None, lambda: False, Path("cohort"))
    assert left.value.code == 143 and not left.value.tells


def run(folder, data, space, **toys):
    toy.fit(toy.stage(), toy.Data(**toys), toy.config(**{"mesh.data": data, "mesh.space": space}), folder)
    return np.array([line["loss"] for line in toy.lines(folder)])


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Losses of 20 steps on 8 x 1 devices, which stopped and went on at step 10."""
    folder = tmp_path_factory.mktemp("eight")
    with pytest.raises(Interrupted):
        run(folder / "stopped", 8, 1, stop=(10, signal.SIGTERM))
    return folder / "stopped", run(folder / "whole", 8, 1)


@pytest.mark.parametrize("data, space", [(1, 1), (4, 2), (2, 4)])
def test_losses_agree_on_every_mesh(tmp_path, eight, data, space):
    losses = run(tmp_path / "toy", data, space)
    assert losses.shape == (20,)
    np.testing.assert_allclose(losses, eight[1], rtol=1e-4)


@pytest.mark.parametrize("data, space, rtol", [(8, 1, 0), (1, 1, 1e-5), (4, 2, 1e-5), (2, 1, 1e-5)])
def test_a_state_moves_to_another_mesh(tmp_path, eight, data, space, rtol):
    losses = run(shutil.copytree(eight[0], tmp_path / "toy"), data, space)
    np.testing.assert_array_equal(losses[:10], eight[1][:10])
    np.testing.assert_allclose(losses[10:], eight[1][10:], rtol=rtol)


def test_large_parameters_are_split_and_come_back(monkeypatch, tmp_path):
    monkeypatch.setattr(sharding.placement, "__defaults__", (16,))
    monkeypatch.setattr(sharding.placements, "__defaults__", (16,))
    monkeypatch.setattr(sharding.place, "__defaults__", (16,))
    losses = run(tmp_path / "toy", 8, 1)
    monkeypatch.undo()
    np.testing.assert_allclose(losses, run(tmp_path / "whole", 8, 1), rtol=1e-4)


def test_two_processes_train_as_one_and_stop_together(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def both(*changes):
        return [toy.launch(tmp_path / "two", "mesh.data=-1", *changes, JAX_COORDINATOR_ADDRESS=address,
                           JAX_NUM_PROCESSES="2", JAX_PROCESS_ID=str(rank),
                           XLA_FLAGS="--xla_backend_optimization_level=1") for rank in (0, 1)]

    pair = both("pause=0.1")
    for line in pair[1].stderr:
        if "first step" in line:
            break
    pair[1].send_signal(signal.SIGTERM)              # one is told, both stop at the same step
    told = [process.communicate(timeout=60) for process in pair]
    assert [process.returncode for process in pair] == [143, 143], told
    assert ["who tells" in out for out, _ in told] == [True, False]

    pair = both()
    told = [process.communicate(timeout=60) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    toy.fit(toy.stage(), toy.Data(), toy.config(), tmp_path / "one")
    one, two = (np.array([line["loss"] for line in toy.lines(tmp_path / name)]) for name in ("one", "two"))
    assert np.allclose(one, two, rtol=1e-4)
