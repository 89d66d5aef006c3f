"""What the training studies tell an autoencoder in closed form: the point that its training starts from."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from medfuse_jax.data import labels
from medfuse_jax.methods import atlas, linear
from medfuse_jax.models.autoencoder import RARE, subset_of
from medfuse_jax.models.blocks import haar, unhaar
from medfuse_jax.stages.labelled import LABELS
from medfuse_jax.stages.stage import Batch, Params

MEMORY, STUDIES = 2**28, (16, 256)          # numbers of latents that are held at once to be fitted to, least and most


def fitted(params: Params, data: Any) -> Params:
    """What the training studies say in closed form: the point that training starts from.

    Linear maps (`linear.autoencoder`); an atlas, how it bends with the latent, and the brightnesses of the classes in
    linearly rebuilt images (`atlas`).
    """
    count, features = len(labels.CONTRASTS), params["linear_in_bias"].shape[-1]
    cells = int(np.prod(data.cohort.arrays["volumes"].shape[1:4])) // 64
    some = int(np.clip(MEMORY // (cells * features), *STUDIES))
    cubes = jax.jit(lambda volume: haar(haar(volume)))

    moments = linear.Moments(64, count)
    for batch in itertools.islice(data.valid(1, split="train"), some):
        moments.add(np.asarray(cubes(batch["volume"])).reshape(-1, 64 * count), batch["present"][0])
    maps = linear.autoencoder(*moments.told(), count, features)
    new = {"zero_linear_in": maps["encoder"], "linear_in_bias": maps["encoder_bias"],
           "zero_linear_out": {"kernel": maps["decoder"], "bias": maps["decoder_bias"]}}

    seen = LabelStatistics(params, maps, told_together(data.cohort))
    for batch in itertools.islice(data.valid(1, split="train"), some):
        seen.add(batch, cubes(batch["volume"]))
    return params | jax.tree.map(lambda array: np.asarray(array, np.float32), new | seen.told())


class LabelStatistics:
    """Shares of the classes at each place beside the latent, and brightnesses of each class, of studies with labels."""

    def __init__(self, params: Params, maps: dict[str, np.ndarray], kinds: Sequence[str]):
        self.kinds = kinds                # of LABELS: what a study must have to count
        self.fine, self.coarse = params["zero_atlas"]["bias"].shape, params["zero_atlas"]["mean"].shape
        self.axes, self.classes = params["zero_atlas"]["axes"].shape, self.fine[-1] - 1
        self.latents, self.parts, self.total, self.studies = [], [], np.zeros(self.fine), 0
        self.named, self.sick = (np.zeros((k, 1 + len(labels.CONTRASTS), 1 + len(labels.CONTRASTS)))
                                 for k in (self.classes, 2))
        self.maps = {name: array.astype(np.float32) for name, array in maps.items()}

    def add(self, batch: Batch, cubes: jax.Array) -> None:
        """One study; without labels of all `kinds` it tells nothing here."""
        if not self.kinds or not all(batch[f"{kind}_known"][0] for kind in self.kinds):
            return
        named, lesion = batch["structures"][0], batch["lesion"][0]
        own, maps = int(subset_of(batch["present"])[0]), self.maps
        latent = cubes @ maps["encoder"][own] + maps["encoder_bias"][own]
        rebuilt = np.asarray(unhaar(unhaar(latent @ maps["decoder"] + maps["decoder_bias"])), np.float64)[0]
        told = np.concatenate([np.ones((*named.shape, 1)), rebuilt], axis=-1)
        for structure in np.unique(named):
            inside = told[named == structure]
            self.named[structure] += inside.T @ inside
        brain = named > 0 if "structures" in self.kinds else np.any(batch["volume"][0] > 0, axis=-1)
        inside, part = told[brain], lesion[brain][:, None]
        self.sick += np.stack([inside.T @ ((1 - part) * inside), inside.T @ (part * inside)])
        self.latents.append(np.asarray(latent).reshape(-1))
        known = np.append(np.full(self.classes, "structures" in self.kinds), "lesions" in self.kinds)
        self.parts.append(known * atlas.shares(named, lesion, self.coarse[:3], self.classes))
        self.total += known * atlas.shares(named, lesion, self.fine[:3], self.classes)
        self.studies += 1

    def told(self) -> Params:
        """The parameters of the decoder's labels; of a kind that no study has, those that were there."""
        if not self.studies:
            return {}
        place = atlas.logits(self.total / self.studies, self.studies)
        place[..., -1] -= RARE
        bent = atlas.bent(np.stack(self.latents), np.stack(self.parts), self.axes[0])
        bent["axes"] = bent["axes"].reshape(self.axes)
        new = {"zero_atlas": bent | {"bias": place}}
        if "structures" in self.kinds:
            new["zero_structure_likelihood"] = atlas.densities(self.named)
        if "lesions" in self.kinds:
            new["zero_lesion_likelihood"] = {name: array[..., 1:] - array[..., :1]
                                             for name, array in atlas.densities(self.sick).items()}
        return new


def told_together(cohort: Any) -> tuple[str, ...]:
    """The kinds of labels that training studies have: both where some study has both, else the first there is."""
    people = [cohort.studies[row] for row in cohort.rows("train")]
    for kinds in (LABELS, *((kind,) for kind in LABELS)):
        if any(all(study[f"{kind}_known"] for kind in kinds) for study in people):
            return kinds
    return ()
