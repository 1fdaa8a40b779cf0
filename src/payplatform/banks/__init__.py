"""Banks: adapters of the `Bank` port, one per file. Nothing is imported until it is asked for."""
