"""The engine: what happens in which order. The only rooms that call a port."""
