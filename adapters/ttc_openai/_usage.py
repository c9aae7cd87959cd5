"""Reading usage in OpenAI's shapes, as many providers send them with small differences."""

from __future__ import annotations

from ttc_middleware.seam import get, mean_logprob, read_usage, whole

__all__ = ["get", "mean_logprob", "read_usage", "whole"]
