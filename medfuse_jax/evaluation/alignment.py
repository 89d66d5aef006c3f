"""The alignment's suite: does the right sentence come back for an image, the right image for a sentence, a finding?"""

import jax
import numpy as np

from medfuse_jax.evaluation import zero_shot
from medfuse_jax.evaluation.estimate import Figure, by_person, estimate
from medfuse_jax.evaluation.judged import Judged
from medfuse_jax.metrics import retrieval
from medfuse_jax.metrics.catalogue import cited
from medfuse_jax.stages import alignment

TOWERS = ("latent", "words", "words_mask", "facts")
RANKS = (1, 5, 10)


def figures(judged: Judged) -> dict[str, Figure]:
    """Recall both ways among all studies judged; chance is exact and counts equal sentences as equally right."""
    towers, parts, examples = alignment.aligner(judged.config), [], judged.examples(alignment.READS)
    align = jax.jit(lambda params, batch: towers(params, batch)[:2])
    for real, batch in judged.batches(examples):
        image, text = align(judged.params, {name: batch[name] for name in TOWERS})
        parts.append([np.asarray(one)[:real] for one in (image, text, batch["facts"])])
    image, text, facts = (np.concatenate(some) for some in zip(*parts, strict=True))
    identities = np.unique(facts.reshape(len(facts), -1), axis=0, return_inverse=True)[1].reshape(-1)
    found = {}
    for way, similarity in (("image_to_text", image @ text.T), ("text_to_image", text @ image.T)):
        for k in RANKS:
            hit = by_person(retrieval.hits_at(similarity, identities, k), judged.people)
            chance = {"chance": retrieval.chance_at(identities, k)}
            reference = (f"the right one is among the first {k} of {len(identities)} studies; sentences of equal facts "
                         f"are equally right; chance: a random order; {cited('recall_at')}")
            found[f"{way}_r@{k}"] = estimate(hit, chance, True, reference, judged.seed)
    some = examples.represented["latent"][:1].astype(np.float32)
    return found | zero_shot.figures(judged, align, image, some, examples.tokenizer, examples.length)
