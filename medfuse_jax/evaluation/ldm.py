"""The LDM's suite: does the sentence matter, does the dial do what it says, does the true sentence help to denoise?"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from medfuse_jax.data import language
from medfuse_jax.data.pipeline import Examples
from medfuse_jax.evaluation.estimate import Figure, by_person, estimate, law
from medfuse_jax.evaluation.judged import Judged
from medfuse_jax.medfuse import BATCH, MedFuse, Reference
from medfuse_jax.methods import guidance
from medfuse_jax.metrics import agreement, interval
from medfuse_jax.stages import autoencoder, labelled, ldm

RISES = {"lesion_volume_ml": True, "thalamus_ml": False}      # what ldm.CONTRASTED asks first: more?
TEXT_WEIGHTS = (0.5, 1.0, 2.0, 4.0)         # the dial's positions at which shares are measured
SHOWN = 8                                   # people whose held-out scan is shown beside a sentence
ANY = ldm.CONTRASTED[0][1]                  # where it does not matter which sentence
LEAST_SHARE = 1e-9                          # shares that vary by less have no order


class Asked:
    """The family, asked with the same seeds for each sentence; what was drawn is kept."""

    def __init__(self, judged: Judged):
        self.model, self.seed, self.config = MedFuse(judged.members, judged.workdir), judged.seed, judged.config
        self.spacing, self.statistics = judged.config.data.spacing, judged.members["autoencoder"].statistics
        self.drawn: dict[tuple[str, float], np.ndarray] = {}

    @cached_property
    def _decode(self) -> Any:
        return jax.jit(ldm.decoding(self.model.borrowed))

    def draw(self, prompt: str, weights: guidance.Weights, numbers: Sequence[int], reference: Reference | None = None,
             keep: bool = False) -> tuple[np.ndarray, Any]:
        """Latents of some seeds, and what was kept of each step (keep: shares)."""
        needed = guidance.subsets(guidance.BOTH) if keep else guidance.required(weights.terms())
        latents, kept = self.model.draw(prompt, language.parse(prompt), reference, weights, needed, numbers, self.seed,
                                        self.config.sampler.steps, keep)
        return np.asarray(latents), kept

    def latents(self, prompt: str, text_weight: float, number: int) -> np.ndarray:
        """The latents of seeds 0, 1, ... for a sentence alone."""
        if len(self.drawn.get((prompt, text_weight), ())) < number:
            weights = guidance.Weights(text_weight, 0.0).checked()
            starts = tqdm(range(0, number, BATCH), f"{prompt}, weight {text_weight:g}", unit="batch", leave=False)
            parts = [self.draw(prompt, weights, range(start, min(start + BATCH, number)))[0] for start in starts]
            self.drawn[prompt, text_weight] = np.concatenate(parts)
        return self.drawn[prompt, text_weight][:number]

    def decoded(self, latents: np.ndarray) -> list[Any]:
        """Decoded batches of latents."""
        lent = autoencoder.lent(self.model.stage("autoencoder"))
        return [self._decode(lent, latents[start:start + BATCH]) for start in range(0, len(latents), BATCH)]

    def measure(self, latents: np.ndarray, what: str) -> np.ndarray:
        """A volume (ml) of each sample, from its hard labels."""
        return np.concatenate([ldm.measure(labelled.labelled(some, self.statistics), self.spacing, what)
                               for some in self.decoded(latents)])


def figures(judged: Judged) -> dict[str, Figure]:
    """Text matters, the dial, the shares, the denoising loss."""
    asked, found = Asked(judged), {}
    for measured, much, little in ldm.contrasted(asked.statistics):
        found |= obedience(asked, judged.number, measured, much, little)
    examples = judged.examples(ldm.READS)
    found |= silence(asked, judged.number) | shares(asked, judged, examples.represented["latent"])
    return found | denoising(judged, examples)


def obedience(asked: Asked, number: int, measured: str, much: str, little: str) -> dict[str, Figure]:
    """Two opposite sentences with the same seeds: what is measured of each, their difference, and how pairs lie."""
    weight, rises, seed = asked.config.sampler.text_weight, RISES[measured], asked.seed
    high, low, silent = (asked.measure(asked.latents(prompt, at, number), measured)
                         for prompt, at in ((much, weight), (little, weight), (ANY, 0.0)))
    pairs = order(high[:, None] - low[None], rises)
    strangers = float(pairs[~np.eye(number, dtype=bool)].mean())
    flips = np.random.default_rng(seed).choice((-1.0, 1.0), (2000, number))
    dealt = float(np.mean(np.abs(flips @ (high - low)) / number)) * (1 if rises else -1)
    told = f"of {number} seeds, the same for both, at text weight {weight:g}; n and interval are of seeds"
    without = {"text_weight_0": float(silent.mean())}
    found = {f"{measured}/{prompt}": estimate(values, without, more, f"ml, {told}; text_weight_0: without text", seed)
             for prompt, values, more in ((much, high, rises), (little, low, not rises))}
    found[f"{measured}/difference"] = estimate(
        high - low, {"text_weight_0": 0.0, "shuffled_prompts": dealt}, rises,
        f"ml, {much!r} minus {little!r}, {told}; text_weight_0: 0 by construction; shuffled_prompts: mean size when "
        "the two are dealt at random in each pair; permutation_p: of those, how many are as large", seed)
    found[f"{measured}/difference"]["permutation_p"] = interval.permutation_p(high, low, seed=seed, paired=True)
    found[f"{measured}/pairs_in_order"] = estimate(
        np.diag(pairs), {"text_weight_0": 0.5, "shuffled_pairs": strangers}, True,
        f"share with {'more' if rises else 'less'} for {much!r} than for {little!r}, equal ones half, {told}; "
        "text_weight_0: all equal by construction; shuffled_pairs: every pair of two seeds", seed)
    return found


def order(difference: np.ndarray, rises: bool) -> np.ndarray:
    """1 where a difference has the sign that was asked for, 0 where it has the other, one half where there is none."""
    return (np.sign(difference if rises else -difference) + 1.0) / 2.0


def silence(asked: Asked, number: int) -> dict[str, Figure]:
    """At text weight 0 two sentences give one and the same sample."""
    (_, *prompts), *_ = ldm.CONTRASTED
    weight, apart = asked.config.sampler.text_weight, {}
    for at in (0.0, weight):
        latents = [asked.latents(prompt, at, min(number, BATCH)) for prompt in prompts]
        volumes = [np.concatenate([np.asarray(some.volume) for some in asked.decoded(one)]) for one in latents]
        for what, (one, other) in (("latent", latents), ("volume", volumes)):
            apart[what, at] = np.abs(one - other).reshape(len(one), -1).max(axis=1)
    return {f"dial_zero_{what}": law(apart[what, 0.0], {f"text_weight_{weight:g}": float(apart[what, weight].max())},
                                     f"largest difference of {what}s between {prompts[0]!r} and {prompts[1]!r} at text "
                                     "weight 0, at most 1e-6; n: seeds") for what in ("latent", "volume")}


def shares(asked: Asked, judged: Judged, latents: np.ndarray) -> dict[str, Figure]:
    """With a held-out person's scan as the image: shares sum to 1, and the text's grows with its weight."""
    shown = np.unique(judged.people, return_index=True)[1][:SHOWN]
    text, errors = np.zeros((len(shown), len(TEXT_WEIGHTS))), []
    for person, row in enumerate(tqdm(shown, "shares", unit="person", leave=False)):
        latent = latents[row:row + 1].astype(np.float32)
        # A latent of the cohort lies on the model's grid already: there is no scan to go back to.
        reference = Reference(latent, np.ones((*latent.shape[:4], 1), np.float32), {}, None, None)
        for place, weight in enumerate(TEXT_WEIGHTS):
            _, kept = asked.draw(ANY, guidance.Weights(weight, 1.0).checked(), [person], reference, keep=True)
            told = {name: np.asarray(kept[name], np.float64)[:, 0] for name in ("text", "image")}
            text[person, place] = told["text"].mean()
            errors.append(np.abs(told["text"] + told["image"] - 1.0).max())
    found = {"shares_sum_error": law(errors, {"none": None}, "largest |text + image - 1| over steps, people and text "
                                     f"weights {TEXT_WEIGHTS}, at most 1e-5; no baseline: it is arithmetic")}
    ranks = np.array([agreement.spearman(np.array(TEXT_WEIGHTS), one) if np.ptp(one) > LEAST_SHARE else np.nan
                      for one in text])
    if np.isnan(ranks).all():
        logging.info("ldm: dial_text_share_spearman is left out: the text's share never varies")
        return found
    reference = (f"in each held-out person: rank correlation of the text's share with text weights {TEXT_WEIGHTS}, for "
                 f"{ANY!r} beside that person's scan at image weight 1; shuffled_weights: 0 in expectation")
    baseline = {"shuffled_weights": 0.0}
    return found | {"dial_text_share_spearman": estimate(ranks, baseline, True, reference, judged.seed)}


def denoising(judged: Judged, examples: Examples) -> dict[str, Figure]:
    """The stage's own judgement of each study, and what its sentence saves beside another patient's and beside none."""
    evaluate, parts, seed = jax.jit(judged.stage.evaluate), [], judged.seed
    for step, (real, batch) in enumerate(judged.batches(examples)):
        key = jax.random.fold_in(jax.random.key(seed), step)
        said = evaluate(judged.params, judged.stage.frozen, batch, key)
        parts.append({name: np.asarray(value, np.float64)[:real] for name, value in said.items()})
    each = {name: by_person(np.concatenate([part[name] for part in parts]), judged.people) for name in parts[0]}
    others = {"shuffled_text": each["denoise_shuffled_text"], "no_text": each["denoise_nothing"]}
    means = {name: float(loss.mean()) for name, loss in others.items()}
    found = {"denoise_text": estimate(
        each["denoise_text"], means, False, "squared error of the network's target, told the true sentence; "
        "shuffled_text: another patient's sentence; no_text: nothing; the same noise for all", seed)}
    for name, given in (("denoise", "the true sentence and an image"), ("denoise_image", "an image")):
        found[name] = estimate(each[name], {"nothing": means["no_text"]}, False,
                               f"squared error of the network's target, given {given}; nothing: neither", seed)
    for name, loss in others.items():
        found[f"denoise_saved_beside_{name}"] = estimate(
            loss - each["denoise_text"], {"no_effect": 0.0}, True,
            f"squared error with {name} minus that with the true sentence, in each person", seed)
    return found
