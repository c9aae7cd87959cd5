"""Spans and metrics to Pydantic Logfire.

Run: logfire 5.2 with no token, which sends nothing to Logfire; its spans went on to a small OTLP receiver in Python.
Only read: Logfire itself, which shows the tokens and the cost of `chat` spans, and sums of them above.
"""

import logfire
from searching import search

# Sets the providers of OpenTelemetry that ttc_middleware writes to; nothing else is needed. With OTEL_EXPORTER_OTLP_*
# in the environment it sends there too.
logfire.configure(service_name="shop", send_to_logfire="if-token-present", console=False)

with logfire.span("a request of the shop"):
    print(search())
logfire.shutdown()
