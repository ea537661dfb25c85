"""``ctgkit paper``: recordings on CTG paper, true to scale.

- sheet    what stands where, in centimetres (pure)
- subject  what is printed: samples, events, class
- picture  sheets onto matplotlib figures
"""
