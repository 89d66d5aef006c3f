"""What must be the same for a training to be gone on from where it was left."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from medfuse_jax.errors import MedFuseError
from medfuse_jax.stages.stage import Frozen, Stage
from medfuse_jax.train.digest import digests
from medfuse_jax.train.log import read_json

# These may change between two runs of one training: how long, how often, on what, where from, how it is sampled. What
# the data and the borrowed weights are is compared by content (data.describe(), digest of stage.frozen), not by path.
FREE = ("steps", "sampler", "log_every", "evaluate_every", "checkpoint_every", "mesh", "preset", "borrow",
        "data.source", "data.jobs", "text.pretrained")


@dataclass(frozen=True)
class Identity:
    """Config, data and borrowed weights of a run."""

    stage: str
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    frozen: str

    def fields(self) -> dict[str, Any]:
        """Dotted names and values, without those that are free."""
        named = flat(self.config) | flat(self.data, "data.describe") | {"borrowed weights": self.frozen}
        return {name: value for name, value in named.items() if not free(name)}

    def hash(self) -> str:
        """The fields in twelve letters."""
        return twelve(self.fields())


def identity(stage: Stage, config: ConfigDict, data: Any, frozen: Frozen) -> Identity:
    """The identity of a run whose borrowed weights lie on the devices."""
    return Identity(stage.name, json.loads(json.dumps(config.to_dict())), json.loads(json.dumps(data.describe())),
                    twelve(digests(frozen)))


def refuse_other(folder: Path, mine: Mapping[str, Any], its: Mapping[str, Any]) -> None:
    """MedFuseError that names the fields in which a run and what lies in its folder differ."""
    absent = "absent"
    other = [f"{name} was {its.get(name, absent)}, is {mine.get(name, absent)}"
             for name in sorted(mine.keys() | its.keys()) if mine.get(name, absent) != its.get(name, absent)]
    if other:
        raise MedFuseError(f"{folder}: made with another config ({'; '.join(other)}): "
                           "give the same values, or another --workdir")


def refuse_other_network(folder: Path, mine: Mapping[str, list], its: Mapping[str, list], version: str,
                         cure: str) -> None:
    """MedFuseError that names the first array in which this code's network and the one that was kept differ."""
    for name in sorted(mine.keys() | its.keys()):
        if mine.get(name) != its.get(name):
            raise MedFuseError(f"{folder}: made by other code (version {version}: {name} was "
                               f"{its.get(name, 'absent')}, is {mine.get(name, 'absent')}): {cure}")


def same_config(folder: str | Path, config: ConfigDict) -> None:
    """Refuse WORKDIR/STAGE when its config.json is of another training. No array is read, no data are needed."""
    its = read_json(Path(folder) / "config.json")
    mine = json.loads(json.dumps(config.to_dict()))
    named = [{name: value for name, value in flat(each).items() if not free(name)} for each in (mine, its)]
    if its:
        refuse_other(Path(folder), *named)


def free(name: str) -> bool:
    """Whether a field may change."""
    return any(name == each or name.startswith(each + ".") for each in FREE)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dictionaries under dotted names."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {name: leaf for key, each in tree.items()
            for name, leaf in flat(each, f"{prefix}.{key}" if prefix else str(key)).items()}


def twelve(value: Any) -> str:
    """A hash of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
