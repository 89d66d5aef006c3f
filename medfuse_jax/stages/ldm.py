"""Latent diffusion: noise becomes a latent, told by a sentence and shown an image, each with its own weight."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medfuse_jax.data import definitions, language, tokens
from medfuse_jax.explain import contribution
from medfuse_jax.methods import diffusion, guidance, losses, prior, sampler
from medfuse_jax.metrics import biomarkers, interval
from medfuse_jax.models.blocks import places
from medfuse_jax.models.denoiser import Denoiser, Image
from medfuse_jax.models.initialise import initialise
from medfuse_jax.models.text import Text
from medfuse_jax.stages import alignment, autoencoder, labelled
from medfuse_jax.stages.stage import Batch, Borrowed, Frozen, Params, Stage, Values

READS = ("latent", "reference", "text")

# What a trained model must obey, asked of the same seeds with both prompts.
CONTRASTED = (
    ("lesion_volume_ml", "heavy lesion load", "no lesions"),
    ("thalamus_ml", "severe thalamic atrophy", "no thalamic atrophy"),
)
MEMORY = 2**29             # numbers of latents that the prior is fitted to at once
ASKED = {"tiny": 2}        # samples for each of these prompts; elsewhere:
SAMPLES = 16


def network(config: Any, features: int) -> Denoiser:
    """The denoiser of a config for a latent with so many features."""
    return Denoiser(features, dtype=jnp.dtype(config.dtype), remat=config.remat, **config.model)


def predictor(config: Any, features: int) -> Callable[..., jax.Array]:
    """(params, noisy, tau, text, image, told, shown) -> prediction: the network, added to the prior's guess."""
    model, prediction = network(config, features), config.process.prediction

    def predict(params: Params, noisy: jax.Array, tau: jax.Array, text: Text, image: Image, told: jax.Array,
                shown: jax.Array) -> jax.Array:
        learned = model.apply({"params": params["network"]}, noisy, tau, text, image, told, shown)
        known = prior.Prior(**params["prior"])
        return prior.guess(known, noisy, tau, text.facts, told, prediction) + learned

    return predict


