"""Events in recordings of any length: windows, scores, thresholds, events, formats and evaluation. Own work."""
