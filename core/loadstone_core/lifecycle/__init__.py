"""Where a run is: its phases and the one order in which they may follow each other.

What moves a run on is decided by the operator; what the run means is decided by the verdict.
"""
