"""From a scan of any contrast to MNI152: its intensities are explained by the tissues of the atlas, wherever those lie.

Points lie on the scan, the atlas moves over them. Of each point the atlas says which tissues are there; the intensities
of the tissues are unknown and fall out of a linear regression, so that no contrast is assumed. What the regression
explains of the variance (R2, the correlation ratio of soft classes: Roche et al., MICCAI 1998) is the similarity, and
its gradient steers a Gauss-Newton search from many poses, coarse before fine. SimpleITK, where it is installed, makes
the last steps.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import linalg, ndimage

from medfuse_jax.cache import cache_folder
from medfuse_jax.data import grid, labels
from medfuse_jax.data.files import whole_file
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.poses import apply, displacement, linear, shift, turn
from medfuse_jax.data.resampling import coarser, resample
from medfuse_jax.data.simulate import atlas
from medfuse_jax.errors import MedFuseError

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
RIM = 2                                    # voxels of background around the brain that count: they hold its outline
TURNS = np.radians([-40.0, -20.0, 0.0, 20.0, 40.0])     # about x (a nod): scans are tilted so most often
ROLLS = np.radians([-20.0, 0.0, 20.0])                  # about y and z
HALF_TURNS = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0))
SURE = 0.8                                 # R2, coarse, of a brain that needs no half turn tried
TURNED_GAIN = 0.1                          # of R2 that a half turn has to bring
DOUBTFUL = 0.45                            # R2 below which someone should look; real heads have 0.75 to 0.9
TRIED = 4                                  # of the coarse poses that are followed
MOST_STEPS = 25
STILL_MM = 0.03                            # a step that moves the brain less than this is the last
BRIGHTEST = 99.0                           # percentile of the brain above which intensities count alike: fat, vessels
SCALES = (0.7, 1.5)                        # of a head to the template's that are believed


class Template(NamedTuple):
    """Tissues of MNI152 on the standard box, at one level."""

    grid: Grid
    shares: np.ndarray                     # tissue x y z: share of the voxel, float32
    centre: np.ndarray                     # mm, of the brain
    radius: float                          # mm, root mean square distance of the brain from its centre


class Registration(NamedTuple):
    """Where a scan lies in MNI152, and what was done about it."""

    transform: np.ndarray                  # 4 x 4: scanner mm -> standard mm, what is applied
    affine: np.ndarray                     # 4 x 4: the same with the head's size and shape taken to the template's
    kind: str                              # none | rigid | affine
    using: str                             # what found it: scipy, SimpleITK 2.5, or nothing
    before: float | None                   # R2 where the scan lay, sized as the template
    after: float | None                    # R2 where `transform` puts it
    off_mm: float                          # how far from MNI152 the brain lay, mean over it

    @property
    def doubt(self) -> str:
        """A warning, as a fix-up, where the head does not look like one; nothing otherwise."""
        if self.after is None or self.after >= DOUBTFUL:
            return ""
        return (f"tissues of MNI152 explain {self.after:.0%} of it only: look at its picture in quality/: is it a "
                "whole head, and does the brain mask fit?")

    @property
    def sentence(self) -> str:
        """What was done, as a fix-up; nothing when nothing was."""
        if self.kind == "none":
            return ""
        angle = np.degrees(np.arccos(np.clip((np.trace(linalg.polar(self.transform[:3, :3])[0]) - 1) / 2, -1, 1)))
        told = (f"brain {self.off_mm:.0f} mm off MNI152: registered ({self.kind}, {self.using}): turned by {angle:.0f} "
                f"degrees, tissues explain {self.before:.0%} of it before and {self.after:.0%} after")
        return told + ("; volumes in ml stay those of its own grid" if self.kind == "affine" else "")


class Points(NamedTuple):
    """What is looked at of a scan."""

    places: np.ndarray                     # n 3: scanner mm
    values: np.ndarray                     # n: intensity, 0 outside the brain
    nuisance: np.ndarray                   # n 3: a slope of intensity across the brain along each axis


@lru_cache(maxsize=len(LEVELS_MM))
def template(spacing: float) -> Template:
    """The template at one level, made once from the label atlas and then read from the user's cache folder."""
    path = cache_folder() / f"tissues-{atlas.ATLAS_VERSION}-{spacing:g}mm.npz"
    box = grid.standard(spacing)
    if path.is_file():
        with np.load(path) as kept:
            shares = kept["shares"].astype(np.float32)
    else:
        fine = grid.standard(atlas.SPACING)
        structures = atlas.atlas().structures
        shares = np.stack([resample(np.isin(structures, labels.classes_in(*groups)), fine.affine, box)
                           for groups in TISSUES])
        shares[0] = 1 - shares[1:].sum(axis=0)         # what lies outside the box is background, too
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, shares=shares.astype(np.float16))
    brain = np.argwhere(shares[0] < 0.5) @ box.affine[:3, :3].T + box.affine[:3, 3]
    centre = brain.mean(axis=0)
    return Template(box, shares, centre, float(np.sqrt(((brain - centre) ** 2).sum(axis=1).mean())))


