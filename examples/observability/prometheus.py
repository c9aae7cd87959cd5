"""The metrics, for Prometheus to scrape: tokens and dollars by what they were spent on, and every model call.

Run: scraped by Prometheus 2.42 (Debian's, which takes no OTLP yet) with opentelemetry-exporter-prometheus 0.66b2; then
`sum by (ttc_phase) (ttc_cost_USD_total)` was the bill, by phase.
"""

import os
import sys

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server
from searching import search

metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
start_http_server(int(os.environ.get("PORT", "9464")), addr="127.0.0.1")

print(search(), flush=True)
sys.stdin.readline()  # until it has been scraped
