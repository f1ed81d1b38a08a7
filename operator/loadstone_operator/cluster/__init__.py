"""Talk to the Kubernetes API: read, create, apply, delete, hold the lease. No decision about a run is made here."""
