"""For tests of your own code: a backend, an ML stub, sensors and a viewer as pytest fixtures.

- :mod:`ctgkit.testing.plugin`      the fixtures, options and markers; pytest finds it by itself
- :mod:`ctgkit.testing.blocking`    what the fixtures give: usable from any plain test
- :mod:`ctgkit.testing.parties`     the same for ``async`` tests, on the test's own event loop
- :mod:`ctgkit.testing.strategies`  Hypothesis strategies

Importing this package, or the plugin, imports nothing heavy. docs/testing.md shows it all.
"""
