"""What is told of searches and model calls, as OpenTelemetry's spans, events and metrics.

Programs set it by `ttc_middleware.configure()` and by variables of the environment. What the spans of others tell us
is read in `ttc_middleware.otel`.

The files, each above those that it imports:

- `_search`: the spans of a search, its samples and its verdicts.
- `_call`: the span of one model call: ours, or that of another instrumentation.
- `_adopt`: leaving it to another instrumentation to tell a call's usage, and seeing whether it does.
- `_content`: what was said, only where that is asked for.
- `_metrics`: counters and histograms, with attributes of few values.
- `_spans`: starting and ending spans, and making them current.
"""
