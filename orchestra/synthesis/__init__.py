"""Run -> a result that fits the target_schema, every value traced to its source."""

from orchestra.synthesis.answer import LocalStep, Synthesis, synthesise
from orchestra.synthesis.derivation import DerivationError, evaluate
from orchestra.synthesis.support import supports

__all__ = ["DerivationError", "LocalStep", "Synthesis", "evaluate", "supports", "synthesise"]
