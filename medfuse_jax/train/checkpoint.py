"""Checkpoints that survive what happens to them. The one file that knows orbax.

WORKDIR/STAGE/checkpoints/N/{state, iterator, meta}: everything to go on after N updates, with a digest of every array.
Steps that cannot be read, or whose digest differs, are moved to WORKDIR/STAGE/damaged/.
"""

import gc
import inspect
import json
import logging as python_logging
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.sharding import Mesh

import medfuse_jax
from medfuse_jax.errors import MedFuseError
from medfuse_jax.stages.stage import Params
from medfuse_jax.train import sharding
from medfuse_jax.train.digest import differing, digests, digests_on_host, paths, shapes
from medfuse_jax.train.identity import Identity, refuse_other, refuse_other_network, twelve
from medfuse_jax.train.state import State

KEEP = 3
LEFTOVERS_S = 0.3        # for which the threads of a failed reading are waited for
FORMAT = 1
# What a damaged folder makes of reading it: gone files, bad JSON, bad compression, other shapes.
DAMAGE = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError, AssertionError)
UNWRITABLE = (OSError, ValueError, RuntimeError)


def quiet(record: Any) -> bool:
    """Filter of absl's logger: orbax tells of all it does, and shows tracebacks of what is said here in one line."""
    return "/orbax/" not in record.pathname


def code_version() -> str:
    """Version of this package."""
    return getattr(medfuse_jax, "__version__", "unreleased")


def steps_in(folder: Path) -> list[int]:
    """Steps that lie in WORKDIR/STAGE, oldest first."""
    return sorted(int(each.name) for each in (folder / "checkpoints").glob("*") if each.name.isdecimal())


def latest(folder: str | Path) -> int | None:
    """The newest step of WORKDIR/STAGE, readable or not."""
    return next(reversed(steps_in(Path(folder))), None)


