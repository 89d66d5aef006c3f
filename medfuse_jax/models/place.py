"""Where an activation lies: batch over the mesh axis `data`, depth over `space`. All that a model says of devices."""

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

# Letters of the alphabet that are spread; every other axis is kept whole on a device.
SPREAD = {"b": "data", "d": "space", "z": "space", "r": "space"}      # r: tokens of a latent, depth first


def constrain(x: jax.Array, axes: str) -> jax.Array:
    """`x` laid out by its letters ("b d h w c") on the mesh in scope; `x` itself where there is no mesh.

    An axis that does not divide by its mesh axis is left to the compiler.
    """
    mesh = jax.sharding.get_abstract_mesh()
    letters = axes.split()
    if len(letters) != x.ndim:
        raise ValueError(f"{axes!r} names {len(letters)} axes of an array of shape {x.shape}")
    sizes = {name: size for name, size, kind in zip(mesh.axis_names, mesh.axis_sizes, mesh.axis_types, strict=True)
             if kind == AxisType.Auto}
    spread = [SPREAD.get(letter) for letter in letters]
    if mesh.empty or not any(sizes.get(name, 1) > 1 for name in spread):
        return x
    spec = [None if name is None else name if name in sizes and length % sizes[name] == 0 else P.UNCONSTRAINED
            for name, length in zip(spread, x.shape, strict=True)]
    return jax.lax.with_sharding_constraint(x, P(*spec))
