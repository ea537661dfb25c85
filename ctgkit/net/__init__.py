"""Sockets: one way to open a server, one way to dial, and what lies between.

- server    how a server is opened
- connection, newcomers  what one connection may cost, open and before
- messages  what a read brought, cut into frames
- origins   which web pages and host names may talk to us
- refusals  lines in the log for what is refused
- http      a request, parsed once, and its answer
- client    how we dial
- addresses, frames, relay, impaired, lags, eventloop
"""
