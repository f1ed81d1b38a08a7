"""What a run or a process shows to other programs: metrics for Prometheus, the report's JSON. Nothing is measured here."""
