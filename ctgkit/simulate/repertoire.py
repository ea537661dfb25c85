"""What the sensors of a run play: a scenario, each sensor another patient, or a recording."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ctgkit import private
from ctgkit.faults.fault import Fault
from ctgkit.faults.ledger import Ledger
from ctgkit.faults.line import Deed, Line
from ctgkit.simulate.source import Source

if TYPE_CHECKING:
    from ctgkit.recording import Recording
    from ctgkit.recording.files.options import ReadOptions
    from ctgkit.simulate.scenario import Scenario
    from ctgkit.simulate.sensor import Sensor

log = logging.getLogger(__name__)


def names_in(scenario: str) -> list[str]:
    """Return the scenarios of a list with commas; a file's name may hold some.

    >>> names_in("normal-reactive, late-decels-severe")
    ['normal-reactive', 'late-decels-severe']
    """
    if Path(scenario).is_file():
        return [scenario]
    return [name.strip() for name in scenario.split(",")]


class Repertoire:
    """Makes the source of each sensor, and keeps what is needed to tell the truth afterwards.

    Parameters
    ----------
    scenario : str
        Name or TOML file, or several with commas between: the first sensor plays the first of
        them, and so on, from the beginning again when there are more sensors. Unused with a
        recording.
    recording : Path or None
        Played instead: the first sensor plays the first recording in it, and so on, from the
        beginning again when there are more sensors.
    seed : int
        Of the scenario, >= 0.
    rate_hz : float
        Samples per second of the scenario.
    faults : sequence of Fault
        Of every sensor, after those of its scenario.
    options : ReadOptions or None
        How to read the recording.
    n_sensors : int
        How many there will be; recordings beyond are not played, which is logged.
    both_twins : bool
        One sensor shows both twins of a bed, where a scenario has twins: sensor *n* plays the
        patients 2 *n* and 2 *n* + 1.

    Raises
    ------
    ScenarioError, RecordingError
        When it cannot be read.
    """

    def __init__(
        self,
        scenario: str,
        recording: Path | None = None,
        seed: int = 0,
        rate_hz: float = 4.0,
        faults: Sequence[Fault] = (),
        options: "ReadOptions | None" = None,
        n_sensors: int = 1,
        both_twins: bool = False,
    ) -> None:
        self._seed, self._rate_hz, self._faults = seed, rate_hz, tuple(faults)
        self._cast: dict[int, tuple[Scenario | None, int]] = {}
        """Sensor number -> scenario and seed that were chosen for it later."""
        self._ledgers: dict[int, Ledger] = {}
        self.sensors: dict[int, Sensor] = {}
        """Sensor number -> the simulated sensor that played last; empty with a recording."""
        self._recordings: list[Recording] = []
        self._scenarios: list[Scenario] = []
        if recording is not None:
            from ctgkit.recording import read_recordings

            for one in read_recordings(recording, options):
                if len(self._recordings) == n_sensors:
                    log.warning(
                        "%s: holds more recordings than there are sensors (%d): the others are not"
                        " played; --sensors %d plays one more",
                        recording.name, n_sensors, n_sensors + 1,
                    )  # fmt: skip
                    break
                self._recordings.append(one)
        else:
            from ctgkit.simulate.library import load_scenario

            self._scenarios = [load_scenario(name) for name in names_in(scenario)]
        self._both_twins = both_twins and any(one.has_twins for one in self._scenarios)

    def without_twins(self) -> list[str]:
        """Return what is played and has no second fetus."""
        if not self._scenarios:
            return ["a recording"]
        return [one.id for one in self._scenarios if not one.has_twins]

    def source(self, number: int) -> Source:
        """Return what sensor *number* plays, from its start."""
        if self._part(number)[0] is None:
            from ctgkit.simulate.playback import RecordingSource

            return RecordingSource(self._recordings[number % len(self._recordings)])
        sensor = self._sensor(number)
        self.sensors[number] = sensor
        return sensor

    def _sensor(self, number: int) -> "Sensor":
        from ctgkit.simulate.sensor import Sensor

        scenario, seed = self._part(number)
        assert scenario is not None
        return Sensor(scenario, seed, self._patient(number), self._rate_hz)

    def _patient(self, number: int) -> int:
        return 2 * number if self._both_twins else number

    def _part(self, number: int) -> "tuple[Scenario | None, int]":
        """Return scenario and seed of sensor *number*; no scenario where a recording is played."""
        n = len(self._scenarios)
        given = self._scenarios[number % n] if n else None
        return self._cast.get(number, (given, self._seed))

    def plays(self, number: int) -> str:
        """Return in a few words what sensor *number* plays."""
        if not self._scenarios:
            one = self._recordings[number % len(self._recordings)]
            place = number % len(self._recordings) + 1
            return (
                f"recording {place} of {len(self._recordings)}, {len(one.sec_from_start)} samples"
            )
        playing = self._sensor(number).patient.scenario.id
        return f"{playing}, seed {self._part(number)[1]}, patient {number}"

    def choose(self, number: int, scenario: str | None, seed: int | None) -> None:
        """Choose what sensor *number* plays from its next start on.

        Parameters
        ----------
        number : int
            Of the sensor.
        scenario : str or None
            One of the library; None keeps what it has.
        seed : int or None
            None keeps what it has.

        Raises
        ------
        ValueError
            For a scenario that the library doesn't have (a file is none), and for a seed where a
            recording is played.
        """
        from ctgkit.errors import excerpt, near
        from ctgkit.simulate.library import load_scenario, scenario_names

        chosen, before = self._part(number)
        if scenario is not None:
            names = scenario_names()
            if scenario not in names:
                raise ValueError(f"unknown scenario {excerpt(scenario)!r}{near(scenario, names)}")
            chosen = load_scenario(scenario)
        if chosen is None:
            raise ValueError("a recording has no seed")
        self._cast[number] = chosen, before if seed is None else seed

    def line(self, number: int) -> Line | None:
        """Return the faults of sensor *number*, None when it has none; call :meth:`source` first.

        In a mix of scenarios each sensor has those of its part.
        """
        sensor = self.sensors.get(number)
        faults = (*(sensor.patient.scenario.faults if sensor else ()), *self._faults)
        self._ledgers[number] = Ledger()
        return Line(faults, seed=self._seed, party=str(number)) if faults else None

    def note_fault(self, number: int, deed: Deed) -> None:
        """Remember what a fault did to sensor *number*."""
        self._ledgers[number].note(deed)

    def write_truth(self, path: Path, sensor_ids: Sequence[str]) -> None:
        """Write the truth of what was played as JSON lines, one file per fetus.

        *sensor_ids* are those of all sensors, by number.
        """
        from ctgkit.simulate.generate import numbered, truth_lines

        count = len(self.sensors) * (2 if self._both_twins else 1)
        for number, patient, sensor in self._played():
            about = {
                "scenario": sensor.patient.scenario.id,
                "seed": self._part(number)[1],
                "sensor": patient,
                "sensor_id": sensor_ids[number],
                "rate_hz": self._rate_hz,
                "duration_s": sensor.position / self._rate_hz,
                "injected": [entry._asdict() for entry in sensor.log],
                "changed": [entry._asdict() for entry in sensor.changes],
            }
            ledger = self._ledgers.get(number)
            lines = truth_lines(sensor, about, ledger.events() if ledger else ())
            private.write_bytes(numbered(path, patient, count), lines)

    def _played(self) -> "Iterator[tuple[int, int, Sensor]]":
        """Yield sensor number, patient, and the simulated sensor that shows the patient."""
        for number, sensor in self.sensors.items():
            patient = self._patient(number)
            yield number, patient, sensor
            if self._both_twins and (other := sensor.other_twin) is not None:
                other.seek(sensor.position)
                yield number, patient + 1, other
