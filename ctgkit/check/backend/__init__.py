"""The checks of a backend, one file per part of PROTOCOL.md; catalogue has them all."""
