"""From a scan of any contrast to MNI152: its intensities are explained by the tissues of the atlas, wherever those lie.

The similarity (`similarity`) is climbed from many poses, coarse before fine. SimpleITK, where it is installed, makes
the last steps. Of a brain that the field of view cut (`coverage`) only what it shows is looked at.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import linalg

from medfuse_jax.cache import cache_folder
from medfuse_jax.data import coverage, grid, labels
from medfuse_jax.data.coregistration import Laid
from medfuse_jax.data.coverage import Cut
from medfuse_jax.data.files import kept_arrays
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.poses import angle, apply, displacement, linear, shift, turn
from medfuse_jax.data.resampling import resample
from medfuse_jax.data.similarity import Maps, Points, climbed, explained, maps, points, radius
from medfuse_jax.data.simulate import atlas

try:
    import SimpleITK  # the extra `preproc`
except ModuleNotFoundError:
    SimpleITK = None

TOOL = "scipy" if SimpleITK is None else "SimpleITK"
KINDS = ("auto", "rigid", "affine", "none")
NEAR_MM = 5.0                              # a brain no farther off MNI152 than this is left where it lies by `auto`
TISSUES = (("background",), ("csf", "ventricle"), ("cortex",), ("white_matter",), ("deep_grey",), ("cerebellum",),
           ("brainstem",))                 # groups of labels.STRUCTURES that are taken to be of one brightness
T1_LIKE = (0.0, 0.3, 0.65, 1.0, 0.75, 0.7, 0.95)       # brightness of TISSUES, for mutual information
LEVELS_MM = (8.0, 4.0)                     # points and atlas, coarse and fine
TURNS = np.radians([-40.0, -20.0, 0.0, 20.0, 40.0])     # about x (a nod): scans are tilted so most often
ROLLS = np.radians([-20.0, 0.0, 20.0])                  # about y and z
HALF_TURNS = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0))
SURE = 0.8                                 # R2, coarse, of a brain that needs no half turn tried
TURNED_GAIN = 0.1                          # of R2 that a half turn has to bring
DOUBTFUL = 0.45                            # R2 below which someone should look; real heads have 0.75 to 0.9
TRIED = 4                                  # of the coarse poses that are followed
GLANCE = 5                                 # every fifth point ranks the starts of a brain that was cut
SHOWN = (0.25, 0.4, 0.55, 0.7, 0.85, 0.95)              # shares of a brain that a cut is tried to leave
SCALES = (0.7, 1.5)                        # of a head to the template's that are believed


class Registration(NamedTuple):
    """Where a scan lies in MNI152, and what was done about it."""

    transform: np.ndarray                  # 4 x 4: scanner mm -> standard mm, what is applied
    affine: np.ndarray                     # 4 x 4: the same with the head's size and shape taken to the template's
    kind: str                              # none | rigid | affine
    using: str                             # what found it: scipy, SimpleITK 2.5, or nothing
    before: float | None                   # R2 where the scan lay, sized as the template
    after: float | None                    # R2 where `transform` puts it
    off_mm: float                          # how far from MNI152 the brain lay, mean over it
    upright: np.ndarray                    # 4 x 4: the rotation and shift that were found, applied or not
    shown: float                           # which share of the template's brain the field of view shows
    cut: str                               # which sides of it the field of view cuts off: "top", "left and back"
    onto: str = "MNI152"                   # what it was laid onto: the first visit of the same person is the other way
    laid: Laid | None = None               # how it lay to that visit
    doubts: tuple[str, ...] = ()           # warnings, as fix-ups

    @property
    def lines(self) -> list[str]:
        """What was done, and what should be looked at, as fix-ups."""
        doubt = "" if self.after is None or self.after >= DOUBTFUL else (
            f"tissues of MNI152 explain {self.after:.0%} of it only: look at its picture in quality/: is it a whole "
            "head, and does the brain mask fit?")
        return list(filter(None, [self.sentence, doubt, *self.doubts]))

    @property
    def sentence(self) -> str:
        """What was done, as a fix-up; nothing when nothing was."""
        apart = "" if self.laid is None or not self.laid.clear else (
            f"lies {self.laid.off_mm:.1f} mm and {self.laid.degrees:.0f} degrees off {self.onto}: laid onto it; ")
        if self.kind == "none":
            return ""
        told = (f"brain {self.off_mm:.0f} mm off MNI152: registered ({self.kind}, {self.using}"
                f"{'' if self.laid is None else f', as {self.onto} was'}): turned by {angle(self.transform):.0f} "
                f"degrees, tissues explain {self.before:.0%} of it before and {self.after:.0%} after")
        return apart + told + ("; volumes in ml stay those of its own grid" if self.kind == "affine" else "")


@lru_cache(maxsize=len(LEVELS_MM))
def template(spacing: float) -> Maps:
    """The template at one level, made once from the label atlas and then read from the user's cache folder."""
    path = cache_folder() / f"tissues-{atlas.ATLAS_VERSION}-{spacing:g}mm.npz"
    box = grid.standard(spacing)

    def shares() -> dict[str, np.ndarray]:
        fine = grid.standard(atlas.SPACING)
        structures = atlas.atlas().structures
        made = np.stack([resample(np.isin(structures, labels.classes_in(*groups)), fine.affine, box)
                         for groups in TISSUES])
        made[0] = 1 - made[1:].sum(axis=0)         # what lies outside the box is background, too
        return {"shares": made.astype(np.float16)}

    return maps(box, kept_arrays(path, shares)["shares"].astype(np.float32))


