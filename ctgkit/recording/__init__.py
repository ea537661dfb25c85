"""Recordings: files of samples, read in any of several formats."""
