"""The process beside each Envoy: watches, serves ADS, acknowledges."""
