# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # medfuse_jax: a sentence becomes a brain
#
# A sentence commands lesions and atrophy in a 3D brain MRI of multiple sclerosis; a measurer checks the
# result; a dial says how much the sentence counts.
#
# *Pour les cliniciens : une phrase, en français ou en anglais, décrit les lésions et l'atrophie ; le modèle
# dessine l'IRM et son masque, puis mesure ce qu'il a dessiné.*
#
# **Research only, not for clinical use.** Every picture here is synthetic, and the people it learned from
# are simulated.

# %% [markdown]
# ## Install
# Nothing happens here where medfuse_jax is installed already.

# %%
"""Quickstart: train a small family of models, sample from a sentence, turn the dial."""
import importlib.util
import subprocess
import sys

REPOSITORY = "https://github.com/medfuse/medfuse_jax"
if importlib.util.find_spec("medfuse_jax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"git+{REPOSITORY}"], check=True)

# %% [markdown]
# The configs live in the repository: beside an installed clone, or in one that is made here.

# %%
from pathlib import Path

import medfuse_jax

SOURCE = Path(medfuse_jax.__file__).parent.parent
if not (SOURCE / "configs/ldm.py").is_file():
    SOURCE = Path("source")
if not SOURCE.is_dir():
    subprocess.run(["git", "clone", "-q", "--depth=1", REPOSITORY, str(SOURCE)], check=True)

# %% [markdown]
# ## Train
# `tiny` takes some minutes and shows how things go; its brains are blurs of 8 mm voxels. `local` takes about
# ten minutes on two cores and shows brains. `gpu` wants a large accelerator and some hours.

# %%
import os

PRESET = os.environ.get("MEDFUSE_PRESET", "tiny")        # tiny | local | gpu
STEPS = os.environ.get("MEDFUSE_STEPS", "600")           # of each stage, under tiny
RUNS = Path(f"runs-{PRESET}")

# %% [markdown]
# The autoencoder comes first, then the alignment of words and images, then the diffusion model that borrows both.
# Run the cell again after a stop: it goes on.

# %%
from medfuse_jax import family, overrides

rare = [f"steps={STEPS}", f"evaluate_every={STEPS}", f"checkpoint_every={STEPS}"] if PRESET == "tiny" else []
for stage in ("autoencoder", "alignment", "ldm"):
    file = SOURCE / f"configs/{stage}.py"
    config = overrides.change(overrides.load(file, PRESET), rare, str(file))
    family.train(config, RUNS, SOURCE / "configs")

# %% [markdown]
# ## Sample
# One sentence, one seed, one study: volumes, the mask that belongs to them, and a sheet to look at.

# %%
from IPython.display import Image

from medfuse_jax import MedFuse
from medfuse_jax.planes import slices

model = MedFuse.load(RUNS)
PROMPT = "FLAIR and T1w, woman of 42, RRMS, nine periventricular lesions, 6 ml, moderate thalamic atrophy"
sample = model.sample(PROMPT, text_weight=3.0, seed=0)
Image(sample.save("out/first") / "preview.png", width=640)

# %% [markdown]
# ## Commanded and measured
# `sample.json` says what was read in the sentence and what was measured on the labels of the sample. Only a
# well trained model makes the two agree: that is the point of measuring.

# %%
import json

record = json.loads(Path("out/first/sample.json").read_text(encoding="utf-8"))
record["commanded"]

# %%
LOOKED_AT = ("lesion_count", "lesion_volume_ml", "brain_parenchymal_fraction", "deviation_percent")
{name: record["measured"][name] for name in LOOKED_AT}

# %% [markdown]
# ## Turn the dial
# The same noise, and a sentence that counts for nothing, for one, for three.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(12, 4), facecolor="black")
for axis, weight in zip(axes, (0.0, 1.0, 3.0), strict=True):
    turned = model.sample(PROMPT, text_weight=weight, seed=0)
    page = slices({"FLAIR": turned.volumes["FLAIR"]}, spacing=tuple(turned.spacing),
                  structures=turned.structures, lesions=turned.lesions)
    axis.imshow(page)
    axis.set_title(f"text_weight {weight:g}", color="white")
    axis.axis("off")

# %% [markdown]
# At zero the sentence is not heard: two prompts give the same brain, and the largest difference is 0.

# %%
import numpy as np

OPPOSITE = "FLAIR and T1w, healthy control, man of 30, no lesions, no atrophy"
one, other = (model.sample(prompt, text_weight=0.0, seed=0) for prompt in (PROMPT, OPPOSITE))
float(np.abs(one.volumes["FLAIR"] - other.volumes["FLAIR"]).max())

# %% [markdown]
# ## En français
# The model reads English and French alike. / *Le modèle lit les deux langues.*

# %%
PHRASE = "IRM FLAIR, homme de 55 ans, SEP-SP, forte charge lésionnelle, atrophie thalamique sévère"
french = model.sample(PHRASE, text_weight=3.0, seed=1)
Image(french.save("out/french") / "preview.png", width=640)

# %%
french.record["language"], french.record["commanded"]

# %% [markdown]
# ## Further
# - A scan of your own as the image: `model.sample(PROMPT, image="sub-01_FLAIR.nii.gz",
#   image_weight=1.5)`; the sample then lies on the scan's own grid.
# - All commands, and training on your own BIDS data: the
#   [README](https://github.com/medfuse/medfuse_jax#readme).
