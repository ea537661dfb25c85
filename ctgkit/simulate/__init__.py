"""Fake sensors: a scenario becomes a plan, the plan a signal, the signal samples on a WebSocket.

- scenario    TOML -> what can happen, and when; knobs: every setting with unit and range
- plan        the events that happen; patient: one drawn from the scenario; truth: what happened
- signal/     pure numpy: baseline, variability, events, toco, the monitor's own faults
- sensor      scenario + seed + index -> samples and their truth, in chunks of any size
- source      the interface: anything that can be read in chunks; playback: a recording
- repertoire  what the sensors of a run play
- pacing      pure: when each sample is due; outbox: samples until they are acknowledged
- client      one sensor over one WebSocket: sends, resends, reconnects
- fleet       many clients in one process, one timer for all: ``await run_fleet(settings)``
- control     the sensors' control addresses, /api/on|off|health|inject
"""
