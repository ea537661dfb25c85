"""The stub ML service: a WebSocket server around the analysis. A test tool, not a medical device.

- service  the server; script, acting: programmed answers instead of the analysis
"""
