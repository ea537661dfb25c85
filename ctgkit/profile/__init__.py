"""Profiles: how samples look on a wire that isn't ours, and how replies are read there.

- model     what a profile file may say, checked
- template  pure: values in trees and texts, compiled once
- render    pure: samples -> requests or messages
- reply     pure: the bytes of a reply -> a prediction
- library   finds and reads profile files; shapes/ are the shipped ones
- links     connections over WebSocket or HTTP, and what counts as refused
- client    plays sensors over them
- mlservice an ML service behind HTTP as one of PROTOCOL.md
- command   ``ctgkit profile``
"""
