"""Reading usage in OpenAI's shapes, as many providers send them with small differences."""

from __future__ import annotations

from ttc_middleware.seam import get, read_usage, whole

__all__ = ["get", "read_usage", "whole"]
