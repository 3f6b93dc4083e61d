"""HTTP of the gateway: for agents (WHIP) and for central (footage, live view, status)."""
