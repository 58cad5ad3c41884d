"""The one door to models and tools: journal, meter, secrets, and the identity of the step that is calling."""