class Checkpoints:
    """The checkpoints of one run, written beside the training and verified when read."""

    def __init__(self, folder: str | Path, identity: Identity | None = None, mesh: Mesh | None = None,
                 reads_only: bool = False):
        logging.get_absl_logger().addFilter(quiet)          # adding one filter twice changes nothing
        self.folder, self.identity, self.mesh = Path(folder).absolute(), identity, mesh
        writing = dict(max_to_keep=KEEP, cleanup_tmp_directories=True, enable_async_checkpointing=True)
        options = ocp.CheckpointManagerOptions(**(dict(read_only=True) if reads_only else writing))
        try:
            self.manager = ocp.CheckpointManager(self.folder / "checkpoints", options=options)
        except OSError as error:
            raise MedFuseError(f"{self.folder}: cannot be written ({error.strerror}): "
                               "choose another --workdir") from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, failure: Any, trace: Any) -> None:
        try:
            self.manager.close()
        except UNWRITABLE as error:
            if failure is None:
                raise self.unwritten(error) from error

    def resume(self, template: State) -> tuple[State | None, dict[str, Any]]:
        """(state on the mesh, meta) of the newest good step; (None, {}) when there is no step at all.

        template: arrays of the right shapes, whose values are not used.
        """
        places = sharding.placements(template, self.mesh)
        target = jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
                              template, places)
        damaged = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            state, meta, failure = self.attempt(step, target)
            if failure:
                damaged[step] = failure
                continue
            for each, why in damaged.items():
                self.put_aside(each, why, step)
            if damaged:
                self.manager.reload()
            return state, meta
        if damaged:
            raise MedFuseError(f"{self.folder}/checkpoints: none of the steps {sorted(damaged)} can be read "
                               f"({next(iter(damaged.values()))}): restore them from a copy, "
                               f"or delete {self.folder} to begin anew")
        return None, {}

    def attempt(self, step: int, target: State) -> tuple[State | None, dict[str, Any], str]:
        """(state, meta, "") of a step, or (None, {}, why not); another config is an error at once."""
        state, meta = None, {}
        with Reading() as reading:
            meta = self.meta(step)
            self.compare(meta, target)
            state = self.restore(step, nested(target))
            wrong = differing(digests(state), meta["digest"])
            reading.failure = f"digest of {wrong} differs" if wrong else ""
        if sharding.agree(int(bool(reading.failure))):
            return None, {}, reading.failure or "another process could not read it"
        return joined(state, target), meta, ""

    def meta(self, step: int) -> dict[str, Any]:
        """What is written beside the arrays."""
        meta = self.manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
        seal = meta.pop("seal")
        if seal != twelve(meta) or meta["format"] != FORMAT or meta["step"] != step:
            raise ValueError(f"its meta, of step {meta['step']} and format {meta['format']}, does not fit its own hash")
        return meta

    def restore(self, step: int, target: Any) -> Any:
        """The named part of the arrays of a step, where the target says."""
        how = ocp.checkpoint_utils.construct_restore_args(target)
        wanted = ocp.args.PyTreeRestore(item=target, restore_args=how, partial_restore=True)
        return self.manager.restore(step, args=ocp.args.Composite(state=wanted))["state"]

    def compare(self, meta: Mapping[str, Any], target: State | None = None) -> None:
        """Refuse a checkpoint of another config, other borrowed weights or another network, naming what differs."""
        refuse_other(self.folder, self.identity.fields(), Identity(**meta["identity"]).fields())
        if target is None:
            return
        kept = {name: each[:2] for name, each in meta["digest"].items()}
        refuse_other_network(self.folder, shapes(nested(target)), kept, meta["code_version"], "use another --workdir")

    def put_aside(self, step: int, why: str, better: int) -> None:
        """Move a damaged step out of the way; it is never deleted."""
        if sharding.chief():
            source, place = self.folder / "checkpoints" / str(step), self.folder / "damaged"
            place.mkdir(exist_ok=True)
            count = len(list(place.glob(f"{step}*")))
            source.rename(place / (f"{step}-{count}" if count else str(step)))
            logging.warning("%s is damaged (%s): moved to %s, going on from step %d", source, why, place, better)
        sharding.wait_for_all(f"aside-{step}")

    def save(self, step: int, state: State, **more: Any) -> None:
        """Begin to write a step; it is written while training goes on. `more` is kept in its meta."""
        if step in self.manager.all_steps():
            return
        tree = nested(state)
        sums = digests(tree)
        bad = next((name for name, (*_, finite) in sums.items() if not finite), None)
        if bad:
            raise MedFuseError(f"{self.folder}: {bad} is not finite after step {step}, and was not saved; "
                               f"the last good step is {latest(self.folder)}: lower --config.optimizer.rate")
        meta = dict(format=FORMAT, step=step, identity=vars(self.identity), config_hash=self.identity.hash(),
                    code_version=code_version(), versions={"jax": jax.__version__, "orbax": ocp.__version__},
                    mesh=dict(self.mesh.shape), processes=jax.process_count(), digest=sums, **more)
        meta = json.loads(json.dumps(meta))
        # The order of examples is a function of the step, so that the step is all of the iterator's state.
        try:
            self.manager.save(step, force=True, args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(tree), iterator=ocp.args.JsonSave({"next_step": step}),
                meta=ocp.args.JsonSave(meta | {"seal": twelve(meta)})))
        except UNWRITABLE as error:
            raise self.unwritten(error) from error

    def finish(self) -> None:
        """Wait until what was begun is written."""
        try:
            self.manager.wait_until_finished()
        except UNWRITABLE as error:
            raise self.unwritten(error) from error

    def unwritten(self, error: Exception) -> MedFuseError:
        """The one line of a full or vanished disk."""
        return MedFuseError(f"{self.folder}/checkpoints: a checkpoint could not be written ({first_line(error)}): "
                            f"free space and run again; the last good step is {latest(self.folder)}")


