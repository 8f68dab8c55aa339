"""The command `tomoul`."""
