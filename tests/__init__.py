"""Orchestra's tests."""
