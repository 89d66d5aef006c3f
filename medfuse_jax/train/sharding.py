"""Which device holds what, said once: processes, the mesh, the place of parameters and of batches."""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from medfuse_jax.errors import MedFuseError
from medfuse_jax.train import signals

AXES = ("data", "space")
LARGE = 2**18        # elements from which a parameter is worth splitting (1 MiB in float32)
SEEN_S = 60          # within which a network disk shows other machines a new folder


def initialise() -> None:
    """Join the other processes when a cluster is found (SLURM, Open MPI, TPU pod, Kubernetes job) or asked for.

    Asked for: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID. Must come before any device is touched.
    """
    # jax's own notice of preemption swallows SIGTERM; train/signals.py is what catches it.
    jax.config.update("jax_enable_preemption_service", False)
    if jax.distributed.is_initialized():
        return
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    # jax takes every container on Kubernetes for a cluster; only a pod of an indexed job is one.
    if address is None and "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" not in os.environ:
        return
    try:
        jax.distributed.initialize(address, asked("JAX_NUM_PROCESSES"), asked("JAX_PROCESS_ID"))
    except ValueError as error:
        if address is None and "coordinator_address" in str(error):
            return                                                   # no cluster: one process
        raise MedFuseError("JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID: "
                           f"{error}; set all three") from error
    except RuntimeError as error:
        if address is None and "before any JAX calls" in str(error):
            return                                                   # a notebook that has already computed
        raise MedFuseError(f"processes could not be joined: {error}; check JAX_COORDINATOR_ADDRESS") from error
    logging.info("process %d of %d, %d devices", jax.process_index(), jax.process_count(), jax.device_count())


def asked(name: str) -> int | None:
    """A whole number from the environment."""
    value = os.environ.get(name)
    if value is not None and not value.isdecimal():
        raise MedFuseError(f"{name}={value}: must be a whole number")
    return None if value is None else int(value)


def mesh(config: ConfigDict | Mapping[str, int]) -> Mesh:
    """Devices in a grid `data` x `space`; data -1 takes all devices that space leaves."""
    devices, data, space = jax.device_count(), int(config["data"]), int(config["space"])
    sizes = f"mesh data={data} space={space}"
    cure = "choose sizes whose product is the number of devices (--config.mesh.data, --config.mesh.space)"
    if space < 1 or data == 0 or data < -1:
        raise MedFuseError(f"{sizes}: sizes must be at least 1 (data may be -1: all that are left); {cure}")
    if data == -1 and devices % space == 0:
        data = devices // space
    wanted = data * space
    if wanted < 1 or wanted > devices or (wanted < devices and jax.process_count() > 1):
        raise MedFuseError(f"{sizes} does not fit {devices} device(s): {cure}")
    if wanted < devices:
        logging.warning("%s uses %d of %d devices", sizes, wanted, devices)
    return jax.make_mesh((data, space), AXES, axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:wanted])


def check_batch(mesh: Mesh | AbstractMesh, batch: int, accumulate: int = 1) -> None:
    """Refuse a global batch that does not divide into micro-batches and over the mesh."""
    parts = mesh.shape["data"] * accumulate
    if batch < 1 or batch % parts:
        raise MedFuseError(f"batch {batch} does not divide by mesh data {mesh.shape['data']} x accumulate "
                           f"{accumulate}: choose a multiple of {parts} (--config.batch)")


def whole(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, P())


def placement(mesh: Mesh | AbstractMesh, shape: tuple[int, ...], large: int = LARGE) -> NamedSharding:
    """The one rule for parameters and moments: large ones are split over `data` along their longest divisible axis."""
    parts = mesh.shape["data"]
    fitting = [axis for axis, length in enumerate(shape) if length % parts == 0]
    if parts == 1 or math.prod(shape) < large or not fitting:
        return whole(mesh)
    longest = max(fitting, key=lambda axis: shape[axis])
    return NamedSharding(mesh, P(*("data" if axis == longest else None for axis in range(len(shape)))))