def build(config: Any, borrowed: Mapping[str, Borrowed]) -> Stage:
    """The denoiser's stage on a borrowed autoencoder and text tower."""
    base, features = borrowed["autoencoder"], borrowed["autoencoder"].config.model.features
    model, predict = network(config, features), predictor(config, features)
    read = alignment.reader(borrowed["alignment"])
    prediction, condition = config.process.prediction, config.condition

    def init(seed: int) -> Params:
        shape = tuple(int(round(side / config.data.spacing / 4)) for side in (192, 224, 192))
        latent, one = np.zeros((1, *shape, features), np.float32), np.ones(1, np.float32)
        width = borrowed["alignment"].config.model.width
        text = Text(np.zeros((1, 2, width), np.float32), np.ones((1, 2), bool), np.zeros((1, width), np.float32),
                    np.zeros((1, len(tokens.FACTS), 3), np.float32))
        weights = initialise(model, seed, latent, one, text, Image(latent, latent[..., :1], one, one), one, one)
        deaf = prior.empty((*shape, features), 3 * len(tokens.FACTS), config.prior.effects, config.prior.axes)
        return {"network": weights, "prior": deaf._asdict()}

    def start(params: Params, data: Any) -> Params:
        """The prior of the training latents; of a part of them, evenly taken, where all would not fit in memory."""
        rows, latent = data.cohort.rows("train"), data.represented["latent"]
        rows = rows[::-(-len(rows) * latent[0].size // MEMORY)]
        said = data.facts(rows, config.prior.draws)
        known = prior.fitted(latent[rows], said, prior.Prior(**params["prior"]), config.prior.ridge)
        return params | {"prior": known._asdict()}

    def text_of(frozen: Frozen, batch: Batch) -> Text:
        return read(frozen["alignment"], batch["words"], batch["words_mask"], batch["facts"])

    def image_of(batch: Batch, key: jax.Array, masked: float) -> Image:
        """The reference; in a share `masked` of rows, and where no other visit exists, the scan itself with a hole."""
        which, where = jax.random.split(key)
        latent = batch["latent"]
        same = jnp.maximum(batch["reference_same"], jax.random.bernoulli(which, masked, (len(latent),)))
        known = jnp.where(wide(same) > 0, 1.0 - hole(where, latent), 1.0)
        return Image(jnp.where(wide(same) > 0, latent, batch["reference"]), known, same,
                     (1.0 - same) * batch["reference_years"])

    def errors(params: Params, batch: Batch, key: jax.Array, text: Text, image: Image, told: jax.Array,
               shown: jax.Array) -> jax.Array:
        at, drawn = jax.random.split(key)
        latent = batch["latent"]
        tau = diffusion.levels(at, len(latent), config.process.levels, config.process.shift)
        noise = jax.random.normal(drawn, latent.shape)
        said = predict(params, diffusion.noised(latent, noise, tau, prediction), tau, text, image, told, shown)
        return losses.squared(said, diffusion.target(latent, noise, tau, prediction))

    def loss(params: Params, frozen: Frozen, batch: Batch, key: jax.Array) -> tuple[jax.Array, Values]:
        """The velocity (or noise) of a noised latent; each modality is forgotten by itself, so all subsets are seen."""
        level, forget_text, forget_image, show = jax.random.split(key, 4)
        rows = (len(batch["latent"]),)
        told = jax.random.bernoulli(forget_text, 1.0 - condition.forget_text, rows).astype(jnp.float32)
        shown = jax.random.bernoulli(forget_image, 1.0 - condition.forget_image, rows).astype(jnp.float32)
        text, image = text_of(frozen, batch), image_of(batch, show, condition.masked)
        each = errors(params, batch, level, text, image, told, shown)
        return jnp.mean(each), {"denoise": each}

    def evaluate(params: Params, frozen: Frozen, batch: Batch, key: jax.Array) -> Values:
        """The same noise and levels judged with each subset of conditions, and with the sentence of another patient."""
        level, show = jax.random.split(key)
        text, image = text_of(frozen, batch), image_of(batch, show, 0.0)
        # Half a batch away: neighbours are visits of one person.
        other = jax.tree.map(lambda x: jnp.roll(x, len(x) // 2, axis=0), text)
        one, none = jnp.ones(len(batch["latent"])), jnp.zeros(len(batch["latent"]))
        return {
            "denoise": errors(params, batch, level, text, image, one, one),
            "denoise_text": errors(params, batch, level, text, image, one, none),
            "denoise_image": errors(params, batch, level, text, image, none, one),
            "denoise_nothing": errors(params, batch, level, text, image, none, none),
            "denoise_shuffled_text": errors(params, batch, level, other, image, one, none),
        }

    return Stage("ldm", init, loss, evaluate, start=start, given=("prior",),
                 probes={"obedience": obedience(config, borrowed)},
                 frozen={"autoencoder": autoencoder.lent(base), "alignment": borrowed["alignment"].params},
                 represent=autoencoder.represent(base))


def obedience(config: Any, borrowed: Mapping[str, Borrowed]) -> Callable[[Params, Frozen, Any], Values]:
    """The probe that asks opposite sentences of the same seeds and measures the decoded labels.

    For each pair: both means (ml), their difference and its paired permutation p; slices of one seed; the sentences.
    """
    draw = jax.jit(sampling(config, borrowed), static_argnames=("subsets", "steps", "name", "keep"))
    read, decode = jax.jit(alignment.reader(borrowed["alignment"])), jax.jit(decoding(borrowed))
    count, statistics = ASKED.get(config.preset, SAMPLES), borrowed["autoencoder"].statistics
    weights = guidance.Weights(config.sampler.text_weight, 0.0).checked()

    def said(params: Params, frozen: Frozen, data: Any, prompt: str) -> Any:
        noise = jax.random.normal(jax.random.key(config.seed), (count, *data.represented["latent"].shape[1:]))
        words, mask = data.tokenizer.encode([prompt] * count, data.length)
        facts = np.stack([tokens.facts(language.parse(prompt).statement)] * count)
        empty = Image(jnp.zeros_like(noise), jnp.zeros((*noise.shape[:4], 1)), jnp.zeros(count), jnp.zeros(count))
        latent, _ = draw(params, noise, read(frozen["alignment"], words, mask, facts), empty, weights,
                         subsets=guidance.required(weights.terms()), steps=config.sampler.steps,
                         name=config.sampler.name)
        return decode(frozen["autoencoder"], latent)

    def probe(params: Params, frozen: Frozen, data: Any) -> Values:
        values: dict[str, Any] = {}
        for measured, much, little in contrasted(statistics):
            more, less = (said(params, frozen, data, prompt) for prompt in (much, little))
            high, low = (measure(labelled.labelled(decoded, statistics), config.data.spacing, measured)
                         for decoded in (more, less))
            name = f"obey_{measured.removesuffix('_ml')}"
            values |= {f"{name}/{much}": float(np.mean(high)), f"{name}/{little}": float(np.mean(low)),
                       f"{name}/difference_ml": float(np.mean(high) - np.mean(low)),
                       f"{name}/permutation_p": interval.permutation_p(high, low, paired=True, seed=config.seed),
                       f"{name}/prompts": f"{much} | {little}"}
            values |= {f"{name}/slices/{prompt}": labelled.page(
                np.asarray(one.volume), labelled.labelled(one, statistics), statistics["contrasts"][:1],
                config.data.spacing) for prompt, one in ((much, more), (little, less))}
        return values

    return probe


def contrasted(statistics: Values) -> list[tuple[str, str, str]]:
    """The opposite sentences whose answer can be measured with the labels that were learned."""
    return [asked for asked in CONTRASTED
            if ("lesions" if asked[0] == "lesion_volume_ml" else "structures") in statistics["labels"]]


def measure(said: labelled.Labelled, spacing: float, what: str) -> np.ndarray:
    """Lesion volume or thalamus volume (ml) of each example, from its hard labels."""
    if what == "lesion_volume_ml":
        return said.lesions.sum(axis=(1, 2, 3)) * definitions.voxel_ml(spacing)
    return np.array([biomarkers.volume_ml(one, what.removesuffix("_ml"), spacing) for one in said.structures])


def hole(key: jax.Array, latent: jax.Array) -> jax.Array:
    """A random box in each example, b z y x 1: between a fifth and all of each side."""
    at, size = jax.random.split(key)
    centre = jax.random.uniform(at, (len(latent), 1, 1, 1, 3), minval=-0.8, maxval=0.8)
    half = jax.random.uniform(size, centre.shape, minval=0.2, maxval=1.0)
    inside = jnp.abs(places(latent.shape[1:4])[None] - centre) <= half
    return jnp.all(inside, axis=-1, keepdims=True).astype(latent.dtype)


def wide(values: jax.Array) -> jax.Array:
    """One number an example against a latent."""
    return values[:, None, None, None, None]


def decoding(borrowed: Mapping[str, Borrowed]) -> Callable[[Params, jax.Array], Any]:
    """(autoencoder params, normalised latent) -> Decoded."""
    return autoencoder.decoder(borrowed["autoencoder"])


def sampling(config: Any, borrowed: Mapping[str, Borrowed]) -> Callable[..., tuple[jax.Array, Any]]:
    """A function that draws latents. Weights are traced: a sweep compiles once for each set of subsets.

    (params, noise, text, image, weights, subsets, steps, name, keep) -> (latent, kept). `weights`: checked; `subsets`:
    those to evaluate, in one batched call. keep=True (needs all four) also returns {"text", "image": t b shares,
    "map_text", "map_image": t b z y x share of each place, "interaction": t b}.
    """
    predict, prediction = predictor(config, borrowed["autoencoder"].config.model.features), config.process.prediction
    # Less than the noise that was trained on: nearer to the mean, and less of it is taken for lesions.
    along, beside = config.sampler.temperature, config.sampler.detail

    def draw(params: Params, noise: jax.Array, text: Text, image: Image, weights: guidance.Weights,
             subsets: tuple[guidance.Subset, ...], steps: int, name: sampler.Name = "heun",
             keep: bool = False) -> tuple[jax.Array, Any]:
        count, many, terms = len(noise), len(subsets), weights.terms()
        told = jnp.repeat(jnp.array([float("text" in subset) for subset in subsets]), count)
        shown = jnp.repeat(jnp.array([float("image" in subset) for subset in subsets]), count)
        texts, images = (jax.tree.map(lambda x: jnp.concatenate([x] * many), some) for some in (text, image))

        def field(x: jax.Array, tau: jax.Array) -> tuple[jax.Array, Any]:
            levels = jnp.full((count * many,), tau)
            stacked = jnp.concatenate([x] * many)
            said = predict(params, stacked, levels, texts, images, told, shown)
            flows = jnp.split(diffusion.velocity(said, stacked, levels, prediction), many)
            predictions = dict(zip(subsets, flows, strict=True))
            return guidance.fuse(predictions, terms), contribution.decided(predictions, terms) if keep else None

        noise = prior.tempered(prior.Prior(**params["prior"]), noise, along, beside)
        return sampler.integrate(field, noise, sampler.times(steps, config.process.shift), name)

    return draw