def nested(state: State) -> dict[str, Any]:
    """A state of plain dictionaries: the optimiser's own containers become names, so that no class stands in a file."""
    return state | {"opt": paths(state["opt"])}


def joined(state: Mapping[str, Any], like: State) -> State:
    """The inverse of `nested`."""
    names = list(paths(like["opt"]))
    moments = jax.tree.unflatten(jax.tree.structure(like["opt"]), [state["opt"][name] for name in names])
    return dict(state) | {"opt": moments}


class Reading:
    """A block that reads a step: what damage makes of it is noted in one line instead of raised.

    After a first array has failed, the tasks that orbax began for the others find their loop closed; each would tell.
    """

    def __init__(self):
        self.failure = ""

    def __enter__(self) -> "Reading":
        self.hook, sys.unraisablehook = sys.unraisablehook, self.told
        python_logging.getLogger("asyncio").addFilter(self.heard)
        self.warned = warnings.catch_warnings()
        self.warned.__enter__()
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        # orbax raises a plain Exception for an array that cannot be read.
        damaged = type(error) is Exception or isinstance(error, DAMAGE) and not isinstance(error, MedFuseError)
        if damaged:
            self.failure = first_line(error)
            traceback.clear_frames(trace)
            time.sleep(LEFTOVERS_S)
            gc.collect()
        self.warned.__exit__(None, None, None)
        python_logging.getLogger("asyncio").removeFilter(self.heard)
        sys.unraisablehook = self.hook
        return damaged

    def told(self, what: Any) -> None:
        """Python's hook for what cannot be raised any more."""
        if not (inspect.iscoroutine(what.object) or "Event loop is closed" in str(what.exc_value)):
            self.hook(what)

    @staticmethod
    def heard(record: Any) -> bool:
        """Filter of asyncio's logger."""
        return "never retrieved" not in record.getMessage()


def first_line(error: BaseException) -> str:
    """What an error says, in a few words."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}" if str(error).strip() else repr(error)


def load_params(folder: str | Path, identity: Identity | None = None) -> tuple[Params, dict[str, Any], dict[str, Any]]:
    """(averaged parameters as host arrays, config, meta) of the newest good step of WORKDIR/STAGE.

    Nothing is changed there.
    """
    folder = Path(folder)
    if not steps_in(folder):
        raise MedFuseError(f"{folder}/checkpoints: no checkpoint here: train this stage first")
    damaged = {}
    with Checkpoints(folder, identity, reads_only=True) as kept:
        for step in reversed(steps_in(folder)):
            with Reading() as reading:
                meta = kept.meta(step)
                if identity is not None:
                    kept.compare(meta)
                return host_params(kept, step, meta), meta["identity"]["config"], meta
            damaged[step] = reading.failure
            logging.warning("%s/checkpoints/%d is damaged (%s): taking an older one", folder, step, reading.failure)
    raise MedFuseError(f"{folder}/checkpoints: none of the steps {sorted(damaged)} can be read "
                       f"({next(iter(damaged.values()))}): restore them from a copy, or train this stage again")


def host_params(kept: Checkpoints, step: int, meta: Mapping[str, Any]) -> Params:
    """The moving average (or the parameters, where none is kept) of a step, verified."""
    part = "ema" if any(name.startswith("ema.") for name in meta["digest"]) else "params"
    expected = {name: each for name, each in meta["digest"].items() if name.startswith((part + ".", "given."))}
    tree: dict[str, Any] = {}
    for name, (shape, dtype, *_) in expected.items():
        *parents, last = name.split(".")
        place = tree
        for each in parents:
            place = place.setdefault(each, {})
        place[last] = np.broadcast_to(np.zeros((), jax.numpy.dtype(dtype)), shape)
    params = kept.restore(step, tree)
    wrong = differing(digests_on_host(params), expected)
    if wrong:
        raise ValueError(f"digest of {wrong} differs")
    return params[part] | params.get("given", {})
