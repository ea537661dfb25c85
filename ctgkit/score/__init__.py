"""An analyzer's results against the truth: how much it finds, how exactly, how soon.

- matching    which found event is which true one; tallies
- truth       what happened: a simulation's truth, or the zones that experts drew
- alarms      which alarms the truth calls for, and which were raised
- risk        the hypoxia probability against the simulated pH
- results     what an analyzer said: a report, or results one by one
- scoring     truth + results -> a score; many scores -> one
- limits      thresholds on a score
- report      a score as text, JSON, JUnit
- reading     files and folders -> truth and results
- service     plays scenarios to an ML service and listens
"""
