"""The signal engine: pure numpy, a function of (patient, random streams, sample index).

- stream        random numbers by (seed, sensor, component, row)
- noise         stationary noise with a given spectrum at any position; slow wandering
- fitted        every constant that was fitted to recordings, with where it comes from
- contraction   when contractions are and how they look
- deceleration  what they do to the heart rate
- acceleration  movements and what they do to the heart rate
- behaviour     sleep states
- field         heart rate without a sensor: baseline, events, variability
- breathing     the mother's breathing
- belt          toco: tone, contractions, pushing, breathing, and the belt's artefacts
- dropout       loss, maternal capture, doubling and halving, as episodes
- device        beats and the 4 Hz hold
"""
