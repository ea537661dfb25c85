"""Lags in buckets."""

import math

from hypothesis import given
from hypothesis import strategies as st

from ctgkit.net.lags import Lags


@given(st.lists(st.floats(0.0, 100.0), min_size=1))
def test_lag_quantiles_are_within_a_bucket(lags_s):
    """Reported quantiles are at most 5 % above the true ones, and never below."""
    lags = Lags()
    for lag_s in lags_s:
        lags.add(lag_s)
    for share in (0.5, 0.99, 1.0):
        true = sorted(lags_s)[math.ceil(share * len(lags_s)) - 1]
        reported = lags.quantile_s(share)
        assert reported <= lags.max_s == max(lags_s)
        assert true <= reported * (1 + 1e-9) + 1e-12 or reported == lags.max_s
        assert reported <= max(true, 1e-5) * 1.05
    assert Lags().quantile_s(0.5) is None
