"""A chat model of LangChain at a provider of ours."""

from __future__ import annotations

from langchain_openai import ChatOpenAI


def chat(provider, **fields):
    """Its connections end with each answer: LangChain shares clients and never closes one."""
    ends = {"Connection": "close"}
    known = {"model": "mock", "base_url": provider.url, "api_key": "none", "default_headers": ends}
    return ChatOpenAI(**{**known, **fields})
