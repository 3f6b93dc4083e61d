"""Program 1: devices in, MQTT and WebRTC out."""
