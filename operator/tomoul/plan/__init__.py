"""Resources and observed facts in; desired objects, routing tables and statuses out. No I/O, no clock, no cluster."""
