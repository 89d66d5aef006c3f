"""Rows of benchmark.json: a part compiled, counted, timed, and held against the machine's own peak."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from medfuse_jax import family
from medfuse_jax.benchmark import flops
from medfuse_jax.benchmark.cases import COMPUTED, Case, Part, Untrained
from medfuse_jax.data import tokens
from medfuse_jax.data.machine import usable_cores
from medfuse_jax.data.pipeline import Cohort, Examples
from medfuse_jax.errors import MedFuseError
from medfuse_jax.stages.autoencoder import PARTIAL

WARM_UP = 2                          # calls before the clock counts
AHEAD = 4                            # batches that the pipeline makes ahead: each of its timings spans as many
SIDES = {"cpu": (1024, 2048)}        # of the square products that find the peak; elsewhere:
LARGE_SIDES = (4096, 8192, 16384)
COUNTS = ("compile_s", "flops", "flops_compiler", "flops_analytic", "flops_per_s", "peak_flops_per_s",
          "fraction_of_peak", "device_peak_memory_bytes")
HEAD = ("what", "stage", "shape", "batch", "dtype", "compile s", "median ms", "p10 - p90 ms", "GFLOP", "GFLOP/s",
        "% of peak", "MiB")

Row = dict[str, Any]


def rows(of: Untrained, chosen: Sequence[Part], repeats: int, source: str = "simulated",
         workdir: Path = Path("benchmark")) -> Iterator[Row]:
    """Each part measured, one after the other. source, workdir: of the cohort that `pipeline` reads."""
    for number, part in enumerate(chosen, start=1):
        logging.info("%d of %d: %s of %s%s", number, len(chosen), part.what, part.stage, " with shares" * part.shares)
        yield pipeline(of, part, repeats, source, workdir) if part.what == "pipeline" else computed(of, part, repeats)


def computed(of: Untrained, part: Part, repeats: int) -> Row:
    """The row of anything that computes."""
    case, dtype, device = COMPUTED[part.what](of, part), of.config(part.stage).dtype, jax.devices()[0]
    try:
        counted, program = compiled(case)
        took = spread(seconds(program, case, repeats)[WARM_UP:])
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        shape = "x".join(map(str, case.shape))
        raise MedFuseError(f"{part.what} of {part.stage}: {case.batch} of {shape} do not fit into the device's "
                           "memory: give a smaller --batch or --preset") from error
    peak, speed = roof(dtype), counted["flops"] / took["median_s"]
    return dict(what=part.what, stage=part.stage, preset=of.preset, shape=list(case.shape), batch=case.batch,
                device=device.device_kind, cores=usable_cores(), dtype=dtype, repeats=repeats, **counted, **took,
                flops_per_s=speed, peak_flops_per_s=peak, fraction_of_peak=speed / peak,
                device_peak_memory_bytes=(device.memory_stats() or {}).get("peak_bytes_in_use"), **case.more)


def compiled(case: Case) -> tuple[Row, Callable[..., Any]]:
    """The program of a case; how long it took to compile, its FLOPs, the memory that it needs."""
    began = time.perf_counter()
    traced = jax.jit(case.function, donate_argnums=(0,) if case.carried else ()).trace(*case.arguments)
    program = traced.lower().compile()
    spent = time.perf_counter() - began
    analytic, once = flops.products(traced.jaxpr), flops.products(traced.jaxpr, repeat=False)
    told = float((program.cost_analysis() or {}).get("flops", 0.0))
    memory = program.memory_analysis()
    return dict(
        compile_s=spent,
        # The compiler counts a loop's body once, and does not see into a vendor's kernel.
        flops=max(told + analytic - once, analytic), flops_compiler=told, flops_analytic=analytic,
        # Of this program alone (a device's own peak is that of all programs until then). What is donated counts once.
        peak_memory_bytes=(memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
                           - memory.alias_size_in_bytes)), program


def seconds(program: Callable[..., Any], case: Case, repeats: int) -> list[float]:
    """Each call from its start until its result is there, the warm-up first."""
    arguments, spent = jax.block_until_ready(jax.device_put(case.arguments, jax.devices()[0])), []
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        said = jax.block_until_ready(program(*arguments))
        spent.append(time.perf_counter() - began)
        if case.carried:
            arguments = (said[0], *arguments[1:])
    return spent


def spread(spent: Sequence[float]) -> Row:
    """Median and the tenth and ninetieth percentile."""
    low, middle, high = np.percentile(spent, (10, 50, 90))
    return dict(median_s=float(middle), p10_s=float(low), p90_s=float(high))


@cache
def roof(dtype: str) -> float:
    """FLOP per second of the fastest of several square products of random numbers: what this machine can reach."""
    best = 0.0
    for side in SIDES.get(jax.default_backend(), LARGE_SIDES):
        pair = tuple(jax.random.normal(jax.random.key(number), (side, side), jnp.dtype(dtype)) for number in (1, 2))
        program = jax.jit(jnp.matmul).lower(*pair).compile()
        best = max(best, 2.0 * side**3 / min(seconds(program, Case(jnp.matmul, pair, (side, side), 1), 8)))
    return best


def pipeline(of: Untrained, part: Part, repeats: int, source: str, workdir: Path) -> Row:
    """Seconds that a stage's input takes to make a batch. Latents are one random one for all studies."""
    config, b = of.config(part.stage).copy_and_resolve_references(), of.batch(part.stage)
    config.data.source = source
    cohort, reads = Cohort(family.prepared(config, workdir)), family.STAGES[part.stage].READS
    if float(cohort.info["spacing"]) != float(config.data.spacing):
        raise MedFuseError(f"{cohort.folder}: prepared at {cohort.info['spacing']} mm, but the preset {config.preset} "
                           f"is at {config.data.spacing:g} mm: choose another --preset or --source")
    text = of.config("alignment").text
    examples = Examples(cohort, reads, seed=config.seed, languages=config.data.language, length=text.length,
                        tokenizer=tokens.build(text.vocabulary) if "text" in reads else None)
    one = np.random.default_rng(config.seed).standard_normal(of.latent(), np.float32).astype(np.float16)
    examples.represented = {"latent": np.broadcast_to(one, (len(cohort.studies), *one.shape)),
                            "partial": np.broadcast_to(one, (len(cohort.studies), len(PARTIAL), *one.shape))}
    batches, spent, made = examples.train(b), [], {}
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        for _ in range(AHEAD):
            made = next(batches)
        spent.append((time.perf_counter() - began) / AHEAD)
    took = spread(spent[WARM_UP:])
    shape = cohort.arrays["volumes"].shape[1:] if "image" in reads else one.shape
    return dict(what=part.what, stage=part.stage, preset=of.preset, shape=list(shape), batch=b, device="host",
                cores=usable_cores(), dtype="float32", repeats=repeats, **dict.fromkeys(COUNTS), **took,
                batches_per_s=1 / took["median_s"], examples_per_s=b / took["median_s"],
                peak_memory_bytes=AHEAD * sum(values.nbytes for values in made.values()), source=cohort.info["source"])


