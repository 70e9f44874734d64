"""What the network knows about subnets. Imports nothing from above it, no chain SDK and no HTTP client."""
