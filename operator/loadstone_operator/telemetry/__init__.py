"""Say how the operator itself fares: metrics, logs, probes. Nothing here is about the load."""
