"""Names on the wire that more than one kind of message uses."""

from collections.abc import Mapping
from typing import Final

SUBPROTOCOL: Final = "ctgkit.v1"
TOKEN_HEADER: Final = "X-Auth-Sensor-Token"
STREAM_HEADER: Final = "X-Sensor-Stream"
SENSOR_ID_PARAMETER: Final = "sensor_id"
BACKFILL_PARAMETER: Final = "backfill"
BED_PARAMETER: Final = "bed"
SENSOR_PARAMETER: Final = "sensor"

MEMBERS: Final[Mapping[str, str]] = {
    "id": "sensorID",
    "time": "secFromStart",
    "seq": "seq",
    "fhr": "BPMChild",
    "uterus": "uterus",
    "spasms": "spasms",
}
"""What faults call a member of a message -> its name on the wire."""
