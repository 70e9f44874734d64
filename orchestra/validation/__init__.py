"""Challenges, traps, audits, scores and weights: what a validator does for its stake."""