def register(array: np.ndarray, mask: np.ndarray, affine: np.ndarray, asked: str = "auto") -> Registration:
    """Lay a scan (x y z) with its brain mask onto MNI152.

    asked: none | rigid (a rotation and a shift: volumes stay a person's own) | affine | auto (rigid, but nothing for a
    brain that lies within NEAR_MM of where it would be put).
    """
    faces, home = coverage.cuts(mask, affine), np.eye(4)
    if asked == "none":
        return Registration(home, home, "none", "nothing", None, None, 0.0, home, *_shown(faces, home, home))
    seen, known = points(array, mask, affine, LEVELS_MM[-1], faces), template(LEVELS_MM[-1])
    coarse = _searched(points(array, mask, affine, LEVELS_MM[0], faces), template(LEVELS_MM[0]), mask, affine, faces)
    if faces:                              # what is not seen does not hold a stretch: size alone
        pose, using = climbed(seen, known, coarse, 7), "scipy"
    elif SimpleITK is None:
        pose, using = climbed(seen, known, climbed(seen, known, coarse, 7), 12), "scipy"
    else:
        pose = _by_simpleitk(np.where(mask, array, 0), affine, coarse)
        using = f"SimpleITK {SimpleITK.Version.VersionString()}"
    upright = rigid(pose)
    off = displacement(upright, home, seen.places)
    before, after = explained(seen, known, pose @ np.linalg.inv(upright)), explained(seen, known, pose)
    shown = _shown(faces, pose, upright)
    if asked == "auto" and off <= NEAR_MM:
        left = pose @ np.linalg.inv(upright)
        return Registration(home, left, "none", using, before, before, off, upright, *shown)
    kind = "affine" if asked == "affine" else "rigid"
    return Registration(pose if kind == "affine" else upright, pose, kind, using, before, after, off, upright,
                        *shown)


def _shown(faces: Sequence[Cut], pose: np.ndarray, upright: np.ndarray) -> tuple[float, str]:
    """Which share of the template's brain lies before the cuts, and which sides of it lie behind."""
    if not faces:
        return 1.0, ""
    brain = apply(np.linalg.inv(pose), template(LEVELS_MM[-1]).inner)
    return coverage.shown(brain, faces), coverage.sides(faces, upright)


