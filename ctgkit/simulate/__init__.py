"""Fake sensors.

- source   the interface: anything that can be read in chunks of samples
- knobs    what a scenario can set: units, ranges, defaults; events that can be forced
- scenario TOML to a checked scenario; library finds the shipped ones and files
- patient  a scenario after the dice were cast: knobs over time
- plan     which events happen when; truth says so; signal/ turns them into samples
- sensor   scenario, seed, index -> samples and truth, in chunks of any size
- generate, scenario_command   the commands `ctgkit generate` and `ctgkit scenario`
- client   plays a source over a WebSocket: paces, acknowledges, resends, reconnects
- fleet    many clients in one process
- control  the sensors' control addresses, /api/on|off|health
"""
