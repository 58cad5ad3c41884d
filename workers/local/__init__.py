"""The local stack: PostgreSQL, Temporal, the API, a worker and a small model as child processes of one supervisor.

`supervise.py` tells the story of one `omium up`; the other modules each know one thing: the data directory, ports,
processes, PostgreSQL, Temporal, the model, live checks. State lies in the data directory and nowhere else.
"""
