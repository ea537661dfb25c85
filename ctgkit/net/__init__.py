"""Sockets: one way to open a server, one way to dial, and what lies between.

- server    limits and guards of every connection we accept
- origins   which web pages and host names may talk to us
- http      answers to plain requests
- client    how we dial
- addresses, frames, relay, impaired, lags, eventloop
"""
