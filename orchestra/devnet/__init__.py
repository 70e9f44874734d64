"""A whole network on one machine: local chain, local subnets, launcher."""
