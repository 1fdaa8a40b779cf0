"""The domain: pure values and pure decisions. No I/O, no clock, no randomness, no stored form."""
