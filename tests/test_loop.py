import json
import random
import signal
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from medfuse_jax.errors import MedFuseError
from medfuse_jax.train import checkpoint
from medfuse_jax.train.log import Journal, cut, read_json, read_statistics
from medfuse_jax.train.loop import fit
from medfuse_jax.train.signals import Interrupted
from medfuse_jax.train.state import create, decayed, evaluate_step, gradient, optimizer, schedule


def digests(folder, step):
    return json.loads((folder / f"checkpoints/{step}/meta/metadata").read_text())["digest"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "toy"
    fit(toy.stage(), toy.Data(), toy.config(), folder)
    return folder


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_ten_and_ten_is_twenty_bit_for_bit(tmp_path, whole, number, code):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as left:
        fit(toy.stage(), toy.Data(stop=(10, number)), toy.config(), tmp_path)
    assert left.value.code == code and left.value.tells and checkpoint.latest(tmp_path) == 10
    fit(toy.stage(), toy.Data(), toy.config(), tmp_path)
    assert digests(tmp_path, 20) == digests(whole, 20)           # params, moments, average, counters
    assert toy.lines(tmp_path) == toy.lines(whole)
    assert signal.getsignal(number) == before


def test_summary_and_files(whole):
    summary = read_json(whole / "summary.json")
    assert {"stage", "preset", "wall_s", "compile_s", "examples_per_s", "devices"} <= set(summary)
    assert summary["steps"] == 20 and summary["parameters"] == 4 * 16 + 16 + 16
    assert summary["final"]["mse"] == toy.lines(whole)[-1]["valid/mse"] < toy.lines(whole)[9]["valid/mse"]
    assert [line["step"] for line in toy.lines(whole)] == list(range(1, 21))
    assert read_json(whole / "config.json") == toy.config().to_dict() and list(whole.glob("events.*"))


def test_finished_is_not_trained_again(whole):
    before = (whole / "metrics.jsonl").stat().st_mtime_ns
    fit(toy.stage(), toy.Data(stop=(1, signal.SIGKILL)), toy.config(), whole)
    assert (whole / "metrics.jsonl").stat().st_mtime_ns == before


def test_padding_does_not_count(whole):
    params = checkpoint.load_params(whole)[0]
    rows = toy.Data().rows(10**6 + np.arange(10), 10, 0)
    error = np.square(toy.predict(params, rows["volume"]) - 2 * rows["target"])
    assert read_json(whole / "summary.json")["final"]["mse"] == pytest.approx(float(error.mean()), rel=1e-5)


def test_a_loss_that_is_no_number_is_skipped_and_counted(tmp_path):
    fit(toy.stage(poison=(4, 5)), toy.Data(), toy.config(), tmp_path)
    lines = toy.lines(tmp_path)
    assert [line["loss"] is None for line in lines[3:7]] == [False, True, True, False]
    assert read_json(tmp_path / "summary.json")["skipped"] == 2 and lines[-1]["skipped"] == 2


def test_too_many_skipped_steps_name_the_last_good_one(tmp_path):
    poison = tuple(range(6, 100))
    with pytest.raises(MedFuseError, match="the last good step is 6, the last checkpoint 25"):
        fit(toy.stage(poison=poison), toy.Data(), toy.config(steps=40), tmp_path)


def test_micro_batches_see_the_same_gradient():
    stage = toy.stage()
    params = stage.init(0)
    batch = {name: rows for name, rows in next(toy.Data().train(8)).items() if name != "study"}
    key = jax.random.key(0)

    def loss(params, frozen, batch, key):
        error = (toy.predict(params, batch["volume"]) - batch["target"]) ** 2
        return error.mean(), {"error": error}

    quiet = replace(stage, loss=loss)
    one, four = (gradient(quiet, parts)(params, {}, stage.frozen, batch, key) for parts in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, four)


def test_moments_begin_at_zero_as_optax_says():
    state = create(toy.stage(), toy.config())
    made = optimizer(toy.config()).init(state["params"])
    for mine, theirs in zip(jax.tree.leaves(state["opt"]), jax.tree.leaves(made), strict=True):
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


def test_schedule_rises_then_falls():
    rate = schedule(toy.config(steps=12, **{"optimizer.warmup": 2}))
    assert [float(rate(count)) for count in (0, 1, 2)] == pytest.approx([5e-3, 1e-2, 1e-2])
    assert float(rate(7)) == pytest.approx(5e-3) and float(rate(12)) == pytest.approx(0, abs=1e-9)
    with pytest.raises(MedFuseError, match=r"optimizer\.decay=linear"):
        schedule(toy.config(**{"optimizer.decay": "linear"}))


def test_only_matrices_decay():
    params = {"layers": {"kernel": np.zeros((3, 4, 4)), "bias": np.zeros((3, 4)), "scale": np.zeros((3, 4))}}
    assert decayed(params) == {"layers": {"kernel": True, "bias": False, "scale": False}}
    assert isinstance(optimizer(toy.config()), optax.GradientTransformation)


def test_probes_and_conclusion_are_written(tmp_path):
    told = {"seen": 3.5, "words": "two lesions", "slice": np.zeros((4, 5), np.float32)}
    stage = toy.stage(probes={"look": lambda params, frozen, data: told},
                      conclude=lambda params, frozen, data: {"mean": np.zeros(2, np.float32)})
    fit(stage, toy.Data(), toy.config(steps=2, evaluate_every=0), tmp_path)
    assert read_statistics(tmp_path)["mean"].tolist() == [0.0, 0.0]
    assert read_json(tmp_path / "summary.json")["final"]["seen"] == toy.lines(tmp_path)[-1]["valid/seen"] == 3.5


def test_lines_after_the_resumed_step_are_forgotten(tmp_path):
    with Journal(tmp_path, 0) as journal:
        for step in range(1, 6):
            journal.write(step, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    cut(tmp_path / "metrics.jsonl", 3)
    assert toy.lines(tmp_path) == [{"step": step, "loss": float(step)} for step in (1, 2, 3)]


def test_kill_9_is_survived(tmp_path, whole):
    wait = random.Random(0)
    for _ in range(2):
        process = toy.launch(tmp_path, "pause=0.02", "checkpoint_every=1")
        for line in process.stderr:
            if "first step" in line:
                break
        time.sleep(wait.uniform(0, 0.4))
        process.kill()
        process.communicate()
    fit(toy.stage(), toy.Data(), toy.config(), tmp_path)
    assert digests(tmp_path, 20) == digests(whole, 20)


def test_a_value_may_have_no_meaning_for_some_examples():
    stage = replace(toy.stage(), evaluate=lambda params, frozen, batch, key: {
        "all": batch["x"], "some": (batch["x"], batch["known"])})
    batch = dict(x=np.array([1.0, 2.0, np.nan, 4.0]), known=np.array([1.0, 0.0, 1.0, 1.0]),
                 weight=np.array([1.0, 1.0, 0.0, 1.0]))
    sums = evaluate_step(stage, 0)({}, {}, batch, 0)
    assert {name: tuple(map(float, pair)) for name, pair in sums.items()} == {"all": (7.0, 3.0), "some": (5.0, 2.0)}


def test_a_value_that_no_example_has_is_null_and_no_warning(tmp_path, caplog):
    def evaluate(params, frozen, batch, key):
        return {"mse": batch["target"], "lesion_dice": (batch["target"], jnp.zeros_like(batch["target"]))}

    fit(replace(toy.stage(), evaluate=evaluate), toy.Data(), toy.config(steps=2), tmp_path)
    assert read_json(tmp_path / "summary.json")["final"]["lesion_dice"] is None
    assert toy.lines(tmp_path)[-1]["valid/lesion_dice"] is None
    assert "NaN or Inf" not in caplog.text
