"""Autoencoder: contrasts to latent to contrasts and labels. Everything else is built on its latent."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medfuse_jax.data import labels
from medfuse_jax.methods import losses
from medfuse_jax.metrics import image
from medfuse_jax.models.autoencoder import Autoencoder
from medfuse_jax.models.initialise import initialise
from medfuse_jax.stages.closed_form import fitted
from medfuse_jax.stages.labelled import Labelled, labelled, page, told_at_all
from medfuse_jax.stages.stage import Batch, Borrowed, Frozen, Params, Stage, Values

READS = ("image", "clean")

# The subsets of contrasts (FLAIR, T1w, T2w, after gadolinium) under which a reference scan may come.
PARTIAL = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0]], np.float32)

JUDGED = {name: np.array([k for k, structure in enumerate(labels.STRUCTURES) if structure.name.startswith(name)])
          for name in ("thalamus", "caudate", "putamen", "hippocampus", "lateral_ventricle", "cerebral_cortex")}


def network(config: Any) -> Autoencoder:
    """The network of a config."""
    return Autoencoder(len(labels.CONTRASTS), len(labels.STRUCTURES), remat=config.remat,
                       dtype=jnp.dtype(config.dtype), **config.model)


def build(config: Any, borrowed: Mapping[str, Borrowed]) -> Stage:
    """The autoencoder's stage; it borrows nothing."""
    model, weights, balance = network(config), config.loss, jnp.asarray(rarity())

    def init(seed: int) -> Params:
        shape = tuple(int(round(side / config.data.spacing)) for side in (192, 224, 192))
        return initialise(model, seed, np.zeros((1, *shape, len(labels.CONTRASTS)), np.float32),
                          np.ones((1, len(labels.CONTRASTS)), np.float32))

    def loss(params: Params, frozen: Frozen, batch: Batch, key: jax.Array) -> tuple[jax.Array, Values]:
        """Contrasts, structures and lesions from a latent that was told some of the contrasts."""
        hide, draw, choose = jax.random.split(key, 3)
        volume, present, lesion = batch["volume"], batch["present"], batch["lesion"]
        average, log_variance = model.apply({"params": params}, volume, forget(hide, present, weights.forget_contrast),
                                            method="encode")
        latent = average + jnp.exp(0.5 * log_variance) * jax.random.normal(draw, average.shape)
        planes = judged_planes(choose, volume.shape[1] // 2, weights.planes)
        said = model.apply({"params": params}, latent, planes, method="decode")

        brain = jnp.any(volume > 0, axis=-1).astype(jnp.float32)
        inside = 0.2 + brain * (1.0 + weights.lesion * lesion)
        weight = inside[..., None] * present[:, None, None, None, :]
        slices = (2 * planes[:, None] + jnp.arange(2)).reshape(-1)
        named = batch["structures"][:, slices]
        each = dict(
            absolute=losses.mean(jnp.abs(said.volume - volume), weight),
            squared=losses.mean(jnp.square(said.volume - volume), weight),
            gradient=losses.gradient(said.volume, volume, weight),
            structures=batch["structures_known"] * losses.cross_entropy(said.structures + 0.5 * jnp.log(balance),
                                                                        named, balance[named]),
            lesions=batch["lesions_known"] * losses.lesion(said.lesion, lesion, 0.05 + brain, weights.lesion),
            divergence=losses.divergence(average, log_variance),
        )
        total = (each["absolute"] + 2.0 * each["squared"] + weights.gradient * each["gradient"]
                 + weights.structures * each["structures"] + weights.lesions * each["lesions"]
                 + weights.divergence * each["divergence"])
        return jnp.mean(total), each

    def evaluate(params: Params, frozen: Frozen, batch: Batch, key: jax.Array) -> Values:
        """All contrasts given: how near is the reconstruction; FLAIR alone: what can be made of it."""
        said = model.apply({"params": params}, batch["volume"], batch["present"])
        alone = model.apply({"params": params}, batch["volume"], batch["present"] * PARTIAL[1])
        lesion, known = batch["lesion"] > 0.5, batch["structures_known"]
        some = jnp.any(lesion, axis=(1, 2, 3)).astype(jnp.float32)
        values = dict(
            psnr=psnr(batch["volume"], said.volume, batch["present"]),
            psnr_clean=psnr(batch["clean"], said.volume, batch["present"]),
            psnr_from_flair=psnr(batch["volume"], alone.volume, batch["present"]),
            lesion_psnr=(psnr(batch["volume"], said.volume, batch["present"], lesion), some),
            lesion_dice=(dice(lesion, said.lesion > 0), some * batch["lesions_known"]),
        )
        named = jnp.argmax(said.structures, axis=-1)
        for name, classes in JUDGED.items():
            values[f"dice_{name}"] = dice(jnp.isin(batch["structures"], classes), jnp.isin(named, classes)), known
        return values

    rebuild = jax.jit(lambda p, volume, present: model.apply({"params": p}, volume, present))

    def reconstruction(params: Params, frozen: Frozen, data: Any) -> Values:
        """SSIM against the noise-free truth over the held-out studies; the first as it is, and as it is rebuilt."""
        scores, pages, known = [], {}, {"labels": told_at_all(data.cohort)}
        for batch in data.valid(config.batch):
            decoded = rebuild(params, batch["volume"], batch["present"])
            said, clean = np.asarray(decoded.volume), batch["clean"]
            scores += [image.ssim(clean[i, ..., c], said[i, ..., c], mask=clean[i, ..., c] > 0,
                                  data_range=float(clean[i, ..., c].max()))
                       for i in np.flatnonzero(batch["weight"] > 0) for c in np.flatnonzero(batch["present"][i])]
            if not pages:
                seen = [name for name, there in zip(labels.CONTRASTS, batch["present"][0], strict=True) if there]
                truth = Labelled(None, batch["structures"] if batch["structures_known"][0] else None,
                                 batch["lesion"] if batch["lesions_known"][0] else None)
                pages = {"slices/seen": page(batch["volume"], truth, seen, config.data.spacing),
                         "slices/rebuilt": page(said, labelled(decoded, known), seen, config.data.spacing)}
        return {"ssim": float(np.mean(scores))} | pages

    def conclude(params: Params, frozen: Frozen, data: Any) -> Values:
        """How the latent is distributed over the training people, which borrowers normalise by; and contrasts seen."""
        encode = jax.jit(lambda p, volume, present: model.apply({"params": p}, volume, present, method="encode")[0])
        latents, contrasts = [], np.zeros(len(labels.CONTRASTS))
        for batch in data.valid(config.batch, split="train"):
            latents.append(np.asarray(encode(params, batch["volume"], batch["present"]))[batch["weight"] > 0])
            contrasts = np.maximum(contrasts, batch["present"].max(axis=0))
            if sum(map(len, latents)) >= ENOUGH:
                break
        names = [name for name, seen in zip(labels.CONTRASTS, contrasts, strict=True) if seen]
        return scaled(np.concatenate(latents)) | {"contrasts": names, "labels": told_at_all(data.cohort)}

    return Stage("autoencoder", init, loss, evaluate, start=fitted, given=("zero_atlas",),
                 probes={"reconstruction": reconstruction}, conclude=conclude)


def rarity() -> np.ndarray:
    """Weight of each class in the structures' loss: inverse root of its usual volume, mean 1 over a head's voxels.

    Half its logarithm is added to the logits in the loss (Menon 2021): with all of it they are probabilities, and where
    a border is not sure the larger class takes it all; with none small structures are drawn too large.
    """
    usual = {"background": 7200.0, "csf": 300.0, "cerebral_cortex": 226.0, "cerebral_white_matter": 218.0,
             "cerebellum_cortex": 48.0, "cerebellum_white_matter": 15.0, "brainstem": 22.0, "lateral_ventricle": 15.0,
             "thalamus": 7.0, "putamen": 5.0, "caudate": 3.6, "hippocampus": 3.8}      # ml of one side; others 2 ml
    ml = np.array([usual.get(name.removesuffix("_left").removesuffix("_right"), 2.0) for name in labels.NAMES])
    weight = 1.0 / np.sqrt(ml)
    return (weight * ml.sum() / (weight * ml).sum()).astype(np.float32)


ENOUGH = 512            # studies from which the statistics of the latent are taken


def forget(key: jax.Array, present: jax.Array, share: float) -> jax.Array:
    """`present` with some contrasts hidden in `share` of the examples; at least one that exists stays."""
    some, which, keep = jax.random.split(key, 3)
    hidden = jax.random.bernoulli(some, share, (len(present), 1)) & jax.random.bernoulli(which, 0.5, present.shape)
    last = jax.nn.one_hot(jnp.argmax(jax.random.uniform(keep, present.shape) * present, axis=-1), present.shape[-1])
    return present * jnp.maximum(1.0 - hidden, last)


def judged_planes(key: jax.Array, available: int, count: int) -> jax.Array:
    """Which pairs of slices have their structures judged: one in each of `count` equal parts; all when count is 0."""
    if not 0 < count < available:
        return jnp.arange(available)
    edges = jnp.linspace(0, available, count + 1)
    return jnp.floor(edges[:-1] + jax.random.uniform(key, (count,)) * (edges[1:] - edges[:-1])).astype(jnp.int32)


def psnr(reference: jax.Array, said: jax.Array, present: jax.Array, place: jax.Array | None = None) -> jax.Array:
    """PSNR in dB inside the brain (or inside `place`), mean over the contrasts that are present.

    Range: the largest value of the reference inside the brain, contrast by contrast.
    """
    brain = jnp.any(reference > 0, axis=-1)
    weight = (brain if place is None else brain & place)[..., None].astype(jnp.float32)
    voxels = jnp.maximum(jnp.sum(weight, axis=(1, 2, 3)), 1.0)
    error = jnp.sum(weight * jnp.square(reference - said), axis=(1, 2, 3)) / voxels
    peak = jnp.max(reference, axis=(1, 2, 3))
    decibel = 10.0 * jnp.log10(jnp.maximum(jnp.square(peak), 1e-6) / jnp.maximum(error, 1e-10))
    return jnp.sum(decibel * present, axis=-1) / jnp.sum(present, axis=-1)


def dice(truth: jax.Array, said: jax.Array) -> jax.Array:
    """Dice per example (0 to 1, higher is better); 1 where neither has anything."""
    both, total = jnp.sum(truth & said, axis=(1, 2, 3)), jnp.sum(truth, axis=(1, 2, 3)) + jnp.sum(said, axis=(1, 2, 3))
    return jnp.where(total > 0, 2.0 * both / jnp.maximum(total, 1), 1.0)


def scaled(latents: np.ndarray) -> dict[str, np.ndarray]:
    """The mean latent of each place (the average brain, z y x f) and one deviation for all that differs from it.

    One number, so that what differs most between people, which is what is seen, stays largest.
    """
    mean = latents.mean(axis=0, dtype=np.float64)
    usual = float(np.sqrt(np.mean((mean - mean.mean(axis=(0, 1, 2))) ** 2)))       # between places: of one head, even
    deviation = max(float(np.sqrt(np.mean((latents - mean) ** 2))), 0.1 * usual, 1e-6)
    return {"latent_mean": mean.astype(np.float32), "latent_deviation": np.float32([deviation])}


def normalised(latent: jax.Array, statistics: Values) -> jax.Array:
    """A latent as borrowers see it: mean zero at each place, variance one over the box."""
    return (latent - statistics["latent_mean"]) / statistics["latent_deviation"]


def denormalised(latent: jax.Array, statistics: Values) -> jax.Array:
    """The inverse of `normalised`."""
    return latent * statistics["latent_deviation"] + statistics["latent_mean"]


def lent(borrowed: Borrowed) -> Frozen:
    """What borrowers keep of a trained autoencoder: its weights, and the statistics of its latent."""
    arrays = {name: value for name, value in borrowed.statistics.items() if isinstance(value, np.ndarray)}
    return {"params": borrowed.params, "statistics": arrays}


def represent(borrowed: Borrowed) -> Callable[[Frozen, Batch], Values]:
    """What a borrowed autoencoder says of a study: the normalised latent of all its contrasts, and of each of PARTIAL.

    latent: b z y x f;  partial: b, subsets, z y x f. A subset of which a study has nothing is replaced by all it has.
    """
    model = network(borrowed.config)

    def say(frozen: Frozen, batch: Batch) -> Values:
        own = frozen["autoencoder"]

        def encode(present: jax.Array) -> jax.Array:
            latent, _ = model.apply({"params": own["params"]}, batch["volume"], present, method="encode")
            return normalised(latent, own["statistics"])

        every = [batch["present"] * subset for subset in PARTIAL]
        every = [jnp.where(jnp.sum(some, axis=-1, keepdims=True) > 0, some, batch["present"]) for some in every]
        partial = jnp.stack([encode(some) for some in every], axis=1)
        return {"latent": partial[:, 0], "partial": partial}

    return say


def decoder(borrowed: Borrowed) -> Callable[[Frozen, jax.Array], Any]:
    """(what `lent` gives, normalised latent) -> Decoded."""
    model = network(borrowed.config)

    def decode(own: Frozen, latent: jax.Array) -> Any:
        return model.apply({"params": own["params"]}, denormalised(latent, own["statistics"]), method="decode")

    return decode
