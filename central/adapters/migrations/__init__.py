"""Alembic's scripts; `central.adapters.schema` runs them."""
