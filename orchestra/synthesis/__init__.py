"""Run -> a result that fits the target_schema, every value traced to its source."""
