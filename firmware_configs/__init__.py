"""Device profiles: the quirks of each device model, as data (TOML checked by a schema)."""
