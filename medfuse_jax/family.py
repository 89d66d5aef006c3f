"""A workdir is one model family: which stage needs which, where each lies, and how a missing one is trained first."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from medfuse_jax import overrides
from medfuse_jax.data import contents, files, machine, prepare, tokens
from medfuse_jax.data.pipeline import Cohort, Examples
from medfuse_jax.data.simulate import cohort as simulated
from medfuse_jax.errors import MedFuseError
from medfuse_jax.progress import Progress
from medfuse_jax.stages import alignment, autoencoder, ldm, pretrained
from medfuse_jax.stages.stage import Borrowed, Stage
from medfuse_jax.train import checkpoint, loop, sharding, signals
from medfuse_jax.train.digest import digests_on_host, shapes
from medfuse_jax.train.identity import refuse_other_network, same_config, twelve
from medfuse_jax.train.log import read_json, read_statistics

STAGES = {"autoencoder": autoencoder, "alignment": alignment, "ldm": ldm}
Said = dict[tuple[str, str], dict[str, np.ndarray]]        # (autoencoder, cohort) -> what it said of each study
TOKENIZER = "tokenizer.json"        # in the alignment's folder: words mean what they meant when it was trained


def train(config: ConfigDict, workdir: Path, configs: Path, said: Said | None = None) -> Path:
    """Train the config's stage under `workdir`, borrowed ones first when they are missing; the stage's folder.

    configs: the folder of config files, where a missing borrowed stage's config is found. said: what borrowed weights
    said of a cohort, kept from one stage to the next.
    """
    folder, said = workdir / config.stage, {} if said is None else said
    same_preset(folder, config)
    config = pretrained.described(config, read_json(folder / "config.json"))
    borrowed = {}
    for name in config.borrow:
        place = Path(config.borrow[name] or workdir / name)
        if not finished(place):
            if config.borrow[name]:
                raise MedFuseError(f"--config.borrow.{name}={place}: no finished {name} there: train it, "
                                   "or leave the field empty")
            logging.info("%s builds on %s, not trained yet: training it first, in %s", config.stage, name, place)
            train(lent_config(config, name, configs), workdir, configs, said)
        borrowed[name] = borrow(place)
        same_grid(config, borrowed[name].config, place)
        if not config.borrow[name]:
            same_data(config, workdir, place, f", or borrow it all the same: --config.borrow.{name}={place}")
    for lent in borrowed.values():
        same_network(lent, borrowed)
    if finished(folder, config.steps):
        same_config(folder, config)
        same_data(config, workdir, folder)
        if borrowed:
            same_weights(folder, borrow(folder), borrowed)
        logging.info("%s: finished before (%s)", config.stage, folder / "summary.json")
        return folder
    files.writable(folder, "--workdir")
    cohort = Cohort(prepared(config, workdir))
    if float(cohort.info["spacing"]) != float(config.data.spacing):
        raise MedFuseError(f"{cohort.folder}: prepared at {cohort.info['spacing']} mm but data.spacing is "
                           f"{config.data.spacing}: prepare it again with --spacing={config.data.spacing:g}")
    if cohort.valid_is_train:
        logging.warning("%s: nobody is held out: what is said of validation is said of the training people",
                        cohort.folder)
    mesh, stage = sharding.mesh(config.mesh), STAGES[config.stage].build(config, borrowed)
    examples = Examples(cohort, STAGES[config.stage].READS, seed=config.seed, languages=config.data.language,
                        tokenizer=words(config, folder), length=sentence_length(config, borrowed),
                        shard=sharding.readers(mesh))
    if stage.represent is not None:
        key = str(config.borrow["autoencoder"] or workdir), str(cohort.folder)
        said[key] = said.get(key) or represent(stage, cohort, config.stage, mesh)
        examples.represented = said[key]
    with files.alone(folder) if sharding.chief() else nullcontext():
        loop.fit(stage, examples, config, folder)
    return folder


def same_preset(folder: Path, config: ConfigDict) -> None:
    """Refuse, before any data are made, a folder that holds a run on another grid."""
    if its := read_json(folder / "config.json"):
        same_grid(config, ConfigDict(its), folder)


def sentence_length(config: ConfigDict, borrowed: Mapping[str, Borrowed]) -> int:
    """Word pieces of a sentence: the alignment's, in whatever stage."""
    if "alignment" in borrowed:
        return borrowed["alignment"].config.text.length
    return config.text.length if "text" in config else 1


