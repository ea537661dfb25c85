"""Plays recordings: as the sensors (player, client, roles) or as the backend (backend).

expect (pure) and comparison compare the answers with the recorded ones.
"""