def points(array: np.ndarray, mask: np.ndarray, affine: np.ndarray, spacing: float) -> Points:
    """Intensities of a scan (x y z) inside its brain mask and just around it, on a grid of about `spacing` mm."""
    coarse = coarser(Grid(array.shape, affine), spacing)
    coarse = Grid(tuple(count + 2 * RIM for count in coarse.shape), coarse.affine @ shift(np.full(3, -float(RIM))))
    inside = resample(mask, affine, coarse)
    values = resample(np.where(mask, np.maximum(array, 0), 0), affine, coarse)
    brain = inside > 0.5
    if not brain.any():
        raise MedFuseError(f"the brain mask is smaller than one voxel of {spacing:g} mm")
    values = np.minimum(values, np.percentile(values[brain], BRIGHTEST))
    chosen = np.argwhere(ndimage.binary_dilation(brain, iterations=RIM))
    places = chosen @ coarse.affine[:3, :3].T + coarse.affine[:3, 3]
    slopes = (places - places.mean(axis=0)) / places.std(axis=0) * inside[tuple(chosen.T)][:, None]
    return Points(places, values[tuple(chosen.T)].astype(np.float64), slopes)


def register(array: np.ndarray, mask: np.ndarray, affine: np.ndarray, asked: str = "auto") -> Registration:
    """Lay a scan (x y z) with its brain mask onto MNI152.

    asked: none | rigid (a rotation and a shift: volumes stay a person's own) | affine | auto (rigid, but nothing for a
    brain that lies within NEAR_MM of where it would be put).
    """
    if asked == "none":
        return Registration(np.eye(4), np.eye(4), "none", "nothing", None, None, 0.0)
    seen, known = points(array, mask, affine, LEVELS_MM[-1]), template(LEVELS_MM[-1])
    coarse = _searched(points(array, mask, affine, LEVELS_MM[0]), template(LEVELS_MM[0]), mask, affine)
    if SimpleITK is None:
        pose, using = climbed(seen, known, climbed(seen, known, coarse, 7), 12), "scipy"
    else:
        pose = _by_simpleitk(np.where(mask, array, 0), affine, coarse)
        using = f"SimpleITK {SimpleITK.Version.VersionString()}"
    upright = rigid(pose)
    off = displacement(upright, np.eye(4), seen.places)
    before, after = explained(seen, known, pose @ np.linalg.inv(upright)), explained(seen, known, pose)
    if asked == "auto" and off <= NEAR_MM:
        return Registration(np.eye(4), pose @ np.linalg.inv(upright), "none", using, before, before, off)
    kind = "affine" if asked == "affine" else "rigid"
    return Registration(pose if kind == "affine" else upright, pose, kind, using, before, after, off)


def brain(found: Registration, like: Grid) -> np.ndarray:
    """The template's brain where the registration says that it lies, on the scan's grid (bool, x y z)."""
    known = template(LEVELS_MM[-1])
    return resample(1 - known.shares[0], np.linalg.inv(found.affine) @ known.grid.affine, like) > 0.5


