"""Latent diffusion: a volume and its mask from a sentence and an image, each with its own weight.

    python launch/train.py --config=configs/ldm.py:local --workdir=runs

Borrows the autoencoder and the alignment's text tower (trained first when missing).
What each preset reaches: docs/results.md.
"""

from medfuse_jax.config import apply, base

PRESETS = {
    "tiny": dict(steps=4, batch=4, log_every=1, evaluate_every=4, checkpoint_every=2,
                 model=dict(width=32, depth=1, heads=2), sampler=dict(steps=2)),
    "local": dict(steps=256, batch=12, log_every=16, evaluate_every=256, checkpoint_every=128,
                  prior=dict(ridge=60.0), sampler=dict(detail=0.5)),
    "gpu": dict(steps=40000, batch=64, log_every=100, evaluate_every=5000, checkpoint_every=2500, dtype="bfloat16",
                model=dict(width=512, depth=12, heads=8), optimizer=dict(rate=3e-4, warmup=1000, ema=0.9995)),
    "pod": dict(steps=100000, batch=256, log_every=100, evaluate_every=10000, checkpoint_every=5000, dtype="bfloat16",
                remat=True, mesh=dict(data=16, space=2),
                model=dict(width=768, depth=16, heads=12), optimizer=dict(rate=2e-4, warmup=2000, ema=0.9999)),
}


def get_config(preset: str = "auto"):
    config = base("ldm", borrow=("autoencoder", "alignment"))
    config.model = dict(width=160, depth=3, heads=2, patch=2)
    config.process = dict(
        prediction="flow",            # flow | v | eps
        levels="logit_normal",        # logit_normal | uniform
        shift=3.0,                    # more levels near the noise, where text and image decide
    )
    config.prior = dict(
        effects=8, axes=32,          # of the Gaussian that the network corrects: what facts do; how people differ
        ridge=100.0, draws=16,        # its shrinkage, in studies; sentences drawn of each study
    )
    config.condition = dict(
        forget_text=0.15, forget_image=0.5,       # independently: all four subsets are trained
        masked=0.25,                              # share of the shown images that are the scan itself with a hole
    )
    config.sampler = dict(name="heun", steps=10, text_weight=3.0, image_weight=1.0,
                          temperature=1.0, detail=1.0)     # of the noise: on the prior's axes, and beside them
    config.optimizer.rate = 1.5e-3
    return apply(config, preset, PRESETS)
