"""Diagnostics: how good a result is, measured on the shapes and on the map."""

from diffeo.diagnostics.certificates import Certificate, certificate
from diffeo.diagnostics.connection import Connection, connect
from diffeo.diagnostics.convergence import Convergence, convergence
from diffeo.diagnostics.crossings import crossing_faces, crossing_pairs
from diffeo.diagnostics.density import DensityReport
from diffeo.diagnostics.distance import Distance, distances, symmetric_distance
from diffeo.diagnostics.first_step import FirstStep, first_step, non_local_diffusion
from diffeo.diagnostics.folding import carried_directions, flipped, turned
from diffeo.diagnostics.geodesicity import Geodesicity, geodesicity
from diffeo.diagnostics.grids import Consistency, corner_determinants, folds, inverse_consistency
from diffeo.diagnostics.honesty import density_report
from diffeo.diagnostics.inversion import FixedPoint, fixed_point_inverse
from diffeo.diagnostics.landmarks import LandmarkError, landmark_error
from diffeo.diagnostics.metric import curvature, gradient_in_v
from diffeo.diagnostics.overlap import LabelOverlap, Overlap, overlap
from diffeo.diagnostics.recorder import ConvergenceRecorder, Guarantee, guarantee, predicted_decay
from diffeo.diagnostics.regularity import Regularity, depth_slope, regularity
from diffeo.diagnostics.robustness import robustness_radius
from diffeo.diagnostics.similarity import Similarity, similarity
from diffeo.diagnostics.states import speeds

__all__ = [
    "Certificate",
    "Connection",
    "Consistency",
    "Convergence",
    "ConvergenceRecorder",
    "DensityReport",
    "Distance",
    "FirstStep",
    "FixedPoint",
    "Geodesicity",
    "Guarantee",
    "LabelOverlap",
    "LandmarkError",
    "Overlap",
    "Regularity",
    "Similarity",
    "carried_directions",
    "certificate",
    "connect",
    "convergence",
    "corner_determinants",
    "crossing_faces",
    "crossing_pairs",
    "curvature",
    "density_report",
    "depth_slope",
    "distances",
    "first_step",
    "fixed_point_inverse",
    "flipped",
    "folds",
    "geodesicity",
    "gradient_in_v",
    "guarantee",
    "inverse_consistency",
    "landmark_error",
    "non_local_diffusion",
    "overlap",
    "predicted_decay",
    "regularity",
    "robustness_radius",
    "similarity",
    "speeds",
    "symmetric_distance",
    "turned",
]
