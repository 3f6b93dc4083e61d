"""The agent's ways to the world: MQTT uplink, WebRTC sender, spool on disk."""
