"""The visits of one person share one pose: the first is laid onto MNI152, the others onto the first."""

from typing import NamedTuple

import numpy as np

from medfuse_jax.data import coregistration
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.poses import apply, displacement
from medfuse_jax.data.registration import LEVELS_MM, Registration, template
from medfuse_jax.data.similarity import Points, explained, points

AGREE_MM = 10.0                            # of the way over the first visit and the way straight to MNI152


class First(NamedTuple):
    """What later visits need of a person's first one."""

    study: str
    seen: tuple[Points, ...]               # of its first contrast
    registration: Registration


def follow(own: Registration, first: First, reference: Scan, mask: np.ndarray) -> Registration:
    """A visit that lies where the person's first one does; where that is not believed, its own registration.

    Within the tolerance of `coregistration` the two lie alike already, and share one transform to the last digit.
    """
    straight = np.linalg.inv(own.upright) @ first.registration.upright               # mm of the first -> of this visit
    laid = coregistration.lay(first.seen, reference, [straight])
    places = apply(np.linalg.inv(laid.move), first.seen[-1].places)
    apart = displacement(laid.move, np.linalg.inv(straight), places)
    if laid.after < coregistration.LEAST_FIT or apart > AGREE_MM:
        return own._replace(doubts=(*own.doubts, f"could not be laid onto {first.study} (explains {laid.after:.0%} of "
                                    f"it, {apart:.0f} mm from its own way to MNI152): registered by itself: look at "
                                    "both pictures in quality/"))
    between = laid.move if laid.clear else np.eye(4)
    transform = first.registration.transform @ between
    kind = "none" if np.array_equal(transform, np.eye(4)) else "rigid" if first.registration.kind == "none" else \
        first.registration.kind
    size = own.affine if own.kind == "none" else own.affine @ np.linalg.inv(own.upright)
    sized = transform if kind == "affine" else size @ transform
    spacing = LEVELS_MM[-1]
    after = explained(points(reference.array, mask, reference.affine, spacing), template(spacing), sized)
    return own._replace(transform=transform, affine=sized, kind=kind, after=after, onto=first.study, laid=laid)