def placements(tree: Any, mesh: Mesh, large: int = LARGE) -> Any:
    """The rule for each leaf of a tree of arrays or shapes."""
    return jax.tree.map(lambda leaf: placement(mesh, leaf.shape, large), tree)


def place(tree: Any, mesh: Mesh, large: int = LARGE) -> Any:
    """Host arrays (the same on each process) put on the mesh by the rule."""
    def put(leaf):
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, placement(mesh, leaf.shape, large), lambda at: leaf[at])
    return jax.tree.map(put, tree)


def batch_sharding(mesh: Mesh | AbstractMesh, name: str, shape: tuple[int, ...]) -> NamedSharding:
    """b over `data`; the depth of volumes and latents (4 axes or more) over `space` where it divides."""
    if not shape:
        raise MedFuseError(f"batch[{name!r}] has no batch axis")
    depth = "space" if len(shape) >= 4 and shape[1] % mesh.shape["space"] == 0 else None
    return NamedSharding(mesh, P("data", depth) if len(shape) > 1 else P("data"))


@cache
def readers(mesh: Mesh) -> tuple[int, int]:
    """(which share of each batch this process reads, number of shares): the `shard` that the data is made with.

    Processes whose devices hold the same rows (space spans them) read the same share.
    """
    rows = [sorted({int(row) for row, devices in enumerate(mesh.devices) for device in devices
                    if device.process_index == process}) for process in range(jax.process_count())]
    shares = sorted({tuple(row) for row in rows})
    if [row for share in shares for row in share] != list(range(mesh.shape["data"])):
        raise MedFuseError(f"mesh data={mesh.shape['data']} space={mesh.shape['space']}: rows of a batch would overlap "
                           "between processes: let space divide, or be a multiple of, the devices of a process "
                           "(--config.mesh.space)")
    return shares.index(tuple(rows[jax.process_index()])), len(shares)


def distribute(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
    """A batch of this process' rows as one global batch; what is not a number stays behind."""
    shares = readers(mesh)[1]

    def spread(name, local):
        shape = (local.shape[0] * shares, *local.shape[1:])
        return jax.make_array_from_process_local_data(batch_sharding(mesh, name, shape), local, shape)

    arrays = {name: np.asarray(values) for name, values in batch.items()}
    return {name: spread(name, array) for name, array in arrays.items() if array.dtype.kind in "biufV"}


def fetch(tree: Any) -> Any:
    """Host arrays of a tree, gathered from all processes where one does not hold them."""
    def get(leaf):
        if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf)
    return jax.tree.map(get, tree)


def agree(number: int) -> int:
    """The largest of the processes' numbers; all processes call it at the same place."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def of_chief(tree: Any) -> Any:
    """Host arrays as process 0 has them: what was fitted elsewhere may be rounded otherwise, or have other signs."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def wait_for_all(name: str) -> None:
    """No process goes on before all have come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def chief() -> bool:
    """True in the one process that writes."""
    return jax.process_index() == 0


def once(make: Callable[[], object], there: Callable[[], bool], what: Path) -> None:
    """Have one process make what is not there yet, while the others wait; all must see it then, on one shared disk.

    Where it fails, or is stopped by a signal, all processes stop.
    """
    if not agree(int(not there())):
        return
    failure, code = None, 0
    if not chief():
        logging.info("waiting for process 0, which makes %s ...", what)
    else:
        try:
            make()
        except (MedFuseError, signals.Interrupted) as error:
            failure, code = error, getattr(error, "code", 2)
    code = agree(code)
    if failure is not None:
        raise failure
    if code > 128:
        raise signals.Interrupted(code - 128, tells=False)
    if code:
        raise MedFuseError(f"{what}: process 0 could not make it and says why")
    for _ in range(SEEN_S):
        if seen := there():
            break
        time.sleep(1)
    if agree(int(not seen)):
        raise MedFuseError(f"{what}: made by process 0, {'but not seen by another process' if seen else 'not seen'} "
                           f"on {platform.node()}: choose a folder on a disk that all machines share")
