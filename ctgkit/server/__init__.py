"""The backend: a sample flows sensor -> ingest -> session -> store + mllink -> broadcast.

- session    pure: examinations, beds, sensors; what happens in, actions out
- ingest     a sensor's socket: read, decode, hand over, acknowledge
- store/     schema, the one group-committing writer, the readers
- mllink     the reconnecting client of the ML service, with a bounded outbox
- broadcast  viewers, one bounded queue each
- routes     pure: the handshake gate, what each HTTP path answers
- app        owns and wires the parts; the only module that knows all of them
"""
