"""Nodes with too many sensors send some away, and give up where that is in vain."""

from ctgkit.server.store.postgres.shares import FEWEST, REST_MAX_S, REST_S, TRIED_MIN, Shares

MINE = [str(n) for n in range(20)]


def tried(shares, at_s):
    """Return how many sensors go, one a second, all of which come back, until it rests."""
    sensors, going = MINE, []
    while sent := shares.too_many(sensors, {"a": len(MINE), "b": 0}, at_s):
        going += sent
        shares.came(*sent)
        sensors = [*sensors[1:], sensors[0]]
        at_s += 1
    return going


def test_in_vain():
    """Who comes back each time is sent away more and more seldom."""
    shares, at_s, rest_s = Shares(), 0.0, REST_S
    for _ in range(7):
        assert len(set(tried(shares, at_s))) == TRIED_MIN
        assert not tried(shares, at_s + rest_s)
        at_s += TRIED_MIN + rest_s
        rest_s = min(2 * rest_s, REST_MAX_S)
    assert rest_s == REST_MAX_S


def test_one_that_comes_and_goes_is_one():
    """A flapping sensor doesn't make it look in vain for all."""
    shares = Shares()
    for second in range(TRIED_MIN):
        shares.too_many(MINE[second:], {"a": len(MINE), "b": 0}, float(second))
        shares.came(MINE[0])
    assert shares.too_many(MINE, {"a": len(MINE), "b": 0}, float(TRIED_MIN))


def test_few_are_left_alone():
    """A ward of nine isn't moved about."""
    assert not Shares().too_many(MINE[: FEWEST - 1], {"a": FEWEST - 1, "b": 0}, 0.0)
