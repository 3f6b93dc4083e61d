"""Footage on local volumes: files, their SQLite index, recovery, reading and auditing."""
