"""The one loop: it trains any stage, from the first update or from where it was left."""

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from medfuse_jax.errors import MedFuseError
from medfuse_jax.progress import Progress
from medfuse_jax.stages.stage import Frozen, Params, Stage
from medfuse_jax.train import sharding, signals
from medfuse_jax.train.checkpoint import Checkpoints, latest, load_params
from medfuse_jax.train.identity import identity
from medfuse_jax.train.log import Journal, read_json, shown, write_json, write_statistics
from medfuse_jax.train.state import State, averaged, create, evaluate_step, train_step

PATIENCE = 20        # updates skipped in a row before the run is given up
ASK_EVERY = 5        # steps between two questions to the other processes whether one was told to stop


def fit(stage: Stage, data: Any, config: ConfigDict, folder: str | Path) -> Params:
    """Train a stage to `config.steps` in WORKDIR/STAGE and return its averaged parameters (host arrays).

    Goes on from the newest good checkpoint; a finished stage is read, not trained again. SIGTERM and Ctrl-C save and
    raise signals.Interrupted.
    """
    began, folder = time.monotonic(), Path(folder)
    mesh = sharding.mesh(config.mesh)
    sharding.check_batch(mesh, config.batch, config.optimizer.accumulate)
    frozen = sharding.place(stage.frozen, mesh)
    which = identity(stage, config, data, frozen)
    if read_json(folder / "summary.json").get("steps", -1) >= config.steps:
        logging.info("%s: finished before, %s/summary.json", stage.name, folder)
        return load_params(folder, which)[0]

    with jax.set_mesh(mesh), signals.watch() as caught, Checkpoints(folder, which, mesh) as kept:
        new = create(stage, config)
        state, meta = kept.resume(new)
        state = sharding.place(sharding.of_chief(create(stage, config, data)), mesh) if state is None else state
        first = int(state["step"])
        run = Run(stage, data, config, folder, mesh, frozen, kept, first, began - meta.get("wall_s", 0.0))
        if sharding.chief():
            write_json(folder / "config.json", config.to_dict())

        with Journal(folder, first, sharding.chief()) as journal, \
                Progress(stage.name, config.steps, "step", first, sharding.chief()) as progress:
            for done, batch in enumerate(run.batches(), start=first + 1):
                state, scalars = run.step(state, batch)
                progress.tell(done, loss=scalars["loss"])
                line = {}
                if due(done, config.log_every, config.steps):
                    line |= run.checked(done, scalars)
                if due(done, config.checkpoint_every, config.steps):
                    run.save(done, state)          # before the judges, who take their time: it is written meanwhile
                if due(done, config.evaluate_every, config.steps):
                    line |= {f"valid/{name}": value for name, value in run.judge(averaged(state)).items()}
                journal.write(done, line)
                if number := run.told_to_stop(caught, done):
                    run.leave(number, done, state)
            lent = run.conclude(state)
            if number := sharding.agree(caught.number):        # told to stop while concluding: this stage is whole
                raise signals.Interrupted(number, tells=sharding.chief())
            return lent


def due(done: int, every: int, steps: int) -> bool:
    """True at each multiple, and at the end; 0 is only at the end."""
    return done == steps or (every > 0 and done % every == 0)


