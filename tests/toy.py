"""A stage that trains in a blink, for tests of the loop; `python tests/toy.py FOLDER field=value ...` fits it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from medfuse_jax.errors import MedFuseError
from medfuse_jax.models.place import constrain
from medfuse_jax.stages.stage import Stage
from medfuse_jax.train import sharding
from medfuse_jax.train.loop import fit
from medfuse_jax.train.signals import Interrupted

WIDTH = 16


def config(**changes) -> ConfigDict:
    made = ConfigDict(dict(
        stage="toy", preset="tiny", steps=20, batch=8, seed=0, log_every=1, evaluate_every=10, checkpoint_every=5,
        mesh=dict(data=1, space=1), data=dict(source="toy", seed=3), model=dict(width=WIDTH), dtype="float32",
        borrow={},
        optimizer=dict(rate=1e-2, warmup=2, decay="cosine", weight_decay=0.01, clip=1.0, ema=0.9, accumulate=1)))
    made.update_from_flattened_dict(changes)
    return made


def init(seed: int) -> dict:
    random = np.random.default_rng(seed)
    draw = lambda *shape: (random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)        # noqa: E731
    return dict(first=dict(kernel=draw(4, WIDTH), bias=np.zeros(WIDTH, np.float32)), last=dict(kernel=draw(WIDTH, 1)))


def predict(params, volume):
    """b d h w c -> b"""
    hidden = constrain(jnp.tanh(volume @ params["first"]["kernel"] + params["first"]["bias"]), "b d h w c")
    return jnp.mean(hidden @ params["last"]["kernel"], axis=(1, 2, 3, 4))


def stage(poison: tuple[int, ...] = (), **more) -> Stage:
    """Regression with a little noise on the input. Steps in `poison` have a loss that is not a number."""
    def loss(params, frozen, batch, key):
        noisy = batch["volume"] + 0.01 * jax.random.normal(key, batch["volume"].shape)
        error = jnp.square(predict(params, noisy) - batch["target"] * frozen["gain"])
        bad = jnp.isin(batch["step"][0], jnp.array(poison, jnp.int32)) if poison else False
        return jnp.where(bad, jnp.nan, jnp.mean(error)), {"error": error}

    def evaluate(params, frozen, batch, key):
        return {"mse": jnp.square(predict(params, batch["volume"]) - batch["target"] * frozen["gain"])}

    return Stage(name="toy", init=init, loss=loss, evaluate=evaluate, frozen={"gain": np.float32([2.0])}, **more)


class Data:
    """Examples are functions of their index alone; each process reads its share of the rows."""

    name = "toy"

    def __init__(self, shard: tuple[int, int] = (0, 1), pause: float = 0.0, depth: int = 4, stop=(-1, 0)):
        self.shard, self.pause, self.depth, self.stop = shard, pause, depth, stop

    def describe(self) -> dict:
        return {"name": "toy", "depth": self.depth}

    def rows(self, places: np.ndarray, batch: int, step: int) -> dict[str, np.ndarray]:
        mine = np.array_split(places, self.shard[1])[self.shard[0]]
        volume = np.stack([np.random.default_rng(place).standard_normal((self.depth, 2, 2, 4)) for place in mine])
        target = volume[..., 0].mean(axis=(1, 2, 3))
        return dict(volume=volume.astype(np.float32), target=target.astype(np.float32),
                    step=np.full(len(mine), step, np.int32), study=np.array([f"sub-{place}" for place in mine]))

    def train(self, batch: int, first_step: int = 0):
        step = first_step
        while True:
            time.sleep(self.pause)
            if step + 1 == self.stop[0]:                 # a signal to ourselves while this step is made
                os.kill(os.getpid(), self.stop[1])
            yield self.rows(step * batch + np.arange(batch), batch, step)
            step += 1

    def valid(self, batch: int):
        """Ten examples: the last batch is padded."""
        for start in range(0, 10, batch):
            places = 10**6 + start + np.arange(batch)
            weight = np.array_split((places < 10**6 + 10).astype(np.float32), self.shard[1])[self.shard[0]]
            yield self.rows(places, batch, 0) | {"weight": weight}


def launch(folder, *changes: str, **environment: str) -> subprocess.Popen:
    """This file as a process of its own."""
    known = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"} | environment
    known.pop("JAX_COMPILATION_CACHE_DIR", None)         # a killed process leaves half an entry there
    return subprocess.Popen([sys.executable, __file__, str(folder), *changes], env=known, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def lines(folder, leave_out=()) -> list[dict]:
    return [{name: value for name, value in json.loads(line).items() if name not in leave_out}
            for line in (folder / "metrics.jsonl").read_text().splitlines()]


def main(folder: str, *changes: str) -> None:
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    fields = {name: json.loads(value) for name, value in (change.split("=") for change in changes)}
    pause = fields.pop("pause", 0.0)
    sharding.initialise()
    chosen = config(**fields)
    fit(stage(), Data(sharding.readers(sharding.mesh(chosen.mesh)), pause), chosen, folder)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Interrupted as stopped:
        sys.stdout.write("who tells\n" * stopped.tells)
        raise
    except MedFuseError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
