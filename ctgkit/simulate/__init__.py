"""Fake sensors.

- source   the interface: anything that can be read in chunks of samples
- client   plays a source over a WebSocket: paces, acknowledges, resends, reconnects
- fleet    many clients in one process
- control  the sensors' control addresses, /api/on|off|health
"""
