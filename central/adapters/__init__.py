"""Central's ways to the world: database, broker, gateways."""