def table(measured: Sequence[Mapping[str, Any]]) -> str:
    """Rows as lines to read; what a row does not have is a dash."""
    def cell(value: int | float | None, unit: int | float = 1) -> str:
        return "-" if value is None else f"{value / unit:.3g}" if value < 100 * unit else f"{value / unit:.0f}"

    lines = [HEAD]
    for row in measured:
        lines.append((
            row["what"] + " + shares" * row.get("shares", False), row["stage"], "x".join(map(str, row["shape"])),
            str(row["batch"]), row["dtype"], cell(row["compile_s"]), cell(row["median_s"], 1e-3),
            f"{cell(row['p10_s'], 1e-3)} - {cell(row['p90_s'], 1e-3)}", cell(row["flops"], 1e9),
            cell(row["flops_per_s"], 1e9), cell(row["fraction_of_peak"], 1e-2), cell(row["peak_memory_bytes"], 2**20)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(word.ljust(width) if place < 3 else word.rjust(width)
                      for place, (word, width) in enumerate(zip(line, widths, strict=True))) for line in lines]
    peaks = {row["dtype"]: row for row in measured if row["peak_flops_per_s"]}
    text += [f"peak of square {dtype} products: {row['peak_flops_per_s'] / 1e9:.0f} GFLOP/s ({row['device']}, "
             f"{row['cores']} core(s))" for dtype, row in peaks.items()]
    return "\n".join(text) + "\n"
