"""The operator: handlers that only enqueue, one level-triggered reconcile per kind."""
