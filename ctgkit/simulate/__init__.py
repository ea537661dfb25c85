"""Fake sensors.

- source    the interface: anything that can be read in chunks of samples
- plain     a plain normal trace; playback: a recording
- pacing    pure: when each sample is due
- outbox    pure: samples until they are acknowledged
- client    one sensor over one WebSocket: sends, resends, reconnects
- fleet     many clients in one process, one timer for all: ``await run_fleet(settings)``
- control   the sensors' control addresses, /api/on|off|health
"""
