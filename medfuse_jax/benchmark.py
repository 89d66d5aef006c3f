"""What each part costs on this machine: seconds, FLOPs, their share of the machine's own matrix-product peak, memory.

No trained model is needed: weights are the seeded ones that training starts from, inputs are random in the preset's
shapes. One device is measured; a preset's batch is its share of it.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from medfuse_jax import family, flops, overrides
from medfuse_jax.data import grid, labels, tokens
from medfuse_jax.data.pipeline import Cohort, Examples
from medfuse_jax.data.simulate.cohort import usable_cores
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import guidance
from medfuse_jax.models.denoiser import Image
from medfuse_jax.stages import alignment, autoencoder, ldm
from medfuse_jax.stages.stage import Borrowed, Stage
from medfuse_jax.train.state import create, train_step

WARM_UP = 2                       # calls before the clock starts
PREFETCHED = 4                    # batches that the pipeline holds ready: each of its timings spans as many
ROOF = {"cpu": (1024, 2048)}      # sides of the square products that find a machine's peak; elsewhere:
LARGE_ROOF = (4096, 8192, 16384)

Row = dict[str, Any]


class Part(NamedTuple):
    """One row: what is measured, of which stage; for samples, whether shares are measured too."""

    what: str
    stage: str
    shares: bool = False


class Case(NamedTuple):
    """A part made ready: arrays are on the host; shape is that of one example (its volume, else its latent)."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    shape: tuple[int, ...]
    batch: int
    carried: bool = False         # a training step: the first argument is donated, and is the first thing returned
    more: Row = {}


class Untrained:
    """A model family with the weights that training starts from, made as far as it is asked for."""

    def __init__(self, preset: str, configs: Path, batch: int | None = None):
        self.preset, self.folder, self.asked = preset, configs, batch
        self.config, self.stage, self.borrowed = cache(self._config), cache(self._stage), cache(self._borrowed)

    def _config(self, name: str) -> ConfigDict:
        return overrides.load(self.folder / f"{name}.py", self.preset)

    def _stage(self, name: str) -> Stage:
        config = self.config(name)
        return family.STAGES[name].build(config, {lent: self.borrowed(lent) for lent in config.borrow})

    def _borrowed(self, name: str) -> Borrowed:
        config, statistics = self.config(name), {}
        if name == "autoencoder":
            features = config.model.features
            statistics = dict(latent_mean=[0.0] * features, latent_deviation=[1.0] * features,
                              contrasts=list(labels.CONTRASTS))
        return Borrowed(config, self.stage(name).init(config.seed), statistics)

    def batch(self, name: str) -> int:
        """As asked; else one device's share of the preset's global batch."""
        config = self.config(name)
        return self.asked or max(1, config.batch // max(1, config.mesh.data))

    def volume(self) -> tuple[int, ...]:
        """d h w c"""
        return *grid.standard(self.config("autoencoder").data.spacing).shape[::-1], len(labels.CONTRASTS)

    def latent(self) -> tuple[int, ...]:
        """z y x f"""
        return *(side // 4 for side in self.volume()[:3]), self.config("autoencoder").model.features


def images(of: Untrained, b: int, random: np.random.Generator) -> Row:
    """What `image` reads."""
    shape, one = of.volume(), np.ones(b, np.float32)
    return dict(volume=np.abs(random.standard_normal((b, *shape), np.float32)), present=np.ones((b, shape[-1]), np.float32),
                structures=random.integers(0, len(labels.STRUCTURES), (b, *shape[:3]), np.int32),
                lesion=(random.random((b, *shape[:3])) < 0.01).astype(np.float32), structures_known=one, lesions_known=one)


def sentences(of: Untrained, b: int, random: np.random.Generator) -> Row:
    """What `text` reads."""
    text = of.config("alignment").text
    return dict(words=random.integers(0, text.vocabulary, (b, text.length), np.int32), words_mask=np.ones((b, text.length), bool),
                facts=np.ones((b, len(tokens.FACTS), 3), np.float32))


def latents(of: Untrained, b: int, random: np.random.Generator) -> Row:
    """What `latent` reads."""
    return dict(latent=random.standard_normal((b, *of.latent()), np.float32))


def references(of: Untrained, b: int, random: np.random.Generator) -> Row:
    """What `reference` reads."""
    return dict(reference=random.standard_normal((b, *of.latent()), np.float32), reference_years=np.ones(b, np.float32),
                reference_same=np.zeros(b, np.float32))


INPUTS = {"image": images, "clean": lambda *_: {}, "text": sentences, "latent": latents, "reference": references}


def encode(of: Untrained, part: Part) -> Case:
    """Volumes to the mean of their latent."""
    base, b = of.borrowed("autoencoder"), of.batch("autoencoder")
    model, seen = autoencoder.network(base.config), images(of, b, np.random.default_rng(0))
    return Case(lambda params, volume, present: model.apply({"params": params}, volume, present, method="encode")[0],
                (base.params, seen["volume"], seen["present"]), of.volume(), b)


def decode(of: Untrained, part: Part) -> Case:
    """Latents to all contrasts and label logits."""
    base, b = of.borrowed("autoencoder"), of.batch("autoencoder")
    return Case(autoencoder.decoder(base), (base.params, latents(of, b, np.random.default_rng(0))["latent"]), of.volume(), b)


def training(of: Untrained, part: Part) -> Case:
    """One update of a stage: loss, gradient, optimiser, moving average."""
    stage, config, b, random = of.stage(part.stage), of.config(part.stage), of.batch(part.stage), np.random.default_rng(0)
    batch: Row = {}
    for kind in family.STAGES[part.stage].READS:
        batch |= INPUTS[kind](of, b, random)
    return Case(train_step(stage, config), (create(stage, config), stage.frozen, batch),
                of.volume() if "volume" in batch else of.latent(), b, carried=True)


def denoise(of: Untrained, part: Part) -> Case:
    """One evaluation of the denoiser, told and shown."""
    base, b, random = of.borrowed("ldm"), of.batch("ldm"), np.random.default_rng(0)
    lent = of.borrowed("alignment")
    model, read = ldm.network(base.config, of.latent()[-1]), alignment.reader(lent)
    said, one = sentences(of, b, random), np.ones(b, np.float32)
    text = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), jax.eval_shape(read, lent.params, *said.values()))
    noisy = latents(of, b, random)["latent"]
    return Case(lambda params, *known: model.apply({"params": params}, *known),
                (base.params, noisy, 0.5 * one, text, Image(noisy, np.ones_like(noisy[..., :1]), one, one), one, one), of.latent(), b)


