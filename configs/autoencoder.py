"""Autoencoder: any subset of contrasts to one latent (f = 4), the latent to all contrasts and label logits.

    python launch/train.py --config=configs/autoencoder.py:local --workdir=runs

local: 2 CPU cores, 4 mm. gpu: 2 mm. pod: 1 mm, mesh 16 x 2. What each reaches: docs/results.md.
"""

from medfuse_jax.config import apply, base

PRESETS = {
    "tiny": dict(steps=4, batch=2, log_every=1, evaluate_every=4, checkpoint_every=2,
                 model=dict(widths=(8, 16), encoder_blocks=(0, 1), decoder_blocks=(1, 1), features=4)),
    "local": dict(steps=640, batch=1, log_every=40, evaluate_every=640, checkpoint_every=320,
                  model=dict(features=96), optimizer=dict(rate=2e-3, warmup=20)),
    "gpu": dict(steps=12000, batch=8, log_every=50, evaluate_every=2000, checkpoint_every=1000, dtype="bfloat16",
                model=dict(widths=(64, 192), encoder_blocks=(1, 4), decoder_blocks=(2, 4)), loss=dict(planes=16),
                optimizer=dict(rate=6e-4, warmup=500, ema=0.999)),
    "pod": dict(steps=50000, batch=32, log_every=100, evaluate_every=5000, checkpoint_every=2500, dtype="bfloat16",
                remat=True, mesh=dict(data=16, space=2),
                model=dict(widths=(64, 256), encoder_blocks=(1, 4), decoder_blocks=(2, 4)), loss=dict(planes=32),
                optimizer=dict(rate=4e-4, warmup=1000, ema=0.9995)),
}


def get_config(preset: str = "auto"):
    config = base("autoencoder")
    # widths and residual blocks at 1/2 and at 1/4 of the grid
    config.model = dict(widths=(32, 64), encoder_blocks=(0, 1), decoder_blocks=(0, 2), features=64)
    config.loss = dict(
        forget_contrast=0.2,      # share of the examples in which some contrasts are hidden from the encoder
        gradient=0.5,             # edges: difference of the spatial gradients
        lesion=6.0,               # how much heavier an error inside a lesion counts
        structures=0.5, lesions=1.0, divergence=1e-4,
        planes=6,                 # pairs of slices whose structures are judged in a step, drawn anew each time (0: all)
    )
    config.optimizer.rate = 4e-3
    return apply(config, preset, PRESETS)
