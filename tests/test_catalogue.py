"""Each number that judges stands in the catalogue, and says of itself what the catalogue says of it."""

import inspect
import math
import re
import subprocess
import sys

import pytest

from medfuse_jax.metrics import (
    agreement,
    catalogue,
    classification,
    distribution,
    image,
    overlap,
    reading,
    retrieval,
    surface,
)
from medfuse_jax.metrics.catalogue import METRICS

ROOMS = (agreement, classification, distribution, image, overlap, reading, retrieval, surface)
# Public functions that make a metric's parts, or its baseline, and judge nothing themselves.
PARTS = {image.ssim_map, image.scales, image.halved, image.around, overlap.pooled, surface.surfaces, retrieval.hits_at,
         retrieval.chance_at, reading.facts_of, reading.field_of}


def test_every_judge_stands_in_the_catalogue():
    public = {function for room in ROOMS for name, function in inspect.getmembers(room, inspect.isfunction)
              if function.__module__ == room.__name__ and not name.startswith("_")}
    listed = {metric.measure for metric in METRICS.values()}
    assert public - PARTS == listed and not PARTS & listed


@pytest.mark.parametrize("name", METRICS)
def test_a_docstring_says_what_the_catalogue_says(name):
    metric, told = METRICS[name], inspect.getdoc(METRICS[name].measure)
    for paper in metric.citation.split("; "):
        author, year = re.match(r"([\w -]+?)(?: & \w+)? (\d{4})\b", paper).groups()
        assert author in told and year in told, f"{paper} stands in no docstring"
    assert metric.within[0] < metric.within[1] and metric.empty
    assert name == "reading" or name == metric.measure.__name__
    if metric.higher_is_better:
        assert "igher is better" in told
    else:
        assert re.search(r"ower is (better|more diverse)|near 0", told)
    if metric.unit in ("dB", "mm", "ml", "%"):
        assert metric.unit.replace("%", "percent") in told
    ends = ["infinity" if math.isinf(end) else f"{end:g}" for end in metric.within]
    assert math.isinf(metric.within[0]) or " to ".join(ends) in told, "the range stands in the docstring"


def test_cited():
    assert catalogue.cited("ssim").startswith("Wang 2004")


def test_metrics_need_no_jax():
    code = "import sys, medfuse_jax.metrics.catalogue; sys.exit(bool({'jax', 'flax', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
