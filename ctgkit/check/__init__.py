"""The test bench: judges anybody's backend or ML service, clause by clause.

- checks     pure: what a check is, the catalogue and its addresses, verdicts
- messages   pure: the literal texts that are sent, and what is read back from answers
- line       one WebSocket with all it received; raw HTTP
- bench      what a check may use: sensors, viewers, raw HTTP, something that sees samples
- mlside     the ML service that the checker is, for the backend under test
- database   reads what the backend stored
- backend_*  the checks of a backend, one file per part of PROTOCOL.md
- service    the checks of an ML service, with its own bench
- profile    pure: where the original system decides otherwise
- run        runs the chosen checks one after another
- report     pure: text, JSON, JUnit
- fuzz       random histories, shrunk to the shortest one that fails

It imports nothing of what it judges: a check is literal text and an expectation.
"""
