"""Alignment: a text tower and an image tower into one space.

    python launch/train.py --config=configs/alignment.py:local --workdir=runs

Borrows the autoencoder (trained first when missing). What each preset reaches: docs/results.md.
"""

from medfuse_jax.config import apply, base

PRESETS = {
    "tiny": dict(steps=4, batch=4, log_every=1, evaluate_every=4, checkpoint_every=2,
                 model=dict(width=16, heads=2, text_depth=1, image_depth=1, embedding=16), text=dict(vocabulary=512)),
    "local": dict(steps=160, batch=32, log_every=20, evaluate_every=160, checkpoint_every=80),
    "gpu": dict(steps=10000, batch=256, log_every=50, evaluate_every=2000, checkpoint_every=1000, dtype="bfloat16",
                model=dict(width=384, heads=6, text_depth=4, image_depth=4, embedding=256),
                optimizer=dict(rate=5e-4, warmup=500, ema=0.999)),
    "pod": dict(steps=30000, batch=1024, log_every=100, evaluate_every=5000, checkpoint_every=2500, dtype="bfloat16",
                mesh=dict(data=32, space=1),
                model=dict(width=512, heads=8, text_depth=6, image_depth=6, embedding=256),
                optimizer=dict(rate=5e-4, warmup=1000, ema=0.9995)),
}


def get_config(preset: str = "auto"):
    config = base("alignment", borrow=("autoencoder",))
    config.model = dict(width=64, heads=4, text_depth=2, image_depth=1, embedding=64, patch=2)
    config.text = dict(
        length=96, vocabulary=2048, facts=True,      # facts: findings tokens beside the words
        pretrained="",                               # or the folder of a BERT, RoBERTa, ModernBERT or CLIP checkpoint
        tune="frozen",                               # of it: frozen | lora | full
        lora=dict(rank=8, alpha=16.0),
        encoder=dict(),                              # what the checkpoint is: read from its folder, kept with the run
    )
    config.loss = dict(kind="infonce")                             # infonce | siglip
    config.optimizer.rate = 2e-3
    return apply(config, preset, PRESETS)
