"""Flow packs shipped with central, and the schema they are checked against. Data only."""
