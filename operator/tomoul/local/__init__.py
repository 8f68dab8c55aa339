"""The same plan and the same gateway with processes in the place of pods."""
