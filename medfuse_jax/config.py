"""What every config has, and how a preset is chosen. Config files import this and nothing else of ours."""

from collections.abc import Mapping
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from medfuse_jax.errors import MedFuseError

PRESETS = ("tiny", "local", "gpu", "pod")

# What a preset means for the data is the same for all stages: one family, one grid, one cohort.
GRIDS: dict[str, dict[str, Any]] = {
    "tiny": dict(spacing=8.0, subjects=8, visits=2),
    "local": dict(spacing=4.0, subjects=160, visits=2),
    "gpu": dict(spacing=2.0, subjects=1000, visits=2),
    "pod": dict(spacing=1.0, subjects=4000, visits=3),
}

# Fields that take one of a few values, and how small or large the numbers of others may be: a mistake is told before
# anything is built.
CHOICES: dict[str, tuple[Any, ...]] = {
    "dtype": ("float32", "bfloat16"), "data.spacing": tuple(settings["spacing"] for settings in GRIDS.values()),
    "data.language": ("en", "fr", "both"), "optimizer.decay": ("cosine", "constant"),
    "process.prediction": ("flow", "v", "eps"), "process.levels": ("logit_normal", "uniform"),
    "sampler.name": ("euler", "heun"), "loss.kind": ("infonce", "siglip"),
    "text.tune": ("frozen", "lora", "full"),
}
LEAST: dict[str, float] = {
    "steps": 1, "batch": 1, "seed": 0, "log_every": 0, "evaluate_every": 0, "checkpoint_every": 0, "mesh.space": 1,
    "data.subjects": 1, "data.visits": 1, "data.seed": 0, "data.jobs": 0,
    "data.gadolinium": 0, "data.missing": 0, "data.randomise": 0,
    "optimizer.rate": 0, "optimizer.warmup": 0, "optimizer.weight_decay": 0, "optimizer.clip": 0, "optimizer.ema": 0,
    "optimizer.accumulate": 1, "sampler.steps": 1, "sampler.text_weight": 0, "sampler.image_weight": 0,
    "sampler.temperature": 0, "sampler.detail": 0, "process.shift": 0.01, "model.heads": 1, "model.width": 1,
    "model.depth": 1, "model.patch": 1, "model.features": 1,
    "condition.forget_text": 0, "condition.forget_image": 0, "condition.masked": 0,
    "loss.forget_contrast": 0, "loss.gradient": 0, "loss.lesion": 0, "loss.structures": 0, "loss.lesions": 0,
    "loss.divergence": 0, "loss.planes": 0, "text.length": 2, "text.lora.rank": 1, "text.lora.alpha": 0,
}
MOST: dict[str, float] = {
    "seed": 2**31 - 1, "data.seed": 2**31 - 1, "optimizer.rate": 1, "optimizer.weight_decay": 1,
    "optimizer.ema": 0.99999, "sampler.steps": 1000, "sampler.text_weight": 100, "sampler.image_weight": 100,
    "sampler.temperature": 2, "sampler.detail": 2, "process.shift": 100, "batch": 65_536, "data.subjects": 100_000,
    "data.visits": 100, "data.gadolinium": 1, "data.missing": 1, "data.randomise": 1,
    "condition.forget_text": 1, "condition.forget_image": 1, "condition.masked": 1,
    "loss.forget_contrast": 1, "loss.gradient": 1e4, "loss.lesion": 1e4, "loss.structures": 1e4, "loss.lesions": 1e4,
    "loss.divergence": 1e4,
}


def base(stage: str, borrow: tuple[str, ...] = ()) -> ConfigDict:
    """The fields that every stage has, in the order of the story. Stage files add `model` and their own fields."""
    return ConfigDict(dict(
        stage=stage,
        preset="",
        steps=1000,
        batch=8,                      # global
        seed=0,
        log_every=10,
        evaluate_every=1000,
        checkpoint_every=1000,
        mesh=dict(data=-1, space=1),  # -1: all devices that space leaves
        data=dict(
            source="simulated",       # or the path of a BIDS tree or of a prepared folder
            spacing=4.0, subjects=160, visits=2, seed=0, jobs=0,      # jobs 0: one a core
            language="both",          # en | fr | both
            gadolinium=0.0, missing=0.0, randomise=0.0,     # of simulated visits: launch/simulate.py --help
        ),
        model=dict(),
        optimizer=dict(rate=1e-3, warmup=20, decay="cosine", weight_decay=0.01, clip=1.0, ema=0.99, accumulate=1),
        dtype="float32",              # of the computation; parameters stay float32
        remat=False,
        borrow={name: "" for name in borrow},        # empty: WORKDIR/NAME
    ))


def apply(config: ConfigDict, preset: str, presets: Mapping[str, Mapping[str, Any]]) -> ConfigDict:
    """`config` under a preset; "auto" picks by the kind of device and says so in one line."""
    chosen = resolve(preset)
    config.preset = chosen
    config.data.update(GRIDS[chosen])
    config.update(ConfigDict(presets.get(chosen, {})))
    return config


def resolve(preset: str) -> str:
    """tiny, local, gpu or pod as asked; auto by device kind (jax is asked only then, after jax.distributed)."""
    if preset in PRESETS:
        return preset
    if preset != "auto":
        raise MedFuseError(f"preset {preset!r} does not exist: choose one of {', '.join(PRESETS)}, auto")
    import jax  # late: --help and a named preset need no accelerator runtime

    platform, devices = jax.default_backend(), jax.device_count()
    if platform == "cpu":
        chosen, why = "local", "no accelerator found"
    elif platform == "tpu" or jax.process_count() > 1 or devices >= 8:
        chosen, why = "pod", f"{devices} {platform} devices"
    else:
        chosen, why = "gpu", f"{devices} {platform} device(s): {jax.devices()[0].device_kind}"
    logging.info("preset %s (%s): %g mm grid; name another with --config=configs/STAGE.py:PRESET",
                 chosen, why, GRIDS[chosen]["spacing"])
    return chosen
