"""The live view in a terminal. A test tool, not a medical device."""
