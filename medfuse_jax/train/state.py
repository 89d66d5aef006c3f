"""What training carries from step to step, and the step itself."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from medfuse_jax.errors import MedFuseError
from medfuse_jax.stages.stage import Batch, Frozen, Params, Stage, Values

# params, opt, ema ({} without one): trees of arrays;  given: parameters that stay as they start;
# step: updates asked for, skipped ones counted;  skipped: {"row": in a row until now, "total"}
State = dict[str, Any]
# Stacked by a scan over layers these have two axes, and are still no matrices.
NO_DECAY = ("bias", "scale", "offset")


def schedule(config: ConfigDict) -> Callable[[Any], Any]:
    """Learning rate of an update: a linear rise from the first one on, then half a cosine down to 0 (or constant)."""
    settings = config.optimizer
    if settings.decay not in ("cosine", "constant"):
        raise MedFuseError(f"optimizer.decay={settings.decay}: must be cosine or constant")

    def rate(count):
        rise = jnp.minimum(1.0, (count + 1) / max(settings.warmup, 1))
        gone = jnp.clip((count - settings.warmup) / max(config.steps - settings.warmup, 1), 0.0, 1.0)
        fall = 0.5 * (1 + jnp.cos(math.pi * gone)) if settings.decay == "cosine" else 1.0
        return settings.rate * rise * fall
    return rate


def decayed(params: Params) -> Params:
    """True for the leaves that weight decay pulls at: matrices and kernels."""
    def matrix(path, leaf):
        return leaf.ndim >= 2 and str(getattr(path[-1], "key", "")) not in NO_DECAY
    return jax.tree_util.tree_map_with_path(matrix, params)


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) under a global-norm clip (0: none)."""
    settings = config.optimizer
    clip = optax.clip_by_global_norm(settings.clip) if settings.clip else optax.identity()
    # b2 = 0.99: a memory of 100 updates suits runs of a few hundred steps, too.
    return optax.chain(clip, optax.adamw(schedule(config), b1=0.9, b2=0.99, weight_decay=settings.weight_decay,
                                         mask=decayed))


def create(stage: Stage, config: ConfigDict, data: Any = None) -> State:
    """The state before the first update, as host arrays; fitted to the data where they are given."""
    params = jax.tree.map(np.asarray, stage.init(config.seed))
    if data is not None and stage.start is not None:
        params = stage.start(params, data.whole())
    given = {name: params[name] for name in stage.given}
    params = {name: params[name] for name in params if name not in given}
    # Every moment and counter of the chain begins at zero: its shape is all there is to know.
    shapes = jax.eval_shape(optimizer(config).init, params)
    moments = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    ema = jax.tree.map(np.copy, params) if config.optimizer.ema else {}
    zero = np.zeros((), np.int32)
    return dict(params=params, opt=moments, ema=ema, given=given, step=zero,
                skipped=dict(row=zero.copy(), total=zero.copy()))


def averaged(state: State) -> Params:
    """The parameters to judge and to lend: the moving average where one is kept, and what was given."""
    return (state["ema"] or state["params"]) | state["given"]


def gradient(stage: Stage, accumulate: int) -> Callable[[Params, Params, Frozen, Batch, Any], tuple[Params, Values]]:
    """Gradient and mean values of a batch, seen in `accumulate` micro-batches one after the other."""
    differentiate = jax.value_and_grad(lambda params, given, *rest: stage.loss(params | given, *rest), has_aux=True)

    def once(params, given, frozen, batch, key):
        (loss, values), slope = differentiate(params, given, frozen, batch, key)
        return slope, {name: jnp.mean(value.astype(jnp.float32)) for name, value in values.items()} | {"loss": loss}

    def several(params, given, frozen, batch, key):
        # Row r goes to micro-batch r % accumulate: each device keeps the rows that it has.
        parts = {name: jnp.moveaxis(rows.reshape(-1, accumulate, *rows.shape[1:]), 1, 0)
                 for name, rows in batch.items()}
        shapes = jax.eval_shape(once, params, given, frozen, {name: rows[0] for name, rows in parts.items()}, key)

        def add(total, part):
            place, rows = part
            return jax.tree.map(jnp.add, total, once(params, given, frozen, rows, jax.random.fold_in(key, place))), None

        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zero, (jnp.arange(accumulate), parts))
        return jax.tree.map(lambda leaf: leaf / accumulate, total)

    return once if accumulate == 1 else several


def train_step(stage: Stage, config: ConfigDict) -> Callable[[State, Frozen, Batch], tuple[State, Values]]:
    """(state, frozen, batch) -> (state, scalars).

    An update whose loss or gradient is not finite is skipped and counted.
    """
    settings, chain, rate = config.optimizer, optimizer(config), schedule(config)
    see = gradient(stage, settings.accumulate)

    def step(state, frozen, batch):
        key = jax.random.fold_in(jax.random.key(config.seed), state["step"])
        slope, scalars = see(state["params"], state["given"], frozen, batch, key)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(slope)))
        good = jnp.isfinite(scalars["loss"]) & jnp.isfinite(norm)

        updates, moments = chain.update(slope, state["opt"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        new = dict(params=params, opt=moments, ema={})
        if settings.ema:
            # Early on the average forgets its random start: after n updates it spans a tenth of them, until `ema`.
            done = state["step"].astype(jnp.float32)
            decay = jnp.minimum(settings.ema, (1 + done) / (10 + done))
            new["ema"] = optax.incremental_update(params, state["ema"], 1 - decay)
        old = {name: state[name] for name in new}
        new = jax.tree.map(lambda fresh, stale: jnp.where(good, fresh, stale), new, old)

        skipped = dict(row=jnp.where(good, 0, state["skipped"]["row"] + 1),
                       total=state["skipped"]["total"] + jnp.where(good, 0, 1))
        scalars = scalars | dict(grad_norm=norm, rate=rate(state["step"]),
                                 skipped=skipped["total"], skipped_row=skipped["row"])
        return new | dict(given=state["given"], step=state["step"] + 1, skipped=skipped), scalars

    return step


def evaluate_step(stage: Stage, seed: int) -> Callable[[Params, Frozen, Batch, Any], dict[str, tuple[Any, Any]]]:
    """(params, frozen, batch, place of the batch) -> {name: (weighted sum of the value, sum of its weights)}."""
    def step(params, frozen, batch, place):
        weight = batch["weight"].astype(jnp.float32)
        values = stage.evaluate(params, frozen, batch, jax.random.fold_in(jax.random.key(seed), place))
        sums = {}
        for name, value in values.items():
            value, own = value if isinstance(value, tuple) else (value, jnp.ones_like(weight))
            # Rows of weight 0 are padding, or have no such value: what was computed on them, even NaN, is left out.
            counted = weight * own
            sums[name] = jnp.sum(jnp.where(counted > 0, value * counted, 0.0)), jnp.sum(counted)
        return sums

    return step
