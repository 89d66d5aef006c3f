"""The autoencoder's suite: how near its reconstructions are, beside the mean of the people it was trained on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from tqdm import tqdm

from medfuse_jax.data import labels
from medfuse_jax.data.pipeline import Cohort
from medfuse_jax.evaluation.estimate import Figure, by_person, estimate
from medfuse_jax.evaluation.judged import Judged
from medfuse_jax.metrics import image
from medfuse_jax.metrics.catalogue import cited
from medfuse_jax.stages import autoencoder

MEAN_BRAIN = "mean_brain: the mean training volume given for everyone"
REFERENCES = {
    "psnr": f"dB in the brain, all contrasts given, against the noisy scan, whose noise caps it; {MEAN_BRAIN}",
    "psnr_clean": f"dB in the brain, all contrasts given, against the noise-free truth; {MEAN_BRAIN}",
    "psnr_from_flair": f"dB in the brain, all contrasts made from FLAIR alone; {MEAN_BRAIN}",
    "lesion_psnr": f"dB in the true lesions, studies with lesions; {MEAN_BRAIN}",
    "ssim": f"in the brain, all contrasts given, against the noisy scan; {MEAN_BRAIN}",
    "ssim_clean": f"in the brain, all contrasts given, against the noise-free truth; {MEAN_BRAIN}",
    "lesion_dice": "lesion probability > 0.5, studies with lesions; mean_labels: mean training lesion fraction > 0.5",
} | dict.fromkeys([f"dice_{name}" for name in autoencoder.JUDGED],
                  "left and right together; mean_labels: the training studies' most frequent class at each voxel")

MISSING = {"psnr_clean": "no study has a noise-free truth", "ssim_clean": "no study has a noise-free truth",
           "psnr_from_flair": "no study has a FLAIR", "lesion_psnr": "no study has lesions that are known",
           "lesion_dice": "no study has lesions that are known"}


class Said(NamedTuple):
    """What is said of a batch, by the network or by a baseline."""

    volume: Any               # b d h w c, all contrasts given
    alone: Any                # b d h w c, FLAIR given
    structures: Any           # b d h w, classes
    lesions: Any              # b d h w, bool


def figures(judged: Judged) -> dict[str, Figure]:
    """Every metric that the data have a truth for; the others are left out, and the log says why."""
    say, score, typical = speaker(judged), jax.jit(scores), typical_study(judged.training)
    examples, parts = judged.examples(("image", "clean")), []
    for real, batch in judged.batches(examples):
        studies = [judged.cohort.studies[row] for row in batch["row"]]
        batch["clean_known"] = np.array([study["clean_row"] is not None for study in studies], np.float32)
        everyone = Said(*(np.broadcast_to(one, (len(studies), *one.shape)) for one in typical))
        given = {name: value for name, value in batch.items() if name != "row"}
        parts.append([known(score(given, said) | likeness(given, said, real), real)
                      for said in (say(judged.params, given), everyone)])
    found = {}
    for name, reference in REFERENCES.items():
        own, mean = (by_person(np.concatenate([part[who][name] for part in parts]), judged.people) for who in (0, 1))
        if np.isnan(own).all():
            logging.info("autoencoder: %s is left out: %s", name, MISSING.get(name, "no study has structures"))
            continue
        baseline = "mean_labels" if "dice" in name else "mean_brain"
        paper = cited(next(metric for metric in ("psnr", "ssim", "dice") if metric in name))
        found[name] = estimate(own, {baseline: float(np.nanmean(mean))}, True, f"{reference}; {paper}", judged.seed)
    return found


def speaker(judged: Judged) -> Callable[..., Said]:
    """(params, batch) -> Said by the network, compiled."""
    model = autoencoder.network(judged.config)

    def say(params: Any, batch: Mapping[str, Any]) -> Said:
        every = model.apply({"params": params}, batch["volume"], batch["present"])
        alone = model.apply({"params": params}, batch["volume"], batch["present"] * autoencoder.PARTIAL[1])
        return Said(every.volume, alone.volume, jnp.argmax(every.structures, axis=-1), every.lesion > 0)

    return jax.jit(say)


def scores(batch: Mapping[str, Any], said: Said) -> dict[str, tuple[Any, Any]]:
    """name -> (b values, b whether the study has a truth for it)."""
    volume, present, lesions = batch["volume"], batch["present"], batch["lesion"] > 0.5
    some = jnp.any(lesions, axis=(1, 2, 3)) * batch["lesions_known"]
    found = dict(
        psnr=(autoencoder.psnr(volume, said.volume, present), jnp.ones(len(volume))),
        psnr_clean=(autoencoder.psnr(batch["clean"], said.volume, present), batch["clean_known"]),
        psnr_from_flair=(autoencoder.psnr(volume, said.alone, present), present[:, labels.CONTRASTS.index("FLAIR")]),
        lesion_psnr=(autoencoder.psnr(volume, said.volume, present, lesions), some),
        lesion_dice=(autoencoder.dice(lesions, said.lesions), some),
    )
    for name, classes in autoencoder.JUDGED.items():
        overlap = autoencoder.dice(jnp.isin(batch["structures"], classes), jnp.isin(said.structures, classes))
        found[f"dice_{name}"] = overlap, batch["structures_known"]
    return found


def likeness(batch: Mapping[str, np.ndarray], said: Said, real: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """SSIM of the rows that count, mean of the contrasts that are present, as the stage's own probe has it."""
    volume = np.asarray(said.volume)

    def of(reference: np.ndarray, row: int) -> float:
        return float(np.mean([image.ssim(reference[row, ..., c], volume[row, ..., c], mask=reference[row, ..., c] > 0,
                                         data_range=float(reference[row, ..., c].max()))
                              for c in np.flatnonzero(batch["present"][row])]))

    noisy, clean, there = np.zeros(len(volume)), np.zeros(len(volume)), batch["clean_known"]
    for row in range(real):
        noisy[row], clean[row] = of(batch["volume"], row), of(batch["clean"], row) if there[row] else 0.0
    return {"ssim": (noisy, np.ones(len(volume))), "ssim_clean": (clean, there)}


