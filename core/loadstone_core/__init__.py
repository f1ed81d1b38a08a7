"""What a load test is: specification, load, plan, statistics, verdict. Pure values in, values out.

Nothing here may touch a clock, a socket, a thread, a file, an environment variable or a random number, and nothing
outside the standard library may be imported.
"""

__version__ = "0.1.0"
