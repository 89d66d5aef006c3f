"""The benchmark: FLOPs by formula against the compiler, rows that are whole, mistakes that are told."""

import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medfuse_jax.benchmark import cases, flops, timing
from medfuse_jax.benchmark.cases import COMPUTED, Part, Untrained
from medfuse_jax.data import tokens
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import prior
from medfuse_jax.models import blocks
from medfuse_jax.stages import alignment

# How much more than the products (sums, norms, activations) the compiler may count in a network of the tiny preset.
MORE = {"encode": 1.15, "decode": 1.15, "denoise": 1.2, "sample": 1.15}
KEYS = {"what", "preset", "shape", "batch", "device", "dtype", "compile_s", "median_s", "p10_s", "p90_s", "flops",
        "flops_per_s", "fraction_of_peak", "peak_memory_bytes"}
NETWORKS = [Part("encode", "autoencoder"), Part("decode", "autoencoder"), Part("denoise", "ldm"), Part("sample", "ldm"),
            Part("sample", "ldm", shares=True)]


@pytest.fixture(scope="module")
def tiny(root) -> Untrained:
    return Untrained("tiny", root / "configs")


@pytest.fixture(scope="module", autouse=True)
def small_peak():
    """A peak that is found at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(timing.SIDES, "cpu", (128,))
        yield


def count(function, *arguments, repeat: bool = True) -> float:
    return flops.products(jax.jit(function).trace(*arguments).jaxpr, repeat)


def told(function, *arguments) -> float:
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def test_products_of_known_size():
    a, b = np.ones((5, 3, 7), np.float32), np.ones((5, 7, 11), np.float32)
    assert count(jnp.matmul, a, b) == 2 * 5 * 3 * 7 * 11
    assert count(lambda x: x @ x.T, a[0]) == 2 * 3 * 3 * 7
    q, k = np.ones((2, 6, 3, 8), np.float32), np.ones((2, 9, 3, 8), np.float32)
    assert count(blocks.plain, q, k, k) == 2 * 2 * (2 * 3 * 6 * 9 * 8)
    assert count(jax.grad(lambda x: jnp.sum(jnp.square(x @ b[0]))), a[0]) == 2 * (2 * 3 * 7 * 11)


@pytest.mark.parametrize("stride, padding, gaps, reach", [
    (1, "SAME", 1, 1), (2, "SAME", 1, 1), (1, "VALID", 1, 1), (1, ((2, 2), (2, 2)), 2, 1), (1, "SAME", 1, 2)])
def test_convolutions_are_counted_as_the_compiler_does(stride, padding, gaps, reach):
    x, kernel = np.ones((2, 7, 6, 4), np.float32), np.ones((3, 3, 4, 5), np.float32)

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, (gaps, gaps), (reach, reach),
                                            dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert count(convolve, x, kernel) == told(convolve, x, kernel)


def test_a_loop_counts_as_often_as_it_runs():
    x = np.ones((16, 16), np.float32)

    def loop(x):
        return jax.lax.scan(lambda carry, _: (carry @ x, None), x, None, length=12)[0]

    assert count(loop, x) == 12 * 2 * 16**3
    assert count(loop, x, repeat=False) == 2 * 16**3 == pytest.approx(told(loop, x), rel=0.01)    # the compiler: once


def residual(cells: tuple[int, int, int], features: int) -> float:
    """Two 3 x 3 x 3 convolutions as sums over depth: padding is a real plane along depth, and nothing in a plane."""
    d, h, w = cells
    return 2 * 2 * features**2 * (3 * d) * (3 * h - 2) * (3 * w - 2)


def test_autoencoder_by_formula(tiny):
    config, b = tiny.config("autoencoder").model, tiny.batch("autoencoder")
    half, quarter = config.widths
    d, h, w, c = tiny.volume()
    cells, cubes = (d // 4, h // 4, w // 4), d * h * w / 8
    few, f, k = math.prod(cells), config.features, 29
    encoder = 2 * (cubes * (64 * c + 9 * c * half) + few * (64 * half + 8 * half * quarter + 2 * quarter * f))
    encoder += 2 * few * (512 * c + 64 * c * f)      # the low-pass path
    decoder = 2 * (few * (f * quarter + 8 * quarter * half + 64 * half + 512 * c + 64 * c * f)
                   + cubes * (8 * half * c + 2 * half * (half + 8 * c) + 16 * half * (k + 1) + 64 * c))
    encoder += config.encoder_blocks[1] * residual(cells, quarter)
    decoder += config.decoder_blocks[1] * residual(cells, quarter)
    decoder += config.decoder_blocks[0] * residual((d // 2, h // 2, w // 2), half)
    # At 8 mm both grids of the atlas are the voxels: latent to scores to shares; then brightnesses and their products.
    decoder += 2 * 16 * (few * f + d * h * w * (k + 1)) + 2 * d * h * w * (c + c * (c + 1) / 2) * (k + 1)
    place = 2 * few * 48 * quarter                   # once for the whole batch
    for part, formula in ((NETWORKS[0], b * encoder), (NETWORKS[1], b * decoder + place)):
        case = COMPUTED[part.what](tiny, part)
        assert count(case.function, *case.arguments) == formula


def test_denoiser_by_formula(tiny):
    config, b, e = tiny.config("ldm").model, tiny.batch("ldm"), tiny.config("alignment").model.width
    z, y, x, f = tiny.latent()
    places = math.prod(-(-side // config.patch) for side in (z, y, x))
    words, width, cube = 1 + tiny.config("alignment").text.length + len(tokens.FACTS), config.width, config.patch**3
    attention = 4 * places * width**2 + 2 * places**2 * width
    heard = 2 * places * width**2 + 2 * words * e * width + 2 * places * words * width
    block = 9 * width**2 + attention + heard + 8 * places * width**2
    ends = places * width * cube * (2 * f + 2 + f) + width * (64 + e + 4 + width) + 2 * width**2
    ends += 3 * len(tokens.FACTS) * width + width**2 + 3 * f * width
    case = COMPUTED["denoise"](tiny, NETWORKS[2])
    assert count(case.function, *case.arguments) == 2 * (b * (config.depth * block + ends) + places * width**2)


@pytest.mark.parametrize("stage", ["alignment", "ldm"])
def test_a_training_step_is_about_three_forward_passes(tiny, stage):
    case = COMPUTED["train_step"](tiny, Part("train_step", stage))
    state, frozen, batch = case.arguments
    params, key = state["params"] | state["given"], jax.random.key(0)
    forward = count(lambda *some: tiny.stage(stage).loss(*some)[0], params, frozen, batch, key)
    still = 0.0                                          # what is borrowed or given: once, and no gradient
    if stage == "ldm":
        read = alignment.reader(tiny.borrowed("alignment"))
        words = [batch[name] for name in ("words", "words_mask", "facts")]
        still += count(read, frozen["alignment"], *words)
        one = np.ones(len(batch["latent"]), np.float32)
        still += count(lambda known, *some: prior.guess(prior.Prior(**known), *some, "flow"),
                       state["given"]["prior"], batch["latent"], one, batch["facts"], one)
    # The first layers have no gradient by their input.
    assert 2.0 * (forward - still) < count(case.function, *case.arguments) - still < 3.0 * (forward - still)


@pytest.mark.parametrize("part", [*NETWORKS, Part("train_step", "alignment")], ids=str)
def test_rows_are_whole(tiny, part):
    row, = timing.rows(tiny, [part], repeats=3)
    assert row.keys() >= KEYS and json.loads(json.dumps(row)) == row
    numbers = [value for name, value in row.items() if isinstance(value, float) or name == "peak_memory_bytes"]
    assert len(numbers) >= 11 and all(math.isfinite(value) and value > 0 for value in numbers)
    assert row["p10_s"] <= row["median_s"] <= row["p90_s"] and row["flops_per_s"] == row["flops"] / row["median_s"]
    assert row["flops_analytic"] <= row["flops"] <= MORE.get(part.what, 1.4) * row["flops_analytic"]
    assert row["peak_memory_bytes"] > math.prod(row["shape"]) * row["batch"]


def test_shares_double_the_subsets(tiny):
    plain, shares = (timing.compiled(COMPUTED["sample"](tiny, part))[0]["flops_analytic"] for part in NETWORKS[3:])
    told_and_not, four = (COMPUTED["sample"](tiny, part).more["subsets"] for part in NETWORKS[3:])
    assert (told_and_not, four) == (2, 4) and plain < shares < 2 * plain


@pytest.fixture
def cohort(tiny, tmp_path):
    """A prepared folder of three people, each seen once."""
    shape, folder = (3, *tiny.volume()), tmp_path / "prepared"
    folder.mkdir()
    (folder / "prepared.json").write_text(json.dumps(dict(format=1, spacing=8.0, source="made", shape=shape[1:4])))
    study = dict(session="ses-01", split="train", present=[1, 1, 1, 1], structures_known=True, lesions_known=True,
                 clean_row=None, findings=None, date_years=0.0, age=40.0, sex="F")
    lines = [json.dumps(study | dict(study=f"sub-{number}", person=f"sub-{number}")) for number in range(3)]
    (folder / "studies.jsonl").write_text("\n".join(lines))
    np.save(folder / "volumes.npy", np.ones(shape, np.float16))
    np.save(folder / "structures.npy", np.ones(shape[:4], np.uint8))
    np.save(folder / "lesions.npy", np.zeros(shape[:4], np.uint8))
    return folder


@pytest.mark.parametrize("stage", ["autoencoder", "ldm"])
def test_pipeline_counts_batches(tiny, cohort, stage):
    row, = timing.rows(tiny, [Part("pipeline", stage)], repeats=2, source=str(cohort))
    assert row.keys() >= KEYS and row["flops"] is None and row["source"] == "made"
    assert row["shape"] == list(tiny.volume() if stage == "autoencoder" else tiny.latent())
    assert row["batches_per_s"] == 1 / row["median_s"] > 0
    assert timing.table([row]).splitlines()[1].split()[:2] == ["pipeline", stage]


def test_a_cohort_of_another_grid_is_refused(root, cohort):
    with pytest.raises(MedFuseError, match="prepared at 8.0 mm, but the preset local is at 4 mm"):
        local = Untrained("local", root / "configs")
        list(timing.rows(local, [Part("pipeline", "ldm")], repeats=1, source=str(cohort)))


def test_parts_in_order_and_once(caplog, monkeypatch):
    assert [part.what for part in cases.parts(["sample", "encode", "sample"])] == ["sample", "sample", "encode"]
    assert [part.stage for part in cases.parts(["train_step"])] == list(cases.family.STAGES)
    with pytest.raises(MedFuseError, match="--what=decod is not known: there are encode, decode"):
        cases.parts(["decod"])
    monkeypatch.setattr(cases, "INPUTS", {"image": None, "clean": None})
    assert [part.stage for part in cases.parts(["train_step"])] == ["autoencoder"] and "is left out" in caplog.text


def test_a_device_takes_its_share_of_the_batch(root):
    pod = Untrained("pod", root / "configs")
    assert pod.batch("ldm") == pod.config("ldm").batch // pod.config("ldm").mesh.data
    assert Untrained("pod", root / "configs", batch=3).batch("ldm") == 3


def test_what_does_not_fit_is_told_in_one_line(tiny, monkeypatch):
    def full(case):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")

    monkeypatch.setattr(timing, "compiled", full)
    with pytest.raises(MedFuseError, match="encode of autoencoder: 2 of 24x28x24x4 do not fit .* smaller --batch"):
        list(timing.rows(tiny, NETWORKS[:1], repeats=1))


def command(root, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "launch/benchmark.py", *flags], cwd=root, capture_output=True, text=True,
                          timeout=300, env=os.environ | {"PYTHONPATH": str(root)})


def test_the_command_writes_and_prints(root, tmp_path):
    done = command(root, "--what=encode", "--preset=tiny", "--repeats=2", "--batch=1", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    row, = json.loads((tmp_path / "benchmark.json").read_text())
    assert (row["what"], row["batch"], row["repeats"]) == ("encode", 1, 2) and 0 < row["fraction_of_peak"] < 1
    assert "24x28x24x4" in done.stdout and "peak of square float32 products" in done.stdout


@pytest.mark.parametrize("flag", ["--what=speed", "--what=", "--preset=huge", "--repeats=0", "--batch=0"])
def test_a_wrong_flag_is_one_line(root, tmp_path, flag):
    refused = command(root, flag, f"--out={tmp_path / 'never'}")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and not (tmp_path / "never").exists()
    assert "what" not in flag or all(what in refused.stderr for what in cases.WHATS)
