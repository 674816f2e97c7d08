"""The command line: one module per group of commands, nothing of it imported by the server on a pipe."""
