"""Faults of messages and of the network: seeded, scheduled, composable, and pure.

A fault is a small frozen class in ``messages`` or ``network``. ``fault`` says what one is,
``schedule`` when it strikes, ``line`` what becomes of a stream of messages, ``schema`` how faults
are written on the command line and in scenarios. ``simulate`` applies them between a sensor and
its socket, ``proxy`` between any two parties; :mod:`ctgkit.net.impaired` carries out what a
network does.
"""
