"""Keys do what the help says."""

from ctgkit.watch.controls import press
from ctgkit.watch.state import State, fold
from tests.watch.backend import OTHER, SENSOR, result


def folded(*results, state=None):
    state = state or State(source="test")
    for item in results:
        fold(state, item, 0.0)
    return state


def test_pause_holds_the_edge_and_scrolling_moves_it():
    """Paused at 100 s; a centimetre back; home, end; new samples don't move the picture."""
    state = folded(*(result(float(t)) for t in range(101)))
    press(state, " ")
    folded(*(result(float(t)) for t in range(101, 200)), state=state)
    assert (state.paused, state.focused.edge_s) == (True, 100.0)
    press(state, "left")
    assert state.focused.edge_s == 40.0
    press(state, "home")
    assert state.focused.edge_s == 0.0  # on a screen without room
    press(state, "page_down")
    assert state.focused.edge_s == 199.0
    press(state, "end")
    assert (state.paused, state.focused.edge_s) == (False, 199.0)


def test_focus_goes_round_and_to_a_number():
    """Tab goes on and round, back-tab back, a digit straight there, and out of the grid."""
    state = folded(result(1.0), result(1.0, sensor_id=OTHER))
    seen = []
    for key in ("tab", "tab", "back_tab", "1", "2", "9"):
        press(state, key)
        seen.append(state.focused.sensor_id)
    assert seen == [OTHER, SENSOR, OTHER, SENSOR, OTHER, OTHER]
    press(state, "g")
    assert state.as_grid
    press(state, "1")
    assert not state.as_grid


def test_a_acknowledges_what_is_shown():
    """In focus one sensor's alarms, in the grid everybody's."""
    low = [result(t / 4, 100.0, sensor_id=i) for t in range(160) for i in (SENSOR, OTHER)]
    state = folded(*low)
    press(state, "a")
    assert [len(s.alarms.open) for s in state.sensors.values()] == [0, 1]
    press(state, "g")
    press(state, "a")
    assert [len(s.alarms.open) for s in state.sensors.values()] == [0, 0]


def test_paper_scale_and_theme_go_round():
    """Three presses of a key with three settings end where they began."""
    state = State(source="test")
    for key in "pppttrrr":
        press(state, key)
    assert (state.speed_cm_min, state.fhr_scale, state.theme) == (1, 1, "dark")


def test_help_closes_with_any_key():
    """The key that closes the help does nothing else; q still quits."""
    state = State(source="test")
    press(state, "?")
    assert state.help
    assert press(state, "s") is None
    assert not state.help
    press(state, "?")
    assert press(state, "q") == "quit"


def test_home_shows_a_full_screen():
    """The oldest sample stands at the left edge, not alone at the right one; so far back and no
    further also with the arrows."""
    state = folded(*(result(float(t)) for t in range(3600)))
    state.strip_cells = 100  # twenty minutes at 1 cm/min
    press(state, "home")
    assert state.focused.edge_s == 1200.0
    press(state, "left")
    assert state.focused.edge_s == 1200.0
    press(state, "p")
    press(state, "home")
    assert state.focused.edge_s == 600.0
    state.strip_cells = 1000  # more than there is
    press(state, "home")
    assert state.focused.edge_s == 3599.0


def test_keys_for_the_pace_are_the_shells():
    """The state doesn't play anything."""
    state = folded(result(1.0))
    assert [press(state, key) for key in "+=-_"] == ["faster", "faster", "slower", "slower"]
