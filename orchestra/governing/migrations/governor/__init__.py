"""Steps of the table of `orchestra.governing.store`."""
