"""The backend: a sample flows sensor -> ingest -> session -> store + mllink -> broadcast.

- session    pure: examinations, beds, sensors; what happens in, actions out
- ingest     a sensor's socket: read, decode, hand over, acknowledge
- numbering  pure: which numbers are certainly new, which the store has to look up
- store/     the group-committing writer over an engine (SQLite), the readers
- mllink     the reconnecting client of the ML service, with a bounded outbox
- broadcast  viewers, one bounded queue each
- door       pure: the handshake gate, what each HTTP path answers
- pageapi    what the live page asks for beside its socket
- app        owns and wires the parts; the only module that knows all of them
"""
