"""All checks of a backend, in the order in which they run."""

from ctgkit.check import (
    backend_door,
    backend_exams,
    backend_http,
    backend_ml,
    backend_past,
    backend_samples,
    backend_viewers,
)
from ctgkit.check.checks import Catalogue

BACKEND = Catalogue()
for _part in (
    backend_door,
    backend_samples,
    backend_exams,
    backend_ml,
    backend_http,
    backend_viewers,
    backend_past,
):
    BACKEND.checks |= _part.CHECKS.checks