def known(values: Mapping[str, tuple[Any, Any]], real: int) -> dict[str, np.ndarray]:
    """The values of the rows that count; nan where a study has no truth."""
    return {name: np.where(np.asarray(weight) > 0, np.asarray(value, np.float64), np.nan)[:real]
            for name, (value, weight) in values.items()}


def typical_study(folder: Path) -> Said:
    """What one says without having looked: the training studies' mean volume and most frequent labels, no b axis."""
    cohort = Cohort(folder)
    rows, (depth, *plane) = cohort.rows("train"), cohort.info["shape"]
    present = np.array([cohort.studies[row]["present"] for row in rows], np.float32)
    each = tqdm(zip(rows, present, strict=True), "mean brain", len(rows), unit="study", leave=False)
    volume = sum(cohort.arrays["volumes"][row].astype(np.float32) * shown for row, shown in each)
    marked = [row for row in rows if cohort.studies[row]["lesions_known"]]
    nothing = np.zeros((depth, *plane), np.float32)
    lesions = sum((cohort.arrays["lesions"][row].astype(np.float32) for row in marked), nothing)
    named = [row for row in rows if cohort.studies[row]["structures_known"]]
    structures = np.zeros((depth, *plane), np.int32)
    for z in range(depth if named else 0):              # slice by slice: a count for each class is 29 volumes
        seen = np.stack([cohort.arrays["structures"][row, z] for row in named])
        structures[z] = np.argmax([np.sum(seen == k, axis=0) for k in range(len(labels.STRUCTURES))], axis=0)
    mean = volume / np.maximum(present.sum(axis=0), 1.0)
    return Said(mean, mean, structures, lesions > 0.5 * 255 * max(len(marked), 1))
