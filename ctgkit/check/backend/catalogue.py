"""All checks of a backend, in the order in which they run."""

from ctgkit.check.backend import acks as backend_acks
from ctgkit.check.backend import admission as backend_admission
from ctgkit.check.backend import answers as backend_answers
from ctgkit.check.backend import churn as backend_churn
from ctgkit.check.backend import door as backend_door
from ctgkit.check.backend import exams as backend_exams
from ctgkit.check.backend import frames as backend_frames
from ctgkit.check.backend import http as backend_http
from ctgkit.check.backend import liveness as backend_liveness
from ctgkit.check.backend import ml as backend_ml
from ctgkit.check.backend import numbers as backend_numbers
from ctgkit.check.backend import past as backend_past
from ctgkit.check.backend import process as backend_process
from ctgkit.check.backend import samples as backend_samples
from ctgkit.check.backend import takeover as backend_takeover
from ctgkit.check.backend import viewers as backend_viewers
from ctgkit.check.checks import Catalogue

BACKEND = Catalogue()
for _part in (
    backend_door,
    backend_takeover,
    backend_samples,
    backend_frames,
    backend_exams,
    backend_acks,
    backend_numbers,
    backend_ml,
    backend_http,
    backend_admission,
    backend_viewers,
    backend_answers,
    backend_past,
    backend_liveness,
    backend_churn,
    backend_process,
):
    BACKEND.checks |= _part.CHECKS.checks