def _searched(seen: Points, known: Template, mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The best of the poses that climbing from the most promising starts ends in; a head may hang upside down."""
    upright, best, reached = starts(mask, affine, known), np.eye(4), -np.inf
    for half in HALF_TURNS:
        flip = shift(known.centre) @ linear(np.diag(half)) @ shift(-known.centre)
        poses = sorted([flip @ pose for pose in upright], key=lambda pose: -explained(seen, known, pose))[:TRIED]
        for pose in [climbed(seen, known, pose, 7) for pose in poses]:
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


def starts(mask: np.ndarray, affine: np.ndarray, known: Template) -> list[np.ndarray]:
    """Poses to begin with: the brain's centre on the template's, its size, and turns about each axis."""
    brain = np.argwhere(mask)[::7] @ affine[:3, :3].T + affine[:3, 3]
    centre = brain.mean(axis=0)
    radius = np.sqrt(((brain - centre) ** 2).sum(axis=1).mean())
    scale = np.clip(known.radius / radius, *SCALES)
    turns = [turn(nod, roll, yaw) for nod in TURNS for roll in ROLLS for yaw in ROLLS]
    return [shift(known.centre) @ linear(scale * turned) @ shift(-centre) for turned in turns]


def explained(seen: Points, known: Template, pose: np.ndarray) -> float:
    """R2: what the tissues explain of the intensities under a pose, 0 .. 1."""
    shares = _sampled(known.shares, known.grid, apply(pose, seen.places))
    return _regressed(np.column_stack([shares, seen.nuisance]), seen.values)[1]


def climbed(seen: Points, known: Template, pose: np.ndarray, freedom: int) -> np.ndarray:
    """Gauss-Newton steps in `freedom` directions (6 rigid, 7 with size, 12 affine) until the brain lies still."""
    best = explained(seen, known, pose)
    for _ in range(MOST_STEPS):
        move = _step(seen, known, pose, freedom)
        for _ in range(4):
            tried = linalg.expm(move) @ pose
            reached = explained(seen, known, tried)
            if reached > best:
                break
            move = move / 2
        else:
            return pose
        moved = displacement(tried, pose, seen.places)
        pose, best = tried, reached
        if moved < STILL_MM:
            break
    return pose


def _step(seen: Points, known: Template, pose: np.ndarray, freedom: int) -> np.ndarray:
    """The generator (4 x 4) of the move that a linear model of the atlas's slopes wants."""
    places = apply(pose, seen.places)
    shares = _sampled(known.shares, known.grid, places)
    regressors = np.column_stack([shares, seen.nuisance])
    brightness = _regressed(regressors, seen.values)[0][:len(TISSUES)]
    painted = np.tensordot(brightness, known.shares, axes=1)
    slopes = np.stack(np.gradient(painted, *known.grid.spacing))                      # per mm: the box is not turned
    slopes = _sampled(slopes, known.grid, places, outside=0.0)
    directions = _generators(known)[:freedom]
    jacobian = np.stack([(slopes * (places @ each[:3, :3].T + each[:3, 3])).sum(axis=1) for each in directions], axis=1)
    weights = _regressed(np.column_stack([regressors, jacobian]), seen.values)[0][-freedom:]
    return np.tensordot(weights, directions, axes=1)


def _generators(known: Template) -> np.ndarray:
    """12 infinitesimal moves about the brain's centre: 3 shifts (mm), 3 turns, size, 5 others; turns in radii."""
    about = np.zeros((12, 4, 4))
    about[[0, 1, 2], [0, 1, 2], 3] = 1.0
    for place, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        about[3 + place, i, j], about[3 + place, j, i] = -1.0, 1.0
        about[9 + place, i, j] = about[9 + place, j, i] = 1.0
    about[6, [0, 1, 2], [0, 1, 2]] = 1.0
    about[7, [0, 1], [0, 1]] = 1.0, -1.0
    about[8, [1, 2], [1, 2]] = 1.0, -1.0
    about[3:, :3, 3] = -about[3:, :3, :3] @ known.centre
    about[3:] /= known.radius
    return about


def _regressed(regressors: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Least squares by normal equations with a little ridge, and R2."""
    square = regressors.T @ regressors
    square[np.diag_indices_from(square)] += 1e-6 * np.trace(square) / len(square)
    weights = np.linalg.solve(square, regressors.T @ values)
    residual = values - regressors @ weights
    return weights, float(1 - residual @ residual / ((values - values.mean()) ** 2).sum())


def _sampled(maps: np.ndarray, box: Grid, places: np.ndarray, outside: float = 1.0) -> np.ndarray:
    """Maps (m x y z) at places (n 3, mm), linear: n m. Beyond the box the first map is `outside`, the others 0."""
    index = ((places - box.affine[:3, 3]) / box.spacing).T
    return np.stack([ndimage.map_coordinates(each, index, order=1, mode="constant", cval=outside * (number == 0),
                                             prefilter=False) for number, each in enumerate(maps)], axis=1)


def rigid(affine: np.ndarray) -> np.ndarray:
    """The rotation of an affine move (polar decomposition), which takes the template's centre from where it does."""
    centre = template(LEVELS_MM[-1]).centre
    rotation = linalg.polar(affine[:3, :3])[0]
    return shift(centre) @ linear(rotation) @ shift(-apply(np.linalg.inv(affine), centre))