def finished(folder: Path, steps: int = 0) -> bool:
    """Whether a stage's run is complete (for at least so many steps)."""
    try:
        return json.loads((folder / "summary.json").read_text())["steps"] >= steps
    except (OSError, ValueError, KeyError, TypeError):
        return False


def lent_config(config: ConfigDict, name: str, configs: Path) -> ConfigDict:
    """The config of a borrowed stage: same preset, same data, same mesh."""
    lent = overrides.load(configs / f"{name}.py", config.preset)
    lent.data.update(config.data)
    lent.mesh.update(config.mesh)
    return lent.lock()


def borrow(folder: Path) -> Borrowed:
    """A finished stage as its borrowers see it."""
    params, config, meta = checkpoint.load_params(folder)
    origin = {"step": meta["step"], "config_hash": meta["config_hash"], "borrowed": meta["identity"]["frozen"],
              "weights": twelve(meta["digest"]), "folder": str(folder), "code_version": meta["code_version"]}
    return Borrowed(ConfigDict(with_tuples(config)), params, read_statistics(folder), origin)


def with_tuples(value: Any) -> Any:
    """What was read from JSON, which has lists only, with tuples as configs have them."""
    if isinstance(value, dict):
        return {name: with_tuples(each) for name, each in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def same_grid(config: ConfigDict, its: ConfigDict, folder: Path) -> None:
    """A family lives on one grid: refuse a folder whose run, of config `its`, is on another."""
    if float(its.data.spacing) != float(config.data.spacing):
        raise MedFuseError(f"{folder}: trained at {its.data.spacing:g} mm, but this run is at "
                           f"{config.data.spacing:g} mm: choose the preset {its.preset} or another --workdir")


def same_data(config: ConfigDict, workdir: Path, folder: Path, cure: str = "") -> None:
    """A family lives on one data set: refuse a finished stage that was trained on other contents. Nobody is drawn."""
    trained = read_json(folder / "summary.json").get("data", {}).get("contents")
    if config.data.source == "simulated":
        own = contents.of_prepared(dict(source="simulated", settings=simulated.told(people(config))))
    else:
        own = Cohort(prepared(config, workdir)).contents
    if trained not in (None, own):
        raise MedFuseError(f"{folder}: trained on other data (contents {trained}) than --config.data.source="
                           f"{config.data.source} (contents {own}): name the same data, or another --workdir{cure}")


def people(config: ConfigDict) -> simulated.CohortSettings:
    """The simulated cohort of a config."""
    data = config.data
    return simulated.CohortSettings(
        subjects=data.subjects, visits=data.visits, spacing=data.spacing, seed=data.seed, gadolinium=data.gadolinium,
        missing=data.missing, randomise=data.randomise)


def prepared(config: ConfigDict, workdir: Path, trusted: bool = False) -> Path:
    """The prepared folder of a config: the simulated cohort (in the user's cache), or one made from a BIDS tree.

    trusted: one that lies in the workdir is its own, whatever became of the tree since.
    """
    data, source = config.data, Path(config.data.source)
    if data.source != "simulated" and prepare.is_prepared(source):
        return source
    if data.source == "simulated":
        settings = people(config)
        folder = simulated.home(settings)
        make = partial(simulated.prepared, folder, settings, data.jobs or machine.usable_cores())
    else:
        folder = workdir / f"prepared-{data.spacing:g}mm"
        if prepare.is_prepared(folder) and not trusted:
            contents.same_tree(folder, source, data.jobs)
        make = partial(prepare.prepare, source, folder, data.spacing, jobs=data.jobs)
    sharding.once(make, partial(prepare.is_prepared, folder), folder)
    logging.info("data: %s", folder)
    return folder


def words(config: ConfigDict, folder: Path) -> Any:
    """The family's tokenizer: made once, before the alignment's first checkpoint, and kept beside it."""
    if config.stage == "autoencoder":
        return None
    trains = config.stage == "alignment"
    home = folder if trains else Path(config.borrow["alignment"] or folder.parent / "alignment")
    if (home / TOKENIZER).exists() and not (trains and checkpoint.latest(home) is None):
        return tokens.Tokenizer.load(home / TOKENIZER)
    if not trains:
        raise MedFuseError(f"{home / TOKENIZER} is missing: train the alignment again")
    if config.text.encoder:
        text = config.text
        tokenizer = tokens.of_checkpoint(pretrained.home(config), text.encoder.vocabulary, text.length)
    else:
        tokenizer = tokens.build(config.text.vocabulary)
    if sharding.chief():
        home.mkdir(parents=True, exist_ok=True)
        tokenizer.save(home / TOKENIZER)
    return tokenizer


def represent(stage: Stage, cohort: Cohort, name: str, mesh: Mesh | None = None,
              batch: int = 4) -> dict[str, np.ndarray]:
    """What the borrowed weights say of every study, computed once and kept in memory as float16.

    mesh: whose devices share the work, `batch` studies each at a time; without one, the first device.
    """
    mesh = mesh or sharding.mesh(dict(data=1, space=1))
    share, shares = sharding.readers(mesh)
    every, rows, said = batch * mesh.shape["data"], np.arange(len(cohort.studies)), {}
    own = slice(share * every // shares, (share + 1) * every // shares)
    say, frozen = jax.jit(stage.represent, out_shardings=sharding.whole(mesh)), sharding.place(stage.frozen, mesh)
    with jax.set_mesh(mesh), signals.watch() as caught, \
            Progress(f"{name}: latents", len(rows), "study", shows=sharding.chief()) as progress:
        for start in range(0, len(rows), every):
            chosen = rows[start:start + every]
            filled = np.concatenate([chosen, np.repeat(chosen[:1], every - len(chosen))])
            seen = {key: value for key, value in cohort.seen(filled[own]).items() if key in ("volume", "present")}
            for key, value in say(frozen, sharding.distribute(seen, mesh)).items():
                said.setdefault(key, []).append(np.asarray(value, np.float16)[:len(chosen)])
            progress.tell(start + len(chosen))
            if number := sharding.agree(caught.number):              # all processes stop at the same place
                raise signals.Interrupted(number, tells=sharding.chief())
    return {key: np.concatenate(values) for key, values in said.items()}


def load(workdir: str | Path) -> dict[str, Borrowed]:
    """Every finished stage of a workdir and what it borrows from elsewhere; MedFuseError when there is none.

    A stage that was trained on other weights than those that lie there now is refused: its latents mean something else.
    """
    workdir = Path(workdir)
    there = {name: borrow(workdir / name) for name in STAGES if finished(workdir / name)}
    if workdir.is_file():
        raise MedFuseError(f"{workdir}: a file, not the folder of a model family: check --workdir")
    if not there:
        raise MedFuseError(f"{workdir}: no trained model here: run `python launch/train.py --config=configs/ldm.py "
                           f"--workdir={workdir}`")
    own = dict(there)
    for stage in own.values():
        for lent, place in stage.config.borrow.items():
            if place or lent not in there:
                there[lent] = borrow(Path(place or workdir / lent))
    for stage in there.values():
        same_network(stage, there)
    for name, stage in own.items():
        if stage.config.borrow:
            same_weights(workdir / name, stage, there)
    return there


def same_network(stage: Borrowed, borrowed: Mapping[str, Borrowed]) -> None:
    """Refuse a finished stage whose network this code would build otherwise than the code that trained it."""
    folder, version = Path(stage.origin["folder"]), stage.origin["code_version"]
    cure = f"train it again in another --workdir, or use the code of version {version} that trained it"
    try:
        built = STAGES[stage.config.stage].build(stage.config, borrowed)
        mine, its = shapes(built.init(stage.config.seed)), shapes(stage.params)
    except (AttributeError, KeyError, TypeError) as error:       # a field that only one of the two codes knows
        raise MedFuseError(f"{folder}: made by other code (version {version}: {checkpoint.first_line(error)}): "
                           f"{cure}") from error
    # What the data gave may be larger for more people: of it only the names must agree.
    given = {name for name in mine.keys() & its.keys() if name.partition(".")[0] in built.given}
    mine, its = ({name: each for name, each in one.items() if name not in given} for one in (mine, its))
    refuse_other_network(folder, mine, its, version, cure)


def same_weights(folder: Path, stage: Borrowed, borrowed: Mapping[str, Borrowed]) -> None:
    """Refuse a finished stage whose borrowed weights, or their statistics, have changed since."""
    lent = STAGES[stage.config.stage].build(stage.config, borrowed).frozen
    if twelve(digests_on_host(lent)) != stage.origin["borrowed"]:
        raise MedFuseError(f"{folder}: trained on another {' or '.join(stage.config.borrow)} than is there now: "
                           "train it again in another --workdir, or restore what it borrowed")
