"""The gateway against plain Envoy and against no proxy at all: latency, CPU per request, memory, updates.

`python -m benchmarks.gateway [--quick] [--output FILE.json]`. Three kinds of processes on one machine, talking over
127.0.0.1 only: a fake engine (upstream.py), a load generator (load.py), and what is between them (targets.py).
"""