def brain(found: Registration, like: Grid) -> np.ndarray:
    """The template's brain where the registration says that it lies, on the scan's grid (bool, x y z)."""
    known = template(LEVELS_MM[-1])
    return resample(1 - known.shares[0], np.linalg.inv(found.affine) @ known.grid.affine, like) > 0.5


def _searched(seen: Points, known: Maps, mask: np.ndarray, affine: np.ndarray, faces: Sequence[Cut]) -> np.ndarray:
    """The best of the poses that climbing from the most promising starts ends in; a head may hang upside down."""
    upright, best, reached = list(starts(mask, affine, known, faces)), np.eye(4), -np.inf
    glance, tried = (seen.thinned(GLANCE), 2 * TRIED) if faces else (seen, TRIED)      # a cut has many more starts
    for half in HALF_TURNS[:1] if faces else HALF_TURNS:
        flip = shift(known.centre) @ linear(np.diag(half)) @ shift(-known.centre)
        poses = sorted([flip @ pose for pose in upright], key=lambda pose: -explained(glance, known, pose))
        for pose in [climbed(seen, known, pose, 7) for pose in poses[:tried]]:
            gain = 0.0 if half == HALF_TURNS[0] else TURNED_GAIN
            if (fits := explained(seen, known, pose)) > reached + gain:
                best, reached = pose, fits
        if reached > SURE:
            break
    return best


def _by_simpleitk(array: np.ndarray, affine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """A pose made better by SimpleITK: mutual information (Mattes) with a painted template, affine, two levels."""
    known = template(LEVELS_MM[-1])
    images = np.tensordot(T1_LIKE, known.shares, axes=1), resample(array, coarse @ affine, known.grid)
    still, moving = (SimpleITK.GetImageFromArray(np.asarray(image.T, np.float32)) for image in images)
    for image in (still, moving):
        image.SetSpacing(known.grid.spacing.tolist())
        image.SetOrigin(known.grid.affine[:3, 3].tolist())
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)           # sums in one order: the same scan gives the same pose
    method.SetMetricAsMattesMutualInformation(32)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 200, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([4.0, 0.0])
    move = SimpleITK.AffineTransform(3)
    move.SetCenter(known.centre.tolist())
    method.SetInitialTransform(move, inPlace=True)
    method.Execute(still, moving)
    onto = linear(np.array(move.GetMatrix()).reshape(3, 3))               # template mm -> mm of the coarse pose
    onto = shift(known.centre + move.GetTranslation()) @ onto @ shift(-known.centre)
    return np.linalg.inv(onto) @ coarse


def starts(mask: np.ndarray, affine: np.ndarray, known: Maps, faces: Sequence[Cut] = ()) -> Iterator[np.ndarray]:
    """Poses to begin with: the brain's centre on the template's, its size, and turns about each axis.

    A brain that was cut is laid on as large a part of the template's, for some shares that the cuts may have left.
    """
    brain, whole = apply(affine, np.argwhere(mask)[::7]), known.inner
    centre = brain.mean(axis=0)
    for turned in (turn(nod, roll, yaw) for nod in TURNS for roll in ROLLS for yaw in ROLLS):
        for shares in product(SHOWN, repeat=len(faces)):
            part = whole
            for cut, share in zip(faces, shares, strict=True):
                height = part @ (turned @ cut.normal)
                part = part[height <= np.quantile(height, share)]
            scale = np.clip(radius(part) / radius(brain), *SCALES)
            yield shift(part.mean(axis=0)) @ linear(scale * turned) @ shift(-centre)


def rigid(affine: np.ndarray) -> np.ndarray:
    """The rotation of an affine move (polar decomposition), which takes the template's centre from where it does."""
    centre = template(LEVELS_MM[-1]).centre
    rotation = linalg.polar(affine[:3, :3])[0]
    return shift(centre) @ linear(rotation) @ shift(-apply(np.linalg.inv(affine), centre))
