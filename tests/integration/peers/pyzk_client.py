"""Reads a terminal with pyzk and prints what it saw as one JSON object.

Run by the interpreter of `.venv-peers` only, in a process of its own: pyzk is GPL and never shares
a process with this project. ``pyzk_client.py PORT COMM_KEY [EVENTS]``
"""

import json
import sys

from zk import ZK


def say(message: dict) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(port: int, comm_key: int, events: int) -> None:
    client = ZK(
        "127.0.0.1", port=port, timeout=10, password=comm_key, ommit_ping=True, force_udp=False
    ).connect()
    seen = {
        "serial": client.get_serialnumber(),
        "firmware": client.get_firmware_version(),
        "time": client.get_time().isoformat(),
        "users": [user.user_id for user in client.get_users()],
        "attendances": [
            [record.user_id, record.timestamp.isoformat(), record.status, record.punch]
            for record in client.get_attendance()
        ],
        "live": [],
    }
    say({"event": "read"})
    if events:
        for record in client.live_capture(new_timeout=5):
            if record is None:
                break
            seen["live"].append([record.user_id, record.timestamp.isoformat()])
            if len(seen["live"]) == events:
                client.end_live_capture = True
    client.disconnect()
    say(seen)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
