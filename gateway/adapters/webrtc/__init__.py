"""WebRTC of the gateway: encoded media in (WHIP) and out (WHEP) over aiortc's ICE and DTLS."""