class Run:
    """The clocks, counters and compiled functions of one call of `fit`."""

    def __init__(self, stage: Stage, data: Any, config: ConfigDict, folder: Path, mesh: Mesh, frozen: Frozen,
                 kept: Checkpoints, first: int, began: float):
        self.stage, self.data, self.config, self.folder = stage, data, config, folder
        self.mesh, self.frozen, self.kept, self.first, self.began = mesh, frozen, kept, first, began
        self.evaluation = jax.jit(evaluate_step(stage, config.seed))
        self.compiled, self.compile_s, self.wait_s, self.count = None, 0.0, 0.0, 0
        self.started = began                            # when the first step was done; later by each pause since
        self.last, self.judged = None, (-1, {})
        # On CPU, steps that overlap share the cores, and can lock each other out.
        self.ahead = jax.default_backend() != "cpu"

    def batches(self) -> Iterator[dict[str, jax.Array]]:
        """Global batches of the steps that are left. Counts the time that the devices wait for data."""
        if self.first >= self.config.steps:
            return
        local = iter(self.data.train(self.config.batch, self.first))
        for _ in range(self.first, self.config.steps):
            asked = time.monotonic()
            batch = sharding.distribute(next(local), self.mesh)
            if self.count and (self.last is None or self.last.is_ready()):
                self.wait_s += time.monotonic() - asked       # an upper bound: the device fell idle at some time in it
            yield batch

    def step(self, state: State, batch: Mapping[str, jax.Array]) -> tuple[State, dict[str, jax.Array]]:
        """One update; the first one compiles."""
        if self.compiled is None:
            self.compile(state, batch)
        asked = time.monotonic()
        state, scalars = self.compiled(state, self.frozen, batch)
        # At most one step is queued behind the one that runs, so that times and signals mean something.
        waited_for = self.last if self.ahead else scalars["loss"]
        if waited_for is not None:
            jax.block_until_ready(waited_for)
        self.last = scalars["loss"]
        if self.count == 0:
            jax.block_until_ready(self.last)
            logging.info("%s: first step after %.1f s", self.stage.name, time.monotonic() - asked)
            self.started = time.monotonic()
        self.count += 1
        return state, scalars

    def compile(self, state: State, batch: Mapping[str, jax.Array]) -> None:
        """Compile the step ahead, so that its time is told apart."""
        asked = time.monotonic()
        logging.info("%s: compiling the training step of %s parameters, batch %d, mesh %s on %d %s device(s) ...",
                     self.stage.name, f"{parameters(state):,}", self.config.batch,
                     "x".join(map(str, self.mesh.devices.shape)), self.mesh.size, jax.default_backend())
        places = jax.tree.map(lambda leaf: leaf.sharding, state)
        step = jax.jit(train_step(self.stage, self.config), donate_argnums=0,
                       out_shardings=(places, sharding.whole(self.mesh)))
        self.compiled = step.lower(state, self.frozen, batch).compile()
        self.compile_s = time.monotonic() - asked
        logging.info("%s: compiled in %.1f s, training from step %d to %d", self.stage.name, self.compile_s,
                     self.first, self.config.steps)

    def checked(self, done: int, scalars: Mapping[str, jax.Array]) -> dict[str, float]:
        """The numbers of a step on the host; too many skipped updates in a row end the run."""
        values = {name: value.item() for name, value in sharding.fetch(dict(scalars)).items()}
        row = values.pop("skipped_row")
        if row >= PATIENCE:
            self.kept.finish()
            raise MedFuseError(f"{self.folder}: loss or gradient was not finite for {row} steps in a row; the last "
                               f"good step is {done - row}, the last checkpoint {latest(self.folder)}: lower "
                               "--config.optimizer.rate or look at the data")
        if row:
            logging.warning("%s: step %d was skipped, its loss or gradient is not finite", self.stage.name, done)
        return values

    def judge(self, params: Params) -> dict[str, Any]:
        """Means over the validation examples, then what the probes say."""
        step = self.first + self.count
        if self.judged[0] != step:
            asked = time.monotonic()
            logging.info("%s: judging step %d on the held-out studies ...", self.stage.name, step)
            values: dict[str, Any] = mean(self.evaluation, params, self.frozen,
                                          (sharding.distribute(batch, self.mesh) for batch in
                                           level(self.data.valid(self.config.batch))))
            for probe in self.stage.probes.values():
                values |= self.asked(probe, params)
            self.judged = (step, values)
            self.paused(asked)
        return self.judged[1]

    def asked(self, judge: Any, params: Params) -> dict[str, Any]:
        """What a judge on the host says. Each of several processes asks alone: of all examples, without the mesh."""
        if jax.process_count() == 1:
            return judge(params, self.frozen, self.data)
        with jax.set_mesh(None):
            return judge(sharding.fetch(params), sharding.fetch(self.frozen), self.data.whole())

    def paused(self, asked: float) -> None:
        """Leave the time since `asked` out of the rate of training."""
        self.started += time.monotonic() - asked

    def save(self, done: int, state: State) -> None:
        """Begin to write a checkpoint."""
        asked = time.monotonic()
        self.kept.save(done, state, wall_s=asked - self.began)
        self.paused(asked)

    def told_to_stop(self, caught: signals.Caught, done: int) -> int:
        """The signal that any of the processes has got; they all see it at the same step."""
        if jax.process_count() > 1 and done % ASK_EVERY and done != self.config.steps:
            return 0
        return sharding.agree(caught.number)

    def leave(self, number: int, done: int, state: State) -> None:
        """Save and exit."""
        self.save(done, state)
        self.kept.finish()
        logging.info("%s: stopped after step %d of %d, which is saved", self.stage.name, done, self.config.steps)
        raise signals.Interrupted(number, tells=sharding.chief())

    def conclude(self, state: State) -> Params:
        """The last checkpoint, what borrowers need to know, the final figures, and the summary that says: finished."""
        done, params = int(state["step"]), averaged(state)
        spent = time.monotonic() - self.started if self.count > 1 else None
        self.save(done, state)
        self.kept.finish()
        if self.stage.conclude is not None:
            logging.info("%s: measuring what the next stages need to know of it ...", self.stage.name)
            told = self.asked(self.stage.conclude, params)
            if sharding.chief():
                write_statistics(self.folder, told)
        final = self.judge(params)
        lent = sharding.fetch(params)
        if sharding.chief():
            write_json(self.folder / "summary.json", dict(
                stage=self.stage.name, preset=self.config.preset, steps=done, wall_s=time.monotonic() - self.began,
                compile_s=self.compile_s, parameters=parameters(state), devices=self.mesh.size,
                examples_per_s=spent and (self.count - 1) * self.config.batch / spent,
                data_wait_share=spent and self.wait_s / spent,
                device=jax.devices()[0].device_kind, processes=jax.process_count(), **peak_memory(),
                skipped=int(state["skipped"]["total"]), data=self.data.describe(),
                final={name: value for name, value in final.items() if np.ndim(value) == 0 and not shown(value)}))
        sharding.wait_for_all("concluded")
        return lent


