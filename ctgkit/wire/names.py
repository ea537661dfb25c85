"""Names on the wire that more than one kind of message uses."""

from collections.abc import Mapping
from typing import Final

SUBPROTOCOL: Final = "ctgkit.v1"
TOKEN_HEADER: Final = "X-Auth-Sensor-Token"
STREAM_HEADER: Final = "X-Sensor-Stream"
ACKS_HEADER: Final = "X-Sensor-Acks"
GROUPED: Final = "grouped"
"""Value of :data:`ACKS_HEADER`: one acknowledgement may stand for several samples (S-6.3)."""
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
