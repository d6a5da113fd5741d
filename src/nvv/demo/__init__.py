"""A page to try classifiers on: microphone or file in, answers and a timeline out. Own work."""