def sample(of: Untrained, part: Part) -> Case:
    """From words and noise to volumes and label logits. With shares: all four subsets, and what each modality decided."""
    config, random, b = of.config("ldm"), np.random.default_rng(0), of.asked or 1
    lent = {name: of.borrowed(name) for name in ("autoencoder", "alignment")}
    draw, read, show = ldm.sampling(config, lent), alignment.reader(lent["alignment"]), ldm.decoding(lent)
    chosen = config.sampler
    weights = guidance.Weights(chosen.text_weight, chosen.image_weight if part.shares else 0.0).checked()
    needed = guidance.subsets(guidance.BOTH) if part.shares else guidance.required(weights.terms())

    def drawn(params: Any, noise: Any, words: Any, image: Image, weights: guidance.Weights) -> Any:
        text = read(params["alignment"], words["words"], words["words_mask"], words["facts"])
        latent, kept = draw(params["ldm"], noise, text, image, weights, subsets=needed, steps=chosen.steps, name=chosen.name,
                            keep=part.shares)
        return show(params["autoencoder"], latent), kept

    noise, blank = latents(of, b, random)["latent"], np.zeros(b, np.float32)
    image = Image(noise * float(part.shares), np.full_like(noise[..., :1], part.shares), blank, blank)
    params = {name: of.borrowed(name).params for name in ("autoencoder", "alignment", "ldm")}
    return Case(drawn, (params, noise, sentences(of, b, random), image, jax.tree.map(np.float32, weights)), of.volume(), b,
                more=dict(shares=part.shares, subsets=len(needed), steps=chosen.steps, sampler=chosen.name))


COMPUTED = {"encode": encode, "decode": decode, "train_step": training, "denoise": denoise, "sample": sample}
WHATS = (*COMPUTED, "pipeline")


def parts(whats: Sequence[str]) -> list[Part]:
    """The rows of what was asked for, in order; a stage that reads what is not known here is left out with a warning."""
    stages = {"encode": ["autoencoder"], "decode": ["autoencoder"], "denoise": ["ldm"], "sample": ["ldm"]}
    chosen = []
    for what in whats:
        if what not in WHATS:
            raise MedFuseError(f"--what={what} is not known: there are {', '.join(WHATS)}")
        for stage in stages.get(what, family.STAGES):
            unknown = set(family.STAGES[stage].READS) - set(INPUTS)
            if unknown:
                logging.warning("%s of %s is left out: no random input for %s", what, stage, ", ".join(sorted(unknown)))
                continue
            chosen += [Part(what, stage, shares) for shares in ((False, True) if what == "sample" else (False,))]
    return chosen


def measure(of: Untrained, part: Part, repeats: int) -> Row:
    """One row of benchmark.json for anything that computes."""
    case, config = COMPUTED[part.what](of, part), of.config(part.stage)
    try:
        row, compiled, products = prepared(case)
        row |= timed(compiled, case, repeats)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
            raise
        raise MedFuseError(f"{part.what} of {part.stage}: {case.batch} example(s) of shape {'x'.join(map(str, case.shape))} do not "
                           "fit into the device's memory: give a smaller --batch or --preset") from error
    device, peak = jax.devices()[0], roof(config.dtype)
    speed = row["flops"] / row["median_s"]
    return dict(what=part.what, stage=part.stage, preset=of.preset, shape=list(case.shape), batch=case.batch,
                device=device.device_kind, cores=usable_cores(), dtype=config.dtype, repeats=repeats, **row, flops_per_s=speed,
                peak_flops_per_s=peak, fraction_of_peak=speed / peak,
                device_peak_memory_bytes=(device.memory_stats() or {}).get("peak_bytes_in_use"), **case.more)


