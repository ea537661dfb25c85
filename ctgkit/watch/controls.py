"""What the keys do to the view. This module performs no I/O."""

from typing import Literal

from ctgkit.display import FHR_SCALES, PAPER_SPEEDS_CM_MIN
from ctgkit.watch.state import THEMES, Sensor, State
from ctgkit.watch.strip import CELLS_PER_CM

_MOVES_CM = {"left": -1, "right": 1, "page_up": -10, "page_down": 10}
"""How far a key scrolls, centimetres of paper."""

_PACES = {"+": "faster", "=": "faster", "-": "slower", "_": "slower"}

Action = Literal["quit", "save", "faster", "slower"]


def press(state: State, key: str) -> Action | None:
    """Take in one key; return what the shell has to do, if anything."""
    state.changes += 1
    if state.help and key != "q":
        state.help = False
    elif key == "q":
        return "quit"
    elif key == "s":
        return "save"
    elif key in _PACES:
        return "faster" if _PACES[key] == "faster" else "slower"
    elif key in _MOVES_CM or key in ("home", "end", "n", " "):
        _move_in_time(state, key)
    elif key == "a":
        for sensor in _shown(state):
            sensor.alarms.acknowledge()
    elif key in ("tab", "down", "back_tab", "up"):
        step = 1 if key in ("tab", "down") else -1
        state.focus = (state.focus + step) % max(1, len(state.sensors))
    elif key.isdecimal() and 1 <= int(key) <= len(state.sensors):
        state.focus, state.as_grid = int(key) - 1, False
    else:
        _change_display(state, key)
    return None


def _change_display(state: State, key: str) -> None:
    if key in ("g", "enter"):
        state.as_grid = not state.as_grid if key == "g" else False
    elif key == "p":
        index = PAPER_SPEEDS_CM_MIN.index(state.speed_cm_min) + 1
        state.speed_cm_min = PAPER_SPEEDS_CM_MIN[index % len(PAPER_SPEEDS_CM_MIN)]
    elif key == "r":
        state.fhr_scale = (state.fhr_scale + 1) % len(FHR_SCALES)
    elif key == "t":
        state.theme = THEMES[(THEMES.index(state.theme) + 1) % len(THEMES)]
    elif key in ("?", "h"):
        state.help = True


def _shown(state: State) -> list[Sensor]:
    """Return the sensors that a key is about."""
    if state.as_grid or state.focused is None:
        return list(state.sensors.values())
    return [state.focused]


def _move_in_time(state: State, key: str) -> None:
    """Pause, scroll, or go back to the present."""
    everyone = list(state.sensors.values())
    if key in ("end", "n") or (key == " " and state.paused):
        state.paused = False
        for sensor in everyone:
            sensor.held_s = None
        return
    if not state.paused:
        state.paused = True
        for sensor in everyone:
            sensor.held_s = sensor.edge_s
    for sensor in _shown(state):
        if not len(sensor.trace):
            continue
        moved_s = sensor.edge_s + _MOVES_CM.get(key, 0) * 60 / state.speed_cm_min
        # the oldest sample at the left edge, or all that there is: never an empty screen
        first_s, last_s = sensor.trace.first_s, sensor.trace.last_s
        full_s = first_s + state.strip_cells * 60 / (state.speed_cm_min * CELLS_PER_CM)
        if key == "home":
            moved_s = full_s
        sensor.held_s = min(max(moved_s, full_s if full_s < last_s else first_s), last_s)
