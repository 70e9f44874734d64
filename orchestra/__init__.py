"""How an objective becomes a verified, structured result."""
