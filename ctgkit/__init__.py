"""CTGKit: fake CTG sensors, a reference backend, a stub ML service and a test bench.

A test tool, not a medical device.
"""

__version__ = "0.1.0"