def prepared(case: Case) -> tuple[Row, Any, float]:
    """Compile a case: its compile time, FLOPs and memory, and the program."""
    began = time.perf_counter()
    traced = jax.jit(case.function, donate_argnums=(0,) if case.carried else ()).trace(*case.arguments)
    compiled = traced.lower().compile()
    spent = time.perf_counter() - began
    analytic, once = flops.products(traced.jaxpr), flops.products(traced.jaxpr, repeat=False)
    told = float((compiled.cost_analysis() or {}).get("flops", 0.0))
    memory = compiled.memory_analysis()
    # What is donated is given back: counted once.
    peak = (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes - memory.alias_size_in_bytes)
    # The compiler counts the body of a loop once, and nothing inside of a vendor's kernel.
    return dict(compile_s=spent, flops=max(told + analytic - once, analytic), flops_compiler=told, flops_analytic=analytic,
                peak_memory_bytes=peak), compiled, analytic


def timed(compiled: Callable[..., Any], case: Case, repeats: int) -> Row:
    """Median and spread of the calls after the warm-up; each waits for its result."""
    arguments = jax.block_until_ready(jax.device_put(case.arguments, jax.devices()[0]))
    spent = []
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        said = jax.block_until_ready(compiled(*arguments))
        spent.append(time.perf_counter() - began)
        if case.carried:
            arguments = (said[0], *arguments[1:])
    return spread(spent[WARM_UP:])


def spread(seconds: Sequence[float]) -> Row:
    """median_s, p10_s, p90_s"""
    low, middle, high = np.percentile(seconds, (10, 50, 90))
    return dict(median_s=float(middle), p10_s=float(low), p90_s=float(high))


@cache
def roof(dtype: str, sides: tuple[int, ...] = ()) -> float:
    """FLOP per second of the fastest of several square matrix products of random numbers on this machine."""
    best = 0.0
    for side in sides or ROOF.get(jax.default_backend(), LARGE_ROOF):
        pair = [jax.random.normal(jax.random.key(number), (side, side), jnp.dtype(dtype)) for number in range(2)]
        product = jax.jit(jnp.matmul).lower(*pair).compile()
        case = Case(product, tuple(pair), (side, side), 1)
        best = max(best, 2.0 * side**3 / timed(product, case, 5)["p10_s"])
    return best


def pipeline(of: Untrained, part: Part, repeats: int, source: str, workdir: Path) -> Row:
    """Seconds that the input of a stage takes to make a batch. Latents are the same random one for every study."""
    config, b = of.config(part.stage), of.batch(part.stage)
    config.data.source = source
    cohort, text = Cohort(family.prepared(config, workdir)), of.config("alignment").text
    reads = family.STAGES[part.stage].READS
    examples = Examples(cohort, reads, seed=config.seed, languages=config.data.language, length=text.length,
                        tokenizer=tokens.build(text.vocabulary) if "text" in reads else None)
    one = np.random.default_rng(0).standard_normal(of.latent(), np.float32).astype(np.float16)
    subsets = len(autoencoder.PARTIAL)
    examples.represented = {"latent": np.broadcast_to(one, (len(cohort.studies), *one.shape)),
                            "partial": np.broadcast_to(one, (len(cohort.studies), subsets, *one.shape))}
    batches, spent = examples.train(b), []
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        last = [next(batches) for _ in range(PREFETCHED)][-1]
        spent.append((time.perf_counter() - began) / PREFETCHED)
    took = spread(spent[WARM_UP:])
    missing = dict.fromkeys(("compile_s", "flops", "flops_compiler", "flops_analytic", "flops_per_s", "peak_flops_per_s",
                             "fraction_of_peak"))
    return dict(what=part.what, stage=part.stage, preset=of.preset, shape=list(of.volume() if "image" in reads else of.latent()),
                batch=b, device="host", cores=usable_cores(), dtype="float32", repeats=repeats, **missing, **took,
                batches_per_s=1 / took["median_s"], examples_per_s=b / took["median_s"],
                peak_memory_bytes=(PREFETCHED + 1) * sum(values.nbytes for values in last.values()), source=cohort.info["source"])


def rows(of: Untrained, chosen: Sequence[Part], repeats: int, source: str, workdir: Path) -> Iterator[Row]:
    """Each part measured, one after the other."""
    for number, part in enumerate(chosen, start=1):
        logging.info("%d of %d: %s of %s", number, len(chosen), part.what, part.stage)
        yield pipeline(of, part, repeats, source, workdir) if part.what == "pipeline" else measure(of, part, repeats)
