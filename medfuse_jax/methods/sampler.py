"""From noise to data along the probability flow: Euler and Heun in one compiled scan."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Float

from medfuse_jax.axes import Array, Latent
from medfuse_jax.methods.diffusion import LARGEST_LEVEL, shifted

Name = Literal["euler", "heun"]
Field = Callable[[Latent, Float[Array, ""]], tuple[Latent, Any]]       # (x, tau) -> velocity, anything to keep


def times(steps: int, shift: float = 1.0) -> Float[Array, "t"]:
    """`steps` + 1 noise levels from noise to data; a shift above 1 spends more steps near the noise (Esser 2024)."""
    tau = jnp.linspace(1.0, 0.0, steps + 1)
    return jnp.minimum(shifted(tau, shift), LARGEST_LEVEL)


def integrate(field: Field, x: Latent, levels: Float[Array, "t"], name: Name = "heun") -> tuple[Latent, Any]:
    """x carried from levels[0] to levels[-1]; and what the field kept at the start of each step, stacked in front.

    Euler is exact for a constant velocity, Heun for one that is linear in tau. Heun's last step is Euler's: at tau = 0
    there is nothing left to learn from a second look (Karras 2022).
    """
    def euler(x: Latent, pair: Array) -> tuple[Latent, Any]:
        here, there = pair
        slope, kept = field(x, here)
        return x + (there - here) * slope, kept

    def heun(x: Latent, pair: Array) -> tuple[Latent, Any]:
        here, there = pair
        slope, kept = field(x, here)
        ahead, _ = field(x + (there - here) * slope, there)
        return x + (there - here) * 0.5 * (slope + ahead), kept

    pairs = jnp.stack([levels[:-1], levels[1:]], axis=-1)
    if name == "euler":
        return jax.lax.scan(euler, x, pairs)
    x, kept = jax.lax.scan(heun, x, pairs[:-1])
    x, last = euler(x, pairs[-1])
    return x, jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), kept, last)
