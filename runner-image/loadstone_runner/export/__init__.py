"""What a run or a process shows to other programs: Prometheus metrics, the report. Nothing is measured here."""
