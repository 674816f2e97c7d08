"""The protocol, without I/O: no clock, no randomness, no sockets, no files, no logging."""
