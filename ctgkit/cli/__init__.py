"""The command line: main (the list of commands), options (shared by them), junit."""
