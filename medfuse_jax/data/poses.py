"""Moves of space as 4 x 4 matrices in mm: made, applied, and how far apart two of them are."""

import numpy as np
from scipy import linalg


def apply(affine: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Where a move takes places (n 3, or one)."""
    return places @ affine[:3, :3].T + affine[:3, 3]


def linear(matrix: np.ndarray) -> np.ndarray:
    """The move that a 3 x 3 matrix makes."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    return affine


def shift(by: np.ndarray) -> np.ndarray:
    """The move by (x, y, z) mm."""
    affine = np.eye(4)
    affine[:3, 3] = by
    return affine


def turn(nod: float, roll: float, yaw: float) -> np.ndarray:
    """The rotation (3 x 3) whose vector (axis times angle, radians) is (nod, roll, yaw) about x, y, z."""
    return linalg.expm(np.array([[0, -yaw, roll], [yaw, 0, -nod], [-roll, nod, 0]]))


def displacement(one: np.ndarray, other: np.ndarray, places: np.ndarray) -> float:
    """How far two moves take places (n 3, mm) apart, mean mm."""
    return float(np.linalg.norm(apply(one, places) - apply(other, places), axis=1).mean())


def angle(move: np.ndarray) -> float:
    """By how much a move turns, degrees: of its rotation (polar decomposition) when it stretches too."""
    rotation = linalg.polar(move[:3, :3])[0]
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
