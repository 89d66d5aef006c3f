"""Train one stage of a model family, the stages that it borrows first.

    python launch/train.py --config=configs/ldm.py --workdir=runs
    python launch/train.py --config=configs/autoencoder.py:local --workdir=runs --config.data.source=PATH

Run it again to go on where it stopped; a finished stage is not trained again.
"""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

try:
    from medfuse_jax import command
except ModuleNotFoundError as missing:
    if missing.name != "medfuse_jax":
        raise
    sys.stderr.write("medfuse_jax is not installed: run `pip install -e .` in the repository's root\n")
    sys.exit(2)

CONFIG = command.config()
WORKDIR = command.workdir()

# What a finished family is asked first: no disease, and a lot of it.
PROMPTS = {
    "control": "FLAIR, T1w and T2w, healthy control, woman of 35, no lesions, no atrophy",
    "heavy": "FLAIR, T1w and T2w, man of 55, SPMS, heavy lesion load, severe thalamic atrophy",
}


def main() -> None:
    """Train, then show what was learned and what to type next."""
    began = time.monotonic()
    from medfuse_jax.train import sharding
    sharding.initialise()
    from medfuse_jax import family, overrides
    config, workdir = CONFIG.value, Path(WORKDIR.value)
    configs = overrides.split(CONFIG.flag.value)[0].parent
    folder = family.train(config, workdir, configs)
    if config.stage == "ldm":
        show(workdir, folder)
    if not sharding.chief():
        return
    sys.stdout.write(f"done in {time.monotonic() - began:.0f} s. Next:\n{following(config, workdir)}")


def show(workdir: Path, folder: Path) -> None:
    """A volume for each prompt in WORKDIR/ldm/samples, once. All processes read the model, and one draws."""
    from absl import logging

    from medfuse_jax import MedFuse
    from medfuse_jax.captions import Captions
    from medfuse_jax.train import sharding
    wanted = {name: folder / "samples" / name for name in PROMPTS}
    done = all(newer(place / "sample.json", folder / "summary.json") for place in wanted.values())
    if not sharding.agree(int(not done)):
        return
    model = MedFuse.load(workdir)
    if not sharding.chief():
        sharding.wait_for_all("samples")
        return
    logging.info("drawing a volume for each of %d sentences ...", len(wanted))
    for name, place in wanted.items():
        sample = model.sample(PROMPTS[name], seed=0)
        sample.save(place)
        logging.info("%s: %s: %s", name, "; ".join(Captions().summary(sample.findings)), place / "preview.png")
    sharding.wait_for_all("samples")


def newer(made: Path, than: Path) -> bool:
    """Whether a sample was made after the stage was finished."""
    return made.exists() and made.stat().st_mtime >= than.stat().st_mtime


def following(config: Any, workdir: Path) -> str:
    """The exact commands that come next, for a shell in this folder."""
    own = command.following("train.py", f"--config={command.config_file('autoencoder.py')}", f"--workdir={workdir}-own",
                            "--config.data.source=PATH")
    curves = shlex.join([sys.orig_argv[0], "-m", "tensorboard.main", f"--logdir={workdir}"])
    if config.stage == "ldm":
        prompt = "FLAIR, woman of 42, RRMS, heavy lesion load"
        first = {"sample another prompt": command.following(
            "sample.py", f"--workdir={workdir}", f"--prompt={prompt}", "--text_weight=3", "--out=out")}
    else:
        same = () if config.data.source == "simulated" else (f"--config.data.source={config.data.source}",)
        first = {"train the next stage": command.following(
            "train.py", f"--config={command.config_file('ldm.py')}:{config.preset}", f"--workdir={workdir}", *same)}
    lines = first | {"look at the curves": curves, "use your own BIDS data": own}
    return "".join(f"  {what:<24}{line}\n" for what, line in lines.items())


if __name__ == "__main__":
    command.run(main, again="resume with")
