"""Steps of the tables of `orchestra.governing.drafts`."""
