"""The stub ML service: samples in, predictions out. A test tool, not a medical device."""
