"""What a run means: threshold expressions, their answers, and the one table from everything known to a verdict.

Statistics are read here, never gathered; nothing here decides when to look or what to do about the answer.
"""
