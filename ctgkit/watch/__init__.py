"""The live view in a terminal. A test tool, not a medical device.

A result flows feed -> state -> view -> screen; what decides is pure.

- feed     the viewer stream: connects, reads, connects again
- state    pure: results and news of the connection in, what is known out
- controls pure: what the keys do
- trace    pure: one sensor's samples, the newest hours
- alarms   pure: alarms that latch until acknowledged
- strip    pure: samples and paper -> braille dots
- chart    pure: one sensor's strip as lines: heart rate, marks, toco, axis
- values   pure: figures and words about one sensor (digits: the large ones)
- view     pure: the whole screen, one sensor or many, as lines (ink: their styles)
- picture  pure: a screen as SVG
- screen   the terminal: writes the lines that changed
- keys     the keyboard
- live     owns and wires the view's parts
- lines    results as text lines, for scripts
"""
