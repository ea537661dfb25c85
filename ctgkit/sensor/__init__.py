"""Sensors that send: one over one WebSocket, or a fleet of them.

- pacing   pure: when each sample is due; outbox: samples until they are acknowledged
- client   one sensor: sends, resends, reconnects; badline: faults between it and its socket
- fleet    many clients in one process, one timer for all: ``await run_fleet(settings)``
- control  the sensors' control addresses, /api/on|off|health|inject|change
"""
