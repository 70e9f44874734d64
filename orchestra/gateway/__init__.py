"""The front door: an objective over HTTP becomes a verified result."""
