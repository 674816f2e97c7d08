"""One running peer: whom it knows, what it must send, what it must answer."""
