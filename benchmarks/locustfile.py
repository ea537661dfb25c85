"""A fetal monitor for Locust, as somebody would write it: the same sample, 4 times a second.

``CTG_SENSORS``: a JSON file with the list of [id, token]; ``CTG_ACKS``: 1 reads acknowledgements.
Run by :mod:`benchmarks.rivals`; Locust and websocket-client are not installed with this project.
"""

import itertools
import json
import os
from pathlib import Path

import gevent
import websocket
from locust import User, constant_pacing, task

SENSORS = iter(json.loads(Path(os.environ["CTG_SENSORS"]).read_text()))
ACKS = os.environ["CTG_ACKS"] == "1"


class Monitor(User):
    """One sensor."""

    wait_time = constant_pacing(0.25)

    def on_start(self):
        """Connect."""
        sensor_id, token = next(SENSORS)
        self.socket = websocket.create_connection(
            f"{self.host}/ws/sensor?sensor_id={sensor_id}",
            header={"X-Auth-Sensor-Token": token},
            subprotocols=["ctgkit.v1"] if ACKS else None,
        )
        self.numbers, self.acked = itertools.count(), -1
        if ACKS:
            self.reading = gevent.spawn(self.read)

    def read(self):
        """Take acknowledgements."""
        while True:
            self.acked = json.loads(self.socket.recv())["ack"]

    @task
    def sample(self):
        """Send one."""
        number = next(self.numbers)
        data = {"BPMChild": 140.0, "uterus": 10.0, "spasms": 0.0}
        message = {"secFromStart": number / 4, "data": data}
        if ACKS:
            message["seq"] = number
        self.socket.send(json.dumps(message))