def level(batches: Any) -> Iterator[Mapping[str, np.ndarray]]:
    """As many batches in every process: one whose own have run out repeats its last with weight 0."""
    own, last = iter(batches), None
    while sharding.agree(int((batch := next(own, None)) is not None)):
        last = batch if batch is not None else last | {"weight": np.zeros_like(last["weight"])}
        yield last


def mean(evaluation: Any, params: Params, frozen: Frozen,
         batches: Iterator[Mapping[str, jax.Array]]) -> dict[str, float]:
    """Each value summed under its weight over all batches and processes, divided once."""
    totals: dict[str, np.ndarray] = {}
    for place, batch in enumerate(batches):
        some = sharding.fetch(evaluation(params, frozen, batch, place))
        totals = {name: totals.get(name, 0.0) + np.array(pair, np.float64) for name, pair in some.items()}
    return {name: float(total / weight) if weight else float("nan") for name, (total, weight) in totals.items()}


def parameters(state: State) -> int:
    """Numbers that are learned."""
    return sum(leaf.size for leaf in jax.tree.leaves(state["params"]))


def peak_memory() -> dict[str, Any]:
    """Largest memory of this process on the host, and of its first device where the backend tells."""
    unit = 1 if sys.platform == "darwin" else 1024
    device = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return dict(peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
                peak_device_memory_bytes=device)

