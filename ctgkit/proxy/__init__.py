"""``ctgkit proxy``: stands between any two parties and lets things go wrong.

``parties`` (pure) remembers who came and what becomes of their messages, ``passage`` carries it out
on the connections of :mod:`ctgkit.net.relay`.
"""
