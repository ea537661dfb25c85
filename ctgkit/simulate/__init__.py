"""Simulated patients: a scenario becomes a plan, the plan a signal, the signal samples. Pure.

- scenario    TOML -> what can happen, and when; knobs: every setting with unit and range
- plan        the events that happen; patient: one drawn from the scenario; truth: what happened
- signal/     numpy: baseline, variability, events, toco, the monitor's own faults
- sensor      scenario + seed + index -> samples and their truth, in chunks of any size
- source      the interface: anything that can be read in chunks; playback: a recording
- repertoire  what the sensors of a run play
"""

from typing import Final

SIGNAL_VERSION: Final = "7.0"
"""Of the bytes that a scenario and a seed give; the first number changes with them."""
