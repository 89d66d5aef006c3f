"""Which suites there are; running some of them, and the files that tell."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medfuse_jax import family
from medfuse_jax.data.files import whole_file, writable
from medfuse_jax.errors import MedFuseError
from medfuse_jax.evaluation import alignment, autoencoder, ldm
from medfuse_jax.evaluation.estimate import Figure
from medfuse_jax.evaluation.judged import Judged, opened

SUITES: dict[str, Callable[[Judged], dict[str, Figure]]] = {
    "autoencoder": autoencoder.figures, "alignment": alignment.figures, "ldm": ldm.figures}
ALL = "all"


def evaluate(workdir: str | Path, suites: Sequence[str], out: str | Path, data: str | Path | None = None,
             number: int = 16, seed: int = 0) -> dict[str, dict[str, Figure]]:
    """Judge stages of a family on held-out people, or on all people of `data`; metrics.json and metrics.md in `out`.

    suites: names, or "all" for those whose stage is trained. number: samples a sentence.
    data: a BIDS tree (prepared under `out`) or a prepared folder.
    """
    workdir, out = Path(workdir), Path(out)
    if number < 2:
        raise MedFuseError(f"number {number} says nothing of the spread: give 2 or more")
    found, names = {}, chosen(workdir, suites)
    writable(out, "--out")
    for suite in names:
        judged = opened(workdir, suite, None if data is None else Path(data), out, number, seed)
        spacing = {"spacing_mm": float(judged.config.data.spacing)}
        found[suite] = {name: figure | spacing for name, figure in SUITES[suite](judged).items()}
    with whole_file(out / "metrics.json") as path:
        path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with whole_file(out / "metrics.md") as path:
        people = "held-out people" if data is None else str(data)
        path.write_text(table(found, f"{workdir} on {people}, seed {seed}"), encoding="utf-8")
    return found


def chosen(workdir: Path, suites: Sequence[str]) -> list[str]:
    """The suites to run, in the order in which stages are trained."""
    if unknown := [suite for suite in suites if suite not in (*SUITES, ALL)] or ([] if suites else [""]):
        raise MedFuseError(f"suite {unknown[0]!r} does not exist: choose from {', '.join(SUITES)}, {ALL}")
    trained = [suite for suite in SUITES if family.finished(workdir / suite)]
    if not trained:
        family.load(workdir)                # says what to train first
    if missing := [suite for suite in suites if suite not in (*trained, ALL)]:
        raise MedFuseError(f"{workdir}: the {missing[0]} is not trained: run `python launch/train.py "
                           f"--config=configs/{missing[0]}.py --workdir={workdir}`")
    return [suite for suite in trained if suite in suites or ALL in suites]


def table(found: Mapping[str, Mapping[str, Figure]], title: str) -> str:
    """metrics.json as a Markdown table."""
    def short(value: float | None) -> str:
        return "none" if value is None else f"{value:.4g}"

    columns = ("suite", "metric", "value", "95 %", "n", "baseline", "better", "mm", "what it is")
    lines = [f"# {title}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for suite, figures in found.items():
        for name, one in figures.items():
            baseline = ", ".join(f"{key} {short(value)}" for key, value in one["baseline"].items())
            ends, better = " to ".join(map(short, one["ci95"])), "higher" if one["higher_is_better"] else "lower"
            lines.append(f"| {suite} | {name} | {short(one['value'])} | {ends} | {one['n']} | {baseline} | {better} | "
                         f"{one['spacing_mm']:g} | {one['reference']} |")
    return "\n".join(lines) + "\n"
